"""python -m jobs.ingest --root CASIA-B=<folder> [--root my-walks=<folder> ...] --out <shards>

Collections, as their owners released them or as OpenGait pickles, and one's own, to one store of contour shards. With
--modality it is their LiDAR silhouettes, parsing maps or skeletons that are added to it.
"""

import sys
from dataclasses import dataclass
from typing import Annotated

import tyro

from datasets.reports import text
from datasets.schema.errors import UsageError
from datasets.schema.rows import Modality
from jobs import cli
from orchestration.ingest.ingest import IngestRun, ingest


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Bring gait collections into one store of contour shards; what is there already is not done again."""

    root: Annotated[tuple[str, ...], tyro.conf.UseAppendAction]
    """NAME=<folder>: a collection of the catalog and where it lies. Give it once for each collection."""
    out: str
    """The store: a folder for the shards, the rejects and the manifest."""
    modality: Modality | None = None
    """What to read in the folders, one a run; silhouettes where it is not given and no spec file names another."""
    spec: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """NAME=<json>: labels, split and protocol of a collection of one's own (docs/own-walks.md)."""
    partition: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """NAME=<json>: another split than the official one, as OpenGait writes it, or the name of a published one."""
    block_sequences: int = 256
    """Sequences of a shard at most."""
    retry_rejects: bool = False
    """Try the sequences again that the store rejected before, as after a repair."""
    workers: int | None = None
    """Blocks at once; as many as Ray has cores where it is not given."""
    max_rejects: float = 0.01
    """The share of a collection's sequences that may be rejected; with more the exit status is 1."""

    def __post_init__(self) -> None:
        if not 0 <= self.max_rejects <= 1:
            raise UsageError(f"--max-rejects {self.max_rejects} is a share: give 0 to 1")

    def settings(self) -> IngestRun:
        """The run that these arguments ask for."""
        return IngestRun(
            roots=_pairs("--root", "<folder>", self.root),
            out=self.out,
            modality=self.modality,
            specs=_pairs("--spec", "<json>", self.spec),
            partitions=_pairs("--partition", "<json>", self.partition),
            block_sequences=self.block_sequences,
            retry_rejects=self.retry_rejects,
            workers=self.workers,
        )


def _pairs(option: str, what: str, given: tuple[str, ...]) -> dict[str, str]:
    """NAME=value of each, by name."""
    pairs: dict[str, str] = {}
    for pair in given:
        name, equals, value = pair.partition("=")
        if not (name and equals and value):
            raise UsageError(f"{option} {pair!r} must be NAME={what}, as in {option} CASIA-B={what}")
        if name in pairs:
            raise UsageError(f"{option} {name} is given twice: one for each collection")
        pairs[name] = value
    return pairs


def main(argv: list[str] | None = None) -> None:
    """Parse, ingest, and print what came of it."""
    arguments = cli.parse(Arguments, argv, "ingest")

    def job() -> None:
        manifest = ingest(arguments.settings()).manifest
        print(text.describe(manifest), flush=True)
        print(f"report: {arguments.out.rstrip('/')}/report.html", flush=True)
        if lost := text.losses(manifest, arguments.max_rejects):
            print("\n".join(f"error: {line}" for line in lost), file=sys.stderr)
            raise SystemExit(1)

    cli.run(job)


if __name__ == "__main__":
    main()
