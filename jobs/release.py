"""python -m jobs.release --run <run> --out <folder>

A trained encoder as a folder of its own: weights, settings, a program of torch.export and a model card.
"""

from jobs import cli
from orchestration.release.release import ReleaseRun, release


def main(argv: list[str] | None = None) -> None:
    """Parse, write, and say where it is."""
    settings = cli.parse(ReleaseRun, argv, "release")

    def job() -> None:
        print(f"written: {release(settings)}")

    cli.run(job)


if __name__ == "__main__":
    main()
