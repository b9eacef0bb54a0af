"""python -m jobs.ingest --root CASIA-B=<folder> [--root NAME=<folder> ...] --out <shards>

Collections, as their owners released them or as OpenGait pickles, to one store of contour shards.
"""

import sys
from dataclasses import dataclass
from typing import Annotated

import tyro

from datasets import report
from datasets.schema import UsageError
from jobs import cli
from orchestration.ingest import IngestRun, ingest


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Bring gait collections into one store of contour shards; what is there already is not done again."""

    root: Annotated[tuple[str, ...], tyro.conf.UseAppendAction]
    """NAME=<folder>: a collection of the catalog and where it lies. Give it once for each collection."""
    out: str
    """The store: a folder for the shards, the rejects and the manifest."""
    block_sequences: int = 256
    """Sequences that one task handles; what is lost of the work when a task is killed."""
    max_rejects: float = 0.01
    """The share of a collection's sequences that may be rejected; with more the exit status is 1."""

    def __post_init__(self) -> None:
        if not 0 <= self.max_rejects <= 1:
            raise UsageError(f"--max-rejects {self.max_rejects} is a share: give 0 to 1")

    def settings(self) -> IngestRun:
        """The run that these arguments ask for."""
        return IngestRun(roots=_roots(self.root), out=self.out, block_sequences=self.block_sequences)


def _roots(pairs: tuple[str, ...]) -> dict[str, str]:
    roots: dict[str, str] = {}
    for pair in pairs:
        name, equals, folder = pair.partition("=")
        if not (name and equals and folder):
            raise UsageError(f"--root {pair!r} must be NAME=<folder>, as in --root CASIA-B=data/GaitDatasetB-silh")
        if name in roots:
            raise UsageError(f"--root {name} is given twice: one root a collection")
        roots[name] = folder
    return roots


def main(argv: list[str] | None = None) -> None:
    """Parse, ingest, and print what came of it."""
    arguments = cli.parse(Arguments, argv, "ingest")

    def job() -> None:
        manifest = ingest(arguments.settings())
        print(report.describe(manifest), flush=True)
        if lost := report.losses(manifest, arguments.max_rejects):
            print("\n".join(f"error: {line}" for line in lost), file=sys.stderr)
            raise SystemExit(1)

    cli.run(job)


if __name__ == "__main__":
    main()
