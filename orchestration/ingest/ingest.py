"""Driver of ingest: Ray Data from the folders of collections to a store of shards, with rejects and a report.

    StoreWriter.open      what the store holds already
    listing.list_new      references to the sequences that it lacks, in Ray's object store
    Ingester (actors)     a block of references at a time: read, normalise, encode, Blocks.commit; returns counts
    StoreWriter.finish    the manifest

A block is committed in pieces where a kill would lose too much of a whole one. What a killed worker or run had not
committed, the next run does again.

Ray Data's own checkpoints are not used: they track the rows of one write, while a block here is two kinds of rows and
their record; they are deleted on success, while a store is added to; and they reserve actors of a gigabyte each.
"""

import logging
import resource
import uuid
from dataclasses import dataclass, field, replace
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc
import ray

from datasets import storage
from datasets.contours import codec
from datasets.ingest.layouts import Lengths, Root, SequenceRef, find_root
from datasets.ingest.sequence_to_row import ingest_sequence
from datasets.preprocessing.preprocessors import PREPROCESSORS
from datasets.reports import page
from datasets.schema.errors import Damaged, UsageError
from datasets.schema.rows import Modality
from datasets.specs import consistency, resolve
from datasets.specs.resolve import Manifest
from datasets.store.blocks import Blocks
from datasets.store.damage import mend
from datasets.store.files import Row
from datasets.store.reader import CollectionEntry, Store
from datasets.store.writer import StoreWriter
from orchestration.cluster import interrupts, session
from orchestration.cluster.progress import Progress
from orchestration.ingest import listing

logger = logging.getLogger(__name__)

_MAX_UNCOMMITTED = 0.01  # share of the sequences in flight at any time, which are lost if everything is killed
_LEAST_SEQUENCES = 32  # for which another worker is worth the second or two that it takes to start
MIN_FRAMES = 2  # one frame shows no walk; protocols count walks of a few frames, which OpenGait keeps too
MAX_FRAMES = 3_000  # two minutes at 25 frames a second
_MIN_ROUNDS = 4  # blocks per worker at least, so that all workers finish at about the same time


@dataclass(frozen=True, kw_only=True)
class IngestRun:
    """The settings of an ingest."""

    roots: dict[str, str]  # collection -> its folder
    out: str  # address of the store; empty where there is none yet, to check alone
    modality: Modality | None = None  # to read; None: silhouettes, or the one that a spec file names
    specs: dict[str, str] = field(default_factory=dict)  # custom collection -> its spec file
    partitions: dict[str, str] = field(default_factory=dict)  # collection -> partition file, or name of a published one
    block_sequences: int = 256  # at most, in a block
    retry_rejects: bool = False  # try again the sequences that the store has rejected
    workers: int | None = None  # None: one for each core
    inverted: bool = False  # silhouettes are darker than their background, in all of the roots
    min_frames: int = MIN_FRAMES  # of a sequence: shorter ones are rejected
    max_frames: int = MAX_FRAMES  # of a sequence: the rest of a longer one is dropped

    def __post_init__(self) -> None:
        if not self.roots:
            raise UsageError("nothing to ingest: give at least one --root NAME=<folder>")
        if self.block_sequences < 1:
            raise UsageError(f"--block-sequences {self.block_sequences} must be at least 1")
        if self.workers is not None and self.workers < 1:
            raise UsageError(f"--workers {self.workers} must be at least 1")
        if not 1 <= self.min_frames <= self.max_frames:
            raise UsageError(f"--min-frames {self.min_frames} to --max-frames {self.max_frames} is no range of lengths")

    @property
    def lengths(self) -> Lengths:
        """How many frames a sequence may have."""
        return Lengths(least=self.min_frames, most=self.max_frames)


@dataclass(frozen=True)
class _BlockSizes:
    """Sequences in a block, and in the pieces in which a worker commits it."""

    block: int
    piece: int


def ingest(run: IngestRun) -> Store:
    """Add every sequence below the roots that the store lacks; returns the store. Others may add to it meanwhile."""
    place = storage.open_place(run.out)
    with interrupts.safe(lambda: f"the blocks that are committed are in {place}"):
        return _ingest(run)


def _ingest(run: IngestRun) -> Store:
    before = _counted(run.out)
    mend(storage.open_place(run.out), run.roots)
    writer = StoreWriter.open(run.out)
    roots = _roots(run, writer)
    for name, root in roots.items():
        writer.describe(name, _collection_facts(root, writer.described.get(name, {})))
    blocks = writer.blocks(attempt=uuid.uuid4().hex if run.retry_rejects else "")
    done = blocks.keys(rejects=not run.retry_rejects)
    session.start()
    workers = run.workers or max(int(ray.cluster_resources().get("CPU", 1)), 1)
    _disable_progress_bars()
    new, count = listing.list_new(roots, done)
    if len(done):
        logger.info(f"{len(done):,} sequences are in {writer.place} already, {count:,} are new")
    if count:
        _run_pipeline(new, count, roots, blocks, _block_sizes(run, count, len(done), workers), workers)
    store = writer.finish()
    for name, count in _counted(run.out).items():
        if (lost := before.get(name, 0) - count) > 0:
            logger.warning(
                f"{name} has lost {lost:,} sequences of damaged files: its --root does not have them any more"
            )
    page.write_page(store)
    for root in roots.values():
        if resolve.to_manifest(root.spec) is not None:
            found = store.rows([root.spec.name], columns=consistency.COLUMNS)
            for line in consistency.unmatched(root.spec, found):
                logger.warning(line)
    return store


def _counted(address: str) -> dict[str, int]:
    """The sequences of each collection in the manifest of a store, kept and rejected; none where it has no manifest."""
    try:
        entries = Store.open(address).collections
    except UsageError:
        return {}
    return {name: entry["sequences"] + entry["rejected_sequences"] for name, entry in entries.items()}


def find_roots(run: IngestRun, known: Manifest) -> dict[str, Root]:
    """The root of each collection, with its spec. known: the collections that the store has already."""
    specs = resolve.resolve_all(run.roots, run.specs, run.partitions, known)
    roots = {}
    for name, spec in specs.items():
        modality = run.modality or spec.layouts[0].modality  # silhouettes come first in a collection that has them
        spec = replace(spec, inverted=spec.inverted or run.inverted)
        if spec.inverted and PREPROCESSORS[modality].inverse is None:
            raise UsageError(f"{name}: only silhouettes can be inverted, not the modality {modality}")
        roots[name] = find_root(storage.open_place(run.roots[name]), spec, modality, run.lengths)
        for line in resolve.describe(spec, roots[name].layout):
            logger.info(line)
    return roots


def _roots(run: IngestRun, writer: StoreWriter) -> dict[str, Root]:
    """The root of each collection; UsageError where the store was written with another spec."""
    known: Manifest = {"collections": writer.described}
    roots = find_roots(run, known)
    for name in roots.keys() & writer.described.keys():
        rows = writer.rows(name, consistency.COLUMNS)
        consistency.check_stored_rows(roots[name].spec, rows, resolve.from_manifest(known, name))
    return roots


def _collection_facts(root: Root, known: CollectionEntry) -> CollectionEntry:
    """The facts of a collection in the manifest: its root and layout, citation, terms of access, and spec.

    known: its facts before this run, of which those of other modalities are kept.
    """
    spec, modality = root.spec, root.layout.modality
    about = {"title": spec.title, "citation": spec.citation, "access": spec.access}
    counted = {"published": dict(spec.published), "anonymous": spec.anonymous}
    read = {"root": str(root.place), "layout": root.layout.name}
    others = dict(known.get("other_modalities", {}))
    if modality != "silhouette":
        others[modality] = read
        read = {key: known[key] for key in read if key in known}
    added = {"other_modalities": others} if others else {}
    return {**read, **about, **counted, **added, resolve.SPEC_KEY: resolve.to_manifest(spec)}


def _block_sizes(run: IngestRun, count: int, done: int, workers: int) -> _BlockSizes:
    """Blocks small enough to keep all workers busy to the end, equally many for each; pieces small enough to lose."""
    rounds = max(_MIN_ROUNDS, -(-count // (run.block_sequences * workers)))
    block = -(-count // (rounds * workers))
    piece = max(1, min(block, int(_MAX_UNCOMMITTED * (count + done) / workers)))
    return _BlockSizes(block, piece)


def _disable_progress_bars() -> None:
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False  # ours counts sequences; Ray's count the blocks of its operators
    context.print_on_execution_start = False


def _run_pipeline(
    new: ray.data.Dataset, count: int, roots: dict[str, Root], blocks: Blocks, sizes: _BlockSizes, workers: int
) -> None:
    """One Ray Data pipeline: references in, committed blocks out, showing progress."""
    # Repartitioned ahead of the pipeline: Ray Data reserves cores for each operator, here half of two for this one.
    references = new.repartition(target_num_rows_per_block=sizes.block, strict=True).materialize()
    # Actors and not tasks: Ray Data polls every 0.1 s for tasks that have ended; an actor has its next block queued.
    size = min(workers, -(-count // sizes.block), -(-count // _LEAST_SEQUENCES))
    pool = ray.data.ActorPoolStrategy(min_size=1, max_size=size, initial_size=size, max_tasks_in_flight_per_actor=2)
    arguments = [roots, blocks, sizes.piece]
    counts = references.map_batches(
        Ingester, fn_constructor_args=arguments, batch_size=None, batch_format="pyarrow", compute=pool
    )
    with Progress("ingest", "sequences", count) as progress:
        rejected = peak = 0
        for record in counts.iter_rows():
            if record["problem"]:
                again = "fix that and run the same command again; committed sequences are not repeated"
                raise UsageError(f"cannot write to {blocks.store} ({record['problem']}): {again}")
            rejected += record["rejected"]
            peak = max(peak, record["peak"])
            progress.note(rejected=f"{rejected:,}", memory=f"{peak / 1024:.0f} MiB")
            progress.advance(record["sequences"])


class Ingester:
    """A Ray actor: commits blocks of references to the store and returns their counts."""

    def __init__(self, roots: dict[str, Root], blocks: Blocks, piece: int) -> None:
        self.roots, self.blocks, self.piece = roots, blocks, piece
        codec.use_one_thread()  # Ray runs one actor for each core

    def __call__(self, refs: pa.Table) -> pa.Table:
        """The counts of one block of references. References to two collections become a block each."""
        rejected, problem = 0, ""
        try:
            for collection, root in self.roots.items():
                mine = listing.references(refs.filter(pc.equal(refs["collection"], collection)))
                ids = [ref.sequence_id for ref in mine]
                rejected += self.blocks.commit(ids, partial(_ingest_sequences, root, mine), self.piece) if mine else 0
        except (OSError, Damaged) as error:  # of the store (disk full); an unreadable sequence is a reject
            problem = getattr(error, "strerror", None) or str(error)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB, of this process since its start
        return pa.table({"sequences": [refs.num_rows], "rejected": [rejected], "peak": [peak], "problem": [problem]})


def _ingest_sequences(root: Root, refs: list[SequenceRef], some: slice) -> tuple[list[Row], list[Row]]:
    """The rows and rejects of some of the references."""
    made = [ingest_sequence(root, ref) for ref in refs[some]]
    rows = [one.row for one in made if one.row is not None]
    return rows, [reject for one in made for reject in one.rejects]
