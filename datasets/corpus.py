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

from datasets import manifest, subset
from datasets.chains import CodedFrames
from datasets.contours import Contours
from datasets.corpus_map import ARRAYS, COLUMNS, TABLE, WALK_COLUMNS
from datasets.declared import declared_in
from datasets.schema import CollectionSpec, Modality, UsageError
from datasets.shards import read_file
from datasets.storage import Place, at_once

_FILES_AT_ONCE = 16


def training_rows(
    store: Place,
    collections: Collection[str] | None,
    holdout: Iterable[str],
    columns: list[str] = COLUMNS,
    *,
    modalities: Collection[Modality] = ("silhouette",),
    unique: int | None = None,
) -> pa.Table:
    """Rows of the train split in some modalities, less the held-out subjects, as `<collection>/<subject>`.

    unique: how many of them, as datasets/subset.py chooses; all where None. UsageError where nothing is left or less
    than was asked for, where a modality has no row, or where a held-out subject is not in the store (a misspelt one
    would be trained on in silence).
    """
    needed = [*columns, *(name for name in ("modality", *WALK_COLUMNS) if name not in columns)]
    rows = manifest.read_rows(store, collections, "train", needed)
    found = set(rows["modality"].to_pylist())
    if found and (unknown := [one for one in modalities if one not in found]):
        raise UsageError(
            f"{store} has no {unknown[0]} to train on: give --data.modalities as some of {', '.join(sorted(found))}, "
            f"or ingest with --modality {unknown[0]}"
        )
    rows = rows.filter(of_modalities(rows, modalities))
    held = held_out(rows["sequence_id"], holdout)
    rows = rows.filter(pc.invert(held))
    if rows.num_rows == 0:
        raise UsageError(f"{store} has no sequences to train on: its train split is empty or wholly held out")
    if unique is not None:
        if unique > rows.num_rows:
            raise UsageError(
                f"{store} has {rows.num_rows} sequences to train on, not {unique}: give a smaller --data.unique, or "
                "add collections"
            )
        keys = subset.keys(rows, specs_of(store, rows))
        rows = rows.filter(pa.array(subset.within(keys, subset.bound(keys, unique))))
    return rows.select(columns)


def training_tables(
    store: Place,
    collections: Collection[str] | None,
    holdout: Iterable[str],
    *,
    modalities: Collection[Modality] = ("silhouette",),
    unique: int | None = None,
) -> Iterator[pa.Table]:
    """The same rows file by file, since all of them may not fit into memory. Settings are taken as checked."""
    files, columns, specs = manifest.files_of(store, collections, "train"), [*COLUMNS, "modality"], {}
    if unique is not None:
        everything = training_rows(store, collections, holdout, WALK_COLUMNS, modalities=modalities)
        specs = specs_of(store, everything)
        last = subset.bound(subset.keys(everything, specs), unique)
    for start in range(0, len(files), _FILES_AT_ONCE):
        for rows in at_once(lambda file: read_file(store, file, columns), files[start : start + _FILES_AT_ONCE]):
            trained_on = pc.and_(of_modalities(rows, modalities), pc.invert(of_subjects(rows["sequence_id"], holdout)))
            trained = rows.filter(trained_on).select(COLUMNS)
            if unique is not None:
                trained = trained.filter(pa.array(subset.within(subset.keys(trained, specs), last)))
            yield trained


def specs_of(store: Place, rows: pa.Table) -> dict[str, CollectionSpec]:
    """What holds of the collections of some rows of a store, by name."""
    entries = manifest.read_manifest(store)
    return {name: declared_in(entries, name) for name in pc.unique(rows["collection"]).to_pylist()}


def of_modalities(rows: pa.Table, modalities: Collection[Modality]) -> pa.ChunkedArray:
    """For each row (with its `modality`) whether it is of one of these."""
    return pc.is_in(rows["modality"], value_set=pa.array(modalities, pa.string()))


def held_out(sequence_ids: pa.ChunkedArray, holdout: Iterable[str]) -> pa.ChunkedArray:
    """For each sequence, whether its subject is held out. UsageError for a subject that has no sequence here."""
    for subject in holdout:
        if not pc.any(of_subjects(sequence_ids, [subject])).as_py():
            raise UsageError(f"held-out subject {subject!r} has no sequence in the train split: check --data.holdout")
    return of_subjects(sequence_ids, holdout)


def of_subjects(sequence_ids: pa.ChunkedArray, subjects: Iterable[str]) -> pa.ChunkedArray:
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
