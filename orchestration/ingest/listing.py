"""Listing the sequences of collections: Ray tasks list some top folders each; references stay in Ray's object store.

A collection may have millions of sequences, so their references are Arrow blocks that Ray holds (and spills to disk);
the driver sees a key of eight bytes for each.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict

import numpy as np
import pyarrow as pa
import ray

from datasets.ingest.layouts import Root, SequenceRef, list_below, top_folders
from datasets.schema.errors import UsageError
from datasets.storage import Entry
from datasets.store.sequence_ids import keys_of
from orchestration.cluster.progress import Progress

_TEXT = ("sequence_id", "collection", "folder", "subject", "condition", "view", "problem")
REF_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in _TEXT),
        ("labels", pa.map_(pa.string(), pa.string())),
        ("key", pa.uint64()),
    ]
)
_YIELD = 1024  # references in each table that a listing task yields
_TASKS_PER_CORE = 4  # in the listing of a collection, so that all cores finish at about the same time


def list_new(roots: dict[str, Root], done: np.ndarray) -> tuple[ray.data.Dataset, int]:
    """References (REF_SCHEMA) to every sequence below the roots whose key is not in `done`, and their number.

    done: sorted keys of sequences, uint64. UsageError where a sequence lies in two folders: it would be trained on
    twice, and be its own gallery.
    """
    chunks = [chunk for root in roots.values() for chunk in _chunks(root)]
    new = ray.data.from_arrow(chunks).map_batches(
        list_chunk,  # type: ignore[arg-type]  # Ray's annotation leaves out the parameters that fn_kwargs fills
        batch_size=None,
        batch_format="pyarrow",
        fn_kwargs={"roots": roots, "done": done},
    )
    new = new.materialize()
    keys = [np.zeros(0, np.uint64)]
    with Progress("list", "sequences") as progress:
        for batch in new.select_columns(["key"]).iter_batches(batch_size=None, batch_format="pyarrow"):
            keys.append(batch["key"].to_numpy())
            progress.advance(batch.num_rows)
    every, counts = np.unique(np.concatenate(keys), return_counts=True)
    if (counts > 1).any():
        _refuse(new, every[counts > 1][0])
    return new, len(every)


def _chunks(root: Root) -> list[pa.Table]:
    """The top folders of a root, a table for each listing task; a task costs Ray 20 ms."""
    # As JSON, because a name may hold bytes that are not UTF-8.
    tops = [json.dumps([position, entry.name, entry.kind]) for position, entry in top_folders(root)]
    size = -(-len(tops) // (_TASKS_PER_CORE * max(int(ray.cluster_resources().get("CPU", 1)), 1)))
    parts = [tops[start : start + size] for start in range(0, len(tops), size)]
    return [pa.table({"collection": [root.spec.name] * len(part), "top": part}) for part in parts]


def list_chunk(chunk: pa.Table, roots: dict[str, Root], done: np.ndarray) -> Iterator[pa.Table]:
    """A Ray task: references to the sequences below some top folders that are not done, _YIELD at a time."""
    waiting: list[SequenceRef] = []
    for row in chunk.to_pylist():
        position, name, kind = json.loads(row["top"])
        for ref in list_below(roots[row["collection"]], position, Entry(name, kind)):
            waiting.append(ref)
            if len(waiting) == _YIELD:
                yield _new(waiting, done)
                waiting = []
    yield _new(waiting, done)


def _new(refs: list[SequenceRef], done: np.ndarray) -> pa.Table:
    keys = keys_of([ref.sequence_id for ref in refs])
    rows = [asdict(ref) | {"key": key} for ref, key in zip(refs, keys, strict=True)]
    return pa.Table.from_pylist(rows, schema=REF_SCHEMA).filter(pa.array(~np.isin(keys, done)))


def _refuse(refs: ray.data.Dataset, key: np.uint64) -> None:
    same = refs.filter(lambda row: row["key"] == key).take_all()
    one, other = sorted(same, key=lambda row: row["folder"])[:2]
    raise UsageError(f"{one['sequence_id']} is in two folders, {one['folder']} and {other['folder']}: keep one of them")


def references(table: pa.Table) -> list[SequenceRef]:
    """The references in a table of REF_SCHEMA."""
    return [SequenceRef(**{**row, "labels": dict(row["labels"])}) for row in table.drop_columns(["key"]).to_pylist()]
