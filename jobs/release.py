"""python -m jobs.release --run <run> --out <folder>

Export a trained encoder into a folder of its own: weights, settings, a torch.export program and a model card.
"""

from jobs import cli
from orchestration.release.release import ReleaseRun, release


def main(argv: list[str] | None = None) -> None:
    """Parse, export, and print the path."""
    settings = cli.parse(ReleaseRun, argv, "release")

    def job() -> None:
        print(f"written: {release(settings)}")

    cli.run(job)


if __name__ == "__main__":
    cli.start(main)
