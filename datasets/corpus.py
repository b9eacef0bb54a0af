"""Random access to the sequences of a store, memory-mapped: one copy a node, whatever the number of ranks.

Parquet is compressed and cannot be mapped, so the columns that training needs are written once a node as an Arrow file
and mapped from there. Rows lie in order of sequence_id, so the sequences of a collection are neighbours. This file
knows nothing of the order in which they are visited, nor of clips.
"""

import uuid
from collections.abc import Collection, Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from datasets import manifest
from datasets.contours import Contours
from datasets.schema import UsageError
from datasets.storage import Place

COLUMNS = ["sequence_id", "collection", "num_frames", "frame_numbers", "grid", "contour_counts", "contour_starts"]
COLUMNS += ["contour_lengths", "chain_codes"]


def training_rows(
    store: Place, collections: Collection[str] | None, holdout: Iterable[str], columns: list[str] = COLUMNS
) -> pa.Table:
    """Rows of the train split, less the held-out subjects. holdout: `<collection>/<subject>`, as sequence ids begin.

    UsageError where nothing is left, or where a held-out subject is not in the store (a misspelt one would be trained
    on in silence).
    """
    rows = manifest.read_rows(store, collections, "train", columns)
    held = held_out(rows["sequence_id"], holdout)
    rows = rows.filter(pc.invert(held))
    if rows.num_rows == 0:
        raise UsageError(f"{store} has no sequences to train on: its train split is empty or wholly held out")
    return rows


def held_out(sequence_ids: pa.ChunkedArray, holdout: Iterable[str]) -> pa.ChunkedArray:
    """For each sequence, whether its subject is held out. UsageError for a subject that has no sequence here."""
    held = pa.chunked_array([pa.array(np.zeros(len(sequence_ids), dtype=bool))])
    for subject in holdout:
        mine = pc.starts_with(sequence_ids, subject.rstrip("/") + "/")
        if not pc.any(mine).as_py():
            raise UsageError(f"held-out subject {subject!r} has no sequence in the train split: check --data.holdout")
        held = pc.or_(held, mine)
    return held


def write_map(rows: pa.Table, path: Path) -> None:
    """Write rows for mapping, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    rows = rows.combine_chunks()
    with pa.OSFile(str(beside), "wb") as sink, pa.ipc.new_file(sink, rows.schema) as writer:
        writer.write_table(rows)
    beside.replace(path)


class Corpus:
    """Sequences by number, 0..len-1, from a file of `write_map`."""

    def __init__(self, path: Path) -> None:
        with pa.memory_map(str(path)) as source:
            batches = pa.ipc.open_file(source).read_all().to_batches()
        assert len(batches) == 1, "write_map writes one batch"
        self._columns = dict(zip(batches[0].schema.names, batches[0].columns, strict=True))
        self._grid = self._columns["grid"].to_numpy()
        self._lists = {name: _flat(column) for name, column in self._columns.items() if _is_list(column)}
        counted = pc.value_counts(self._columns["collection"]).to_pylist()
        self._sizes = {entry["values"]: entry["counts"] for entry in counted}

    def __len__(self) -> int:
        return len(self._grid)

    def sizes(self) -> dict[str, int]:
        """Sequences of each collection, in order of rows: the rows of a collection are neighbours."""
        return self._sizes

    def sequence_id(self, row: int) -> str:
        """The id of a sequence."""
        return self._columns["sequence_id"][row].as_py()

    def frame_numbers(self, row: int) -> np.ndarray:
        """The numbers of a sequence's frames on disk, int32 [T]."""
        return self._list("frame_numbers", row)

    def contours(self, row: int) -> Contours:
        """The contours of a sequence, without a copy."""
        parts = (self._list(f"contour_{part}", row) for part in ("counts", "starts", "lengths"))
        return Contours(int(self._grid[row]), *parts, self._list("chain_codes", row))

    def _list(self, name: str, row: int) -> np.ndarray:
        offsets, values = self._lists[name]
        return values[offsets[row] : offsets[row + 1]]


def contours_of(row: dict[str, object]) -> Contours:
    """The contours in one row of a store, as plain Python or numpy values."""
    chain = np.frombuffer(row["chain_codes"], dtype=np.uint8)
    parts = [("contour_counts", np.uint16), ("contour_starts", np.uint16), ("contour_lengths", np.uint32)]
    return Contours(int(row["grid"]), *(np.asarray(row[name], dtype=kind) for name, kind in parts), chain)


def _is_list(column: pa.Array) -> bool:
    return pa.types.is_list(column.type) or pa.types.is_large_binary(column.type) or pa.types.is_binary(column.type)


def _flat(column: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Offsets and values of a list or binary column, as views of the mapped file."""
    if pa.types.is_list(column.type):
        return column.offsets.to_numpy(), column.values.to_numpy()
    width = np.int64 if pa.types.is_large_binary(column.type) else np.int32
    _, offsets, values = column.buffers()
    return np.frombuffer(offsets, dtype=width), np.frombuffer(values, dtype=np.uint8)
