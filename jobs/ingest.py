"""python -m jobs.ingest --root CASIA-B=<folder> [--root my-walks=<folder> ...] --out <shards>
python -m jobs.ingest --verify --out <shards>

Ingest collections, as their owners released them or as OpenGait pickles, and custom ones, into one store of contour
shards. --modality ingests their LiDAR silhouettes, parsing maps or skeletons. --verify looks for damaged files.
"""

import os
import sys
from dataclasses import dataclass
from typing import Annotated

import tyro

from datasets.reports import text
from datasets.schema.errors import UsageError
from datasets.schema.rows import Modality
from datasets.storage import Place, open_place
from datasets.store.damage import examine
from jobs import cli
from orchestration.ingest import check
from orchestration.ingest.ingest import MAX_FRAMES, MIN_FRAMES, IngestRun, ingest


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Ingest gait collections into one store of contour shards; sequences that it has already are skipped."""

    root: Annotated[tuple[str, ...], tyro.conf.UseAppendAction]
    """NAME=<folder>: a collection and its folder. Give it once for each collection."""
    out: str = ""
    """The store: a folder, or a URL of object storage, for shards, rejects and the manifest. --check needs none."""
    modality: Modality | None = None
    """The modality to ingest; if not given, that of the spec file, else silhouettes."""
    spec: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """NAME=<json>: labels, split and protocol of a custom collection (docs/own-walks.md)."""
    partition: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """NAME=<json>: a partition file as OpenGait's in place of the official split, or the name of a published one."""
    block_sequences: int = 256
    """Maximum number of sequences in a shard."""
    retry_rejects: bool = False
    """Try again the sequences that were rejected before, as after a repair."""
    inverted: Annotated[bool, tyro.conf.FlagCreatePairsOff, tyro.conf.arg(name="invert")] = False
    """Silhouettes are dark on a bright background, in all of the folders; a spec file can say so for one collection."""
    min_frames: int = MIN_FRAMES
    """Least number of usable frames of a sequence; shorter ones are rejected."""
    max_frames: int = MAX_FRAMES
    """Largest number of frames of a sequence; the rest of a longer one is dropped."""
    check: tyro.conf.FlagCreatePairsOff[bool] = False
    """Read a sample of each collection, say what would become of it, and write nothing."""
    workers: int | None = None
    """Number of workers; if not given, one for each core of Ray."""
    max_rejects: float = 0.01
    """Fraction of a collection's sequences that may be rejected; above it the exit status is 1."""
    verify: tyro.conf.FlagCreatePairsOff[bool] = False
    """Ingest nothing: read every file of the store, and list those that are not what was written."""

    def __post_init__(self) -> None:
        if self.verify and self.root:
            raise UsageError("--verify ingests nothing: leave out --root; the ingest without it mends what is listed")
        if not (self.out or self.check):
            raise UsageError("missing --out: give the store, a folder or a URL of object storage")
        if not 0 <= self.max_rejects <= 1:
            raise UsageError(f"--max-rejects {self.max_rejects} is a fraction: give 0 to 1")

    def settings(self) -> IngestRun:
        """The ingest run of these arguments."""
        return IngestRun(
            roots=_pairs("--root", "<folder>", self.root),
            out=self.out,
            modality=self.modality,
            specs=_pairs("--spec", "<json>", self.spec),
            partitions=_pairs("--partition", "<json>", self.partition),
            block_sequences=self.block_sequences,
            retry_rejects=self.retry_rejects,
            workers=self.workers,
            inverted=self.inverted,
            min_frames=self.min_frames,
            max_frames=self.max_frames,
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


def parse(argv: list[str] | None) -> Arguments:
    """The arguments of a command line."""
    return cli.parse(Arguments, argv, "ingest")


def _check(arguments: Arguments) -> list[str]:
    """Print what would become of each collection; returns a line for each that would lose too much."""
    samples = check.check(arguments.settings())
    for one in samples:
        print(check.describe(one, arguments.workers or len(os.sched_getaffinity(0))), flush=True)
    return [line for one in samples for line in check.losses(one, arguments.max_rejects)]


def main(argv: list[str] | None = None) -> None:
    """Parse, ingest, and print counts and the path of the report."""
    arguments = parse(argv)

    def job() -> None:
        if arguments.verify:
            _verify(open_place(arguments.out))
            return
        if arguments.check:
            lost = _check(arguments)
        else:
            manifest = ingest(arguments.settings()).manifest
            print(text.describe(manifest), flush=True)
            print(f"report: {arguments.out.rstrip('/')}/report.html", flush=True)
            lost = text.losses(manifest, arguments.max_rejects)
        if lost:
            print("\n".join(f"error: {line}" for line in lost), file=sys.stderr)
            raise SystemExit(1)

    cli.run(job)


def _verify(store: Place) -> None:
    """Print what is damaged in a store, or that nothing is. UsageError where something is."""
    health = examine(store)
    for one in health.damages:
        print(one)
    if health.undigested:
        print(
            f"{health.undigested:,} files have no digest, as in stores of earlier versions: they were read as Parquet, "
            "and their sizes compared"
        )
    if health.damages:
        names = sorted({one.collection for one in health.damages if one.collection is not None})
        of = f" of {', '.join(names)}" if names else ""
        raise UsageError(
            f"{len(health.damages):,} files of {store} are damaged, as listed above: run the same `python -m "
            f"jobs.ingest`{of} again, without --verify, which makes anew what is lost"
        )
    print(f"{store}: all {health.files:,} files with {health.size / 1e6:,.1f} MB are what was written")


if __name__ == "__main__":
    cli.start(main)
