"""The sequences that training sees: which rows of a store they are, and random access to them.

They are mapped into memory from the files of datasets/corpus_map.py: one copy a node, whatever the number of ranks; a
process has views of it and nothing of its own. This file knows nothing of the order in which sequences are visited, nor
of clips.
"""

from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from datasets import manifest
from datasets.chains import CodedFrames
from datasets.contours import Contours
from datasets.corpus_map import ARRAYS, COLUMNS, TABLE, WALK_COLUMNS
from datasets.schema import UsageError
from datasets.shards import read_file
from datasets.storage import Place, at_once

_FILES_AT_ONCE = 16


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


def training_tables(store: Place, collections: Collection[str] | None, holdout: Iterable[str]) -> Iterator[pa.Table]:
    """The same rows file by file, since all of them may not fit into memory. Settings are taken as checked."""
    files = manifest.files_of(store, collections, "train")
    for start in range(0, len(files), _FILES_AT_ONCE):
        for rows in at_once(lambda file: read_file(store, file, COLUMNS), files[start : start + _FILES_AT_ONCE]):
            yield rows.filter(pc.invert(_of_subjects(rows["sequence_id"], holdout)))


def held_out(sequence_ids: pa.ChunkedArray, holdout: Iterable[str]) -> pa.ChunkedArray:
    """For each sequence, whether its subject is held out. UsageError for a subject that has no sequence here."""
    for subject in holdout:
        if not pc.any(_of_subjects(sequence_ids, [subject])).as_py():
            raise UsageError(f"held-out subject {subject!r} has no sequence in the train split: check --data.holdout")
    return _of_subjects(sequence_ids, holdout)


def _of_subjects(sequence_ids: pa.ChunkedArray, subjects: Iterable[str]) -> pa.ChunkedArray:
    """For each sequence, whether it is of one of the subjects."""
    found = pa.chunked_array([pa.array(np.zeros(len(sequence_ids), dtype=bool))])
    for subject in subjects:
        found = pc.or_(found, pc.starts_with(sequence_ids, subject.rstrip("/") + "/"))
    return found


class Corpus:
    """Sequences by number, 0..len-1, from a folder of `write_map`; a collection is a range of rows, in order of name.

    grids, first_frames, num_frames, walks: of each row; equal numbers in `walks` are one recorded walk. frame_numbers:
    of all frames, as they were on disk. coded: the contours of all frames.
    """

    def __init__(self, folder: Path) -> None:
        with pa.memory_map(str(folder / TABLE)) as source:
            self._table = pa.ipc.open_file(source).read_all()
        columns = (self._table[name].chunk(0).to_numpy() for name in ("grid", "first_frame", "num_frames", "walk"))
        self.grids, self.first_frames, self.num_frames, self.walks = columns
        arrays = {name: _mapped(folder / name, kind) for name, kind in ARRAYS.items()}
        self.frame_numbers, self._first_of_walk = arrays.pop("frame_numbers"), arrays.pop("walks")
        self.coded = CodedFrames(**arrays)
        counted = pc.value_counts(self._table["collection"]).to_pylist()
        self._sizes = {entry["values"]: entry["counts"] for entry in counted}

    def __len__(self) -> int:
        return len(self.grids)

    def sizes(self) -> dict[str, int]:
        """Sequences of each collection, in order of rows and of name."""
        return self._sizes

    def sequence_id(self, row: int) -> str:
        """The id of a sequence."""
        return self._table["sequence_id"][row].as_py()

    def described(self) -> pa.Table:
        """What the store says of each sequence, WALK_COLUMNS of datasets/corpus_map.py, in order of rows."""
        return self._table.select(WALK_COLUMNS)

    def partners(self, rows: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """For each row another one of the same recorded walk, by a number in [0, 1); itself where there is no other."""
        first, end = (self._first_of_walk[self.walks[rows] + one] for one in (0, 1))
        partner = first + (numbers * (end - first - 1)).astype(np.int64)
        return np.where(end - first > 1, partner + (partner >= rows), rows)


def contours_of(row: dict[str, object]) -> Contours:
    """The contours in one row of a store, as plain Python or numpy values."""
    chain = np.frombuffer(row["chain_codes"], dtype=np.uint8)
    parts = [("contour_counts", np.uint16), ("contour_starts", np.uint16), ("contour_lengths", np.uint32)]
    return Contours(int(row["grid"]), *(np.asarray(row[name], dtype=kind) for name, kind in parts), chain)


def _mapped(path: Path, kind: type) -> np.ndarray:
    """A file as an array without a copy."""
    if not path.stat().st_size:  # nothing cannot be mapped
        return np.zeros(0, dtype=kind)
    return np.asarray(np.memmap(path, dtype=kind, mode="r"))
