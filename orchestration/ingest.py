"""Driver of ingest: Ray Data from the folders of collections to shards, rejects and a manifest.

References to sequences go out in blocks of some hundred; a task reads, normalises and encodes its block, writes it to
the store and commits it (datasets/shards.py); only its counts come back. A block whose task is killed is not
committed, and the next run over the same store does it again, with whatever is new.
"""

import resource
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import groupby, islice
from pathlib import Path

import pyarrow as pa
import ray
from tqdm import tqdm

from datasets import catalog, contours, layouts, shards
from datasets.harmonise import harmonise
from datasets.layouts import SequenceRef
from datasets.schema import CollectionSpec, Layout, UsageError
from orchestration import session

# References as they travel to the tasks: a block where no sequence has labels, or all have a problem, is no exception.
_TEXT = ("sequence_id", "collection", "layout", "folder", "subject", "condition", "view", "problem")
REF_SCHEMA = pa.schema([*((name, pa.string()) for name in _TEXT), ("labels", pa.map_(pa.string(), pa.string()))])


@dataclass(frozen=True, kw_only=True)
class IngestRun:
    """What to ingest, from where and to where."""

    roots: dict[str, str]  # collection -> the folder it lies in
    out: str
    block_sequences: int = 256  # sequences a task handles at once: what a killed task has to do again

    def __post_init__(self) -> None:
        if not self.roots:
            raise UsageError("nothing to ingest: give at least one --root NAME=<folder>")
        if self.block_sequences < 1:
            raise UsageError(f"--block-sequences {self.block_sequences} must be at least 1")


@dataclass(frozen=True)
class _Root:
    """A collection's root as a task needs it."""

    collection: str
    folder: str
    layout: Layout


def ingest(run: IngestRun) -> shards.Manifest:
    """Bring every sequence below the roots into the store that is not there yet; returns the manifest."""
    roots = [_Root(n, str(Path(f).resolve()), _layout(n, Path(f))) for n, f in sorted(run.roots.items())]
    store = Path(run.out).resolve()
    if (store / "manifest.json").exists():
        shards.read_manifest(store)  # a store of another version is refused before anything is added to it
    elif store.exists() and not (store / "blocks").is_dir() and (not store.is_dir() or any(store.iterdir())):
        raise UsageError(f"{store} exists and holds something else than shards: give another --out")
    done = shards.committed_ids(store)
    pending = [ref for root in roots for ref in _list(root) if ref.sequence_id not in done]
    _refuse_doubles(pending)
    if done:
        print(f"{len(done)} sequences are in {store} already, {len(pending)} are new", flush=True)
    if pending:
        session.start()
        _run(pending, {root.collection: root for root in roots}, store, run.block_sequences)
    known = {root.collection: root.folder for root in roots}
    return shards.write_manifest(store, known, {name: _about(spec) for name, spec in catalog.CATALOG.items()})


def _about(spec: CollectionSpec) -> dict[str, object]:
    """What a store says of a collection: who to cite, on what terms, and how much of it there is."""
    facts = {"title": spec.title, "citation": spec.citation, "access": spec.access}
    return facts | {"published": dict(spec.published)}


def _layout(name: str, folder: Path) -> Layout:
    return layouts.detect(folder, catalog.find(name))


def _list(root: _Root) -> Iterator[SequenceRef]:
    return layouts.list_sequences(Path(root.folder), catalog.find(root.collection), root.layout)


def _refuse_doubles(refs: list[SequenceRef]) -> None:
    """One walk found in two folders would be trained on twice, and would be its own gallery."""
    folders: dict[str, str] = {}
    for ref in refs:
        if (other := folders.setdefault(ref.sequence_id, ref.folder)) != ref.folder:
            raise UsageError(f"{ref.sequence_id} is in two folders, {other} and {ref.folder}: keep one of them")


def _run(pending: list[SequenceRef], roots: dict[str, _Root], store: Path, block_sequences: int) -> None:
    """One Ray Data pipeline: references in, committed blocks out, with a bar that counts sequences."""
    started = time.monotonic()
    blocks = [_as_table(block) for block in _blocks(pending, block_sequences)]
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False  # one bar of sequences says more than one of Ray's operators
    context.print_on_execution_start = False
    done = ray.data.from_arrow(blocks).map_batches(
        ingest_block,
        batch_size=None,
        batch_format="pyarrow",
        fn_kwargs={"roots": roots, "store": str(store)},
    )
    with tqdm(total=len(pending), unit="sequences", desc="ingest", mininterval=2, smoothing=0) as bar:
        rejected = peak = 0
        for record in done.iter_rows():
            rejected += record["rejected"]
            peak = max(peak, record["peak"])
            bar.set_postfix(rejected=rejected, refresh=False)
            bar.update(record["sequences"])
    seconds = time.monotonic() - started
    rate = len(pending) / seconds
    print(f"{len(pending):,} sequences in {seconds:.0f} s, {rate:.0f} a second; largest worker {peak / 1024:.0f} MiB")


def _blocks(refs: list[SequenceRef], size: int) -> Iterator[list[SequenceRef]]:
    """Blocks of at most `size` references, each of one collection."""
    for _, of_collection in groupby(refs, key=lambda ref: ref.collection):
        while block := list(islice(of_collection, size)):
            yield block


def _as_table(refs: list[SequenceRef]) -> pa.Table:
    return pa.Table.from_pylist([asdict(ref) for ref in refs], schema=REF_SCHEMA)


def ingest_block(refs: pa.Table, roots: dict[str, _Root], store: str) -> pa.Table:
    """Runs in a Ray task: one block of references to one committed block of the store; returns its counts."""
    contours.use_one_thread()  # Ray runs a task a core
    rows, rejects = [], []
    references = [SequenceRef(**{**ref, "labels": dict(ref["labels"])}) for ref in refs.to_pylist()]
    for ref in references:
        root = roots[ref.collection]
        result = harmonise(Path(root.folder), ref, catalog.find(ref.collection), root.layout)
        rejects += result.rejects
        if result.row is not None:
            rows.append(result.row)
    shards.write_block(Path(store), [ref.sequence_id for ref in references], rows, rejects)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB, of this worker since it started
    return pa.table({"sequences": [len(references)], "rejected": [len(references) - len(rows)], "peak": [peak]})
