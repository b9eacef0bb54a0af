"""Driver of ingest: Ray Data from the folders of collections to shards, rejects, a manifest and a report.

Listing comes first (orchestration/ingest/listing.py); then blocks of some hundred references go out, and a worker
reads,
normalises and encodes its block and commits it to the store (datasets/store/blocks.py), in pieces where a whole block
would
be more than may be lost. Only counts come back. What a killed worker or run had not committed, the next run does again.

Ray Data's own checkpoints are not used: they follow the rows of one write, while a block here is two kinds of rows and
their record; they are deleted on success, while a store is re-entered; and they reserve actors of a gigabyte each.
"""

import resource
import time
import uuid
from dataclasses import dataclass, field
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc
import ray
from tqdm import tqdm

from datasets import storage
from datasets.contours import codec
from datasets.ingest.layouts import Root, SequenceRef, find_root
from datasets.ingest.sequence_to_row import harmonise
from datasets.reports import page
from datasets.schema.errors import UsageError
from datasets.schema.rows import Modality
from datasets.specs import consistency, resolve
from datasets.store.blocks import Blocks
from datasets.store.files import Row
from datasets.store.reader import Store
from datasets.store.writer import StoreWriter
from orchestration.cluster import session
from orchestration.ingest import listing

_LOST = 0.01  # of the sequences at most are under way at any time, and lost if everything is killed
_ROUNDS = 4  # blocks a worker does at least, so that all of them end at about the same time


@dataclass(frozen=True, kw_only=True)
class IngestRun:
    """What to ingest, from where and to where."""

    roots: dict[str, str]  # collection -> the folder it lies in
    out: str
    modality: Modality | None = None  # what is read there: silhouettes where None, or the one that a spec file names
    specs: dict[str, str] = field(default_factory=dict)  # collection of one's own -> the JSON that describes it
    partitions: dict[str, str] = field(default_factory=dict)  # collection -> the JSON, or name, of another split
    block_sequences: int = 256  # of a shard at most
    retry_rejects: bool = False  # whether sequences that the store rejected before are tried again
    workers: int | None = None  # blocks at once; as many as there are cores where None

    def __post_init__(self) -> None:
        if not self.roots:
            raise UsageError("nothing to ingest: give at least one --root NAME=<folder>")
        if self.block_sequences < 1:
            raise UsageError(f"--block-sequences {self.block_sequences} must be at least 1")
        if self.workers is not None and self.workers < 1:
            raise UsageError(f"--workers {self.workers} must be at least 1")


@dataclass(frozen=True)
class _Cut:
    """How the work is cut: sequences of a block, and of the pieces in which a worker commits it."""

    block: int
    piece: int


def ingest(run: IngestRun) -> Store:
    """Bring every sequence below the roots into the store that is not there yet; returns the store."""
    writer = StoreWriter.open(run.out)
    roots = _roots(run, writer)
    for name, root in roots.items():
        writer.describe(name, _facts(root, writer.described.get(name, {})))
    blocks = writer.blocks(attempt=uuid.uuid4().hex if run.retry_rejects else "")
    done = blocks.keys(rejects=not run.retry_rejects)
    session.start()
    slots = run.workers or max(int(ray.cluster_resources().get("CPU", 1)), 1)
    _quiet()
    new, count = listing.list_new(roots, done)
    if len(done):
        print(f"{len(done):,} sequences are in {writer.place} already, {count:,} are new", flush=True)
    if count:
        _run(new, count, roots, blocks, _cut(run, count, len(done), slots), slots)
    store = writer.finish()
    page.write_page(store)
    for root in roots.values():
        if resolve.to_manifest(root.spec) is not None:
            found = store.rows([root.spec.name], columns=consistency.COLUMNS)
            for line in consistency.unmatched(root.spec, found):
                print(line, flush=True)
    return store


def _roots(run: IngestRun, writer: StoreWriter) -> dict[str, Root]:
    """The root of each collection, with the spec that holds of it here; UsageError where the store has another."""
    known = {"collections": writer.described}
    specs = resolve.resolve_all(run.roots, run.specs, run.partitions, known)
    roots = {}
    for name, spec in specs.items():
        modality = run.modality or spec.layouts[0].modality  # silhouettes come first, where it may have them
        roots[name] = find_root(storage.open_place(run.roots[name]), spec, modality)
        for line in resolve.describe(spec, roots[name].layout):
            print(line, flush=True)
        if name in writer.described:
            rows = writer.rows(name, consistency.COLUMNS)
            consistency.check_stored_rows(spec, rows, resolve.from_manifest(known, name))
    return roots


def _facts(root: Root, known: dict[str, object]) -> dict[str, object]:
    """What a store says of a collection: where it was, whom to cite, on what terms, how it was read and split.

    known: what it said of it before, of which that of other modalities stays.
    """
    spec, modality = root.spec, root.layout.modality
    said = {"title": spec.title, "citation": spec.citation, "access": spec.access}
    counted = {"published": dict(spec.published), "anonymous": spec.anonymous}
    read = {"root": str(root.place), "layout": root.layout.name}
    others = dict(known.get("other_modalities", {}))
    if modality != "silhouette":
        others[modality] = read
        read = {key: known[key] for key in read if key in known}
    added = {"other_modalities": others} if others else {}
    return {**read, **said, **counted, **added, resolve.SPEC_KEY: resolve.to_manifest(spec)}


def _cut(run: IngestRun, count: int, done: int, slots: int) -> _Cut:
    """Blocks small enough to keep all workers busy to the end, as many for each; pieces small enough to lose."""
    rounds = max(_ROUNDS, -(-count // (run.block_sequences * slots)))
    block = -(-count // (rounds * slots))
    piece = max(1, min(block, int(_LOST * (count + done) / slots)))
    return _Cut(block, piece)


def _quiet() -> None:
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False  # one bar of sequences says more than one of Ray's operators
    context.print_on_execution_start = False


def _run(new: ray.data.Dataset, count: int, roots: dict[str, Root], blocks: Blocks, cut: _Cut, slots: int) -> None:
    """One Ray Data pipeline: references in, committed blocks out, with a bar that counts sequences."""
    started = time.monotonic()
    # Cut before the pipeline begins: Ray Data keeps cores back for every operator of a pipeline, half of two for this.
    cut_up = new.repartition(target_num_rows_per_block=cut.block, strict=True).materialize()
    # Actors and not tasks: Ray Data sees only every 0.1 s that a task has ended, but an actor has its next block then.
    size = min(slots, -(-count // cut.block))
    pool = ray.data.ActorPoolStrategy(min_size=1, max_size=size, initial_size=size, max_tasks_in_flight_per_actor=2)
    counts = cut_up.map_batches(
        Ingester, fn_constructor_args=[roots, blocks, cut.piece], batch_size=None, batch_format="pyarrow", compute=pool
    )
    with tqdm(total=count, unit="sequences", desc="ingest", mininterval=2, smoothing=0) as bar:
        rejected = peak = 0
        for record in counts.iter_rows():
            if record["problem"]:
                again = "mend that and run the same command again, what is committed is not done twice"
                raise UsageError(f"cannot write to {blocks.store} ({record['problem']}): {again}")
            rejected += record["rejected"]
            peak = max(peak, record["peak"])
            bar.set_postfix(rejected=rejected, refresh=False)
            bar.update(record["sequences"])
    seconds = time.monotonic() - started
    print(
        f"{count:,} sequences in {seconds:.0f} s, {count / seconds:.0f} a second; largest worker {peak / 1024:.0f} MiB"
    )


class Ingester:
    """Runs in a Ray actor: blocks of references to committed blocks of the store; returns their counts."""

    def __init__(self, roots: dict[str, Root], blocks: Blocks, piece: int) -> None:
        self.roots, self.blocks, self.piece = roots, blocks, piece
        codec.use_one_thread()  # Ray runs an actor a core

    def __call__(self, refs: pa.Table) -> pa.Table:
        """The counts of one block. References of two collections, where one ends in it, become a block each."""
        rejected, problem = 0, ""
        try:
            for collection, root in self.roots.items():
                mine = listing.references(refs.filter(pc.equal(refs["collection"], collection)))
                ids = [ref.sequence_id for ref in mine]
                rejected += self.blocks.commit(ids, partial(_harmonise, root, mine), self.piece) if mine else 0
        except (
            OSError
        ) as error:  # what cannot be read is a reject: this is the store, its disk full or its network gone
            problem = error.strerror or str(error)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB, of this worker since it started
        return pa.table({"sequences": [refs.num_rows], "rejected": [rejected], "peak": [peak], "problem": [problem]})


def _harmonise(root: Root, refs: list[SequenceRef], some: slice) -> tuple[list[Row], list[Row]]:
    """The rows and rejects of some references."""
    made = [harmonise(root, ref) for ref in refs[some]]
    rows = [one.row for one in made if one.row is not None]
    return rows, [reject for one in made for reject in one.rejects]
