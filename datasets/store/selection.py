"""Which rows of a store are trained on: collections, modalities, held-out subjects, nested subsets."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from datasets.schema.collection import CollectionSpec
from datasets.schema.errors import UsageError
from datasets.schema.rows import COLUMNS, WALK_COLUMNS, Modality
from datasets.storage import thread_map
from datasets.store.files import read_file
from datasets.store.reader import Store
from datasets.store.sequence_ids import keys_of, walk_of

Keys = NDArray[np.uint64]

_FILES = 16  # that are in memory together


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which sequences of a store are trained on: of its train split those of some collections and modalities.

    collections: all where None. holdout: subjects left out, as `<collection>/<subject>`. unique: how many sequences of
    all these, every one where None. Subsets are nested: a smaller one is part of a larger one.
    """

    collections: tuple[str, ...] | None = None
    holdout: tuple[str, ...] = ()
    modalities: tuple[Modality, ...] = ("silhouette",)
    unique: int | None = None


def training_rows(store: Store, selection: Selection, columns: list[str] = COLUMNS) -> pa.Table:
    """Columns of the selected rows, in order of sequence_id.

    UsageError where nothing is left or less than was asked for, where a modality has no row, or where a held-out
    subject is not in the store (a misspelt one would be trained on in silence).
    """
    needed = [*columns, *(name for name in ("modality", *WALK_COLUMNS) if name not in columns)]
    rows = store.rows(selection.collections, "train", needed)
    found = set(rows["modality"].to_pylist())
    if found and (unknown := [one for one in selection.modalities if one not in found]):
        raise UsageError(
            f"{store} has no {unknown[0]} to train on: give --data.modalities as some of {', '.join(sorted(found))}, "
            f"or ingest with --modality {unknown[0]}"
        )
    rows = rows.filter(of_modalities(rows, selection.modalities))
    held = held_out(rows["sequence_id"], selection.holdout)
    rows = rows.filter(pc.invert(held))
    if rows.num_rows == 0:
        raise UsageError(f"{store} has no sequences to train on: its train split is empty or wholly held out")
    if selection.unique is not None:
        if selection.unique > rows.num_rows:
            raise UsageError(
                f"{store} has {rows.num_rows} sequences to train on, not {selection.unique}: give a smaller "
                "--data.unique, or add collections"
            )
        order = keys(rows, store.specs(collections_of(rows)))
        rows = rows.filter(pa.array(within(order, bound(order, selection.unique))))
    return rows.select(columns)


def training_tables(store: Store, selection: Selection) -> Iterator[pa.Table]:
    """The selected rows (COLUMNS) file by file, since all of them may not fit into memory.

    The selection must be one that `training_rows` accepts.
    """
    files, columns = store.files(selection.collections, "train"), [*COLUMNS, "modality"]
    specs: dict[str, CollectionSpec] = {}
    if selection.unique is not None:
        everything = training_rows(store, replace(selection, unique=None), WALK_COLUMNS)
        specs = store.specs(collections_of(everything))
        last = bound(keys(everything, specs), selection.unique)
    for start in range(0, len(files), _FILES):
        for rows in thread_map(lambda file: read_file(store.place, file, columns), files[start : start + _FILES]):
            held = of_subjects(rows["sequence_id"], selection.holdout)
            chosen = rows.filter(pc.and_(of_modalities(rows, selection.modalities), pc.invert(held))).select(COLUMNS)
            if selection.unique is not None:
                chosen = chosen.filter(pa.array(within(keys(chosen, specs), last)))
            yield chosen


def collections_of(rows: pa.Table) -> list[str]:
    """The collections of some rows, in order of their first row."""
    return pc.unique(rows["collection"]).to_pylist()


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


def walk_names(rows: pa.Table, specs: Mapping[str, CollectionSpec]) -> list[str]:
    """The recorded walk of each row, unique over collections: its own id where no other camera filmed it.

    Several modalities of a sequence show one walk, since one was made of the other or both were recorded at once. rows:
    WALK_COLUMNS at least.
    """
    names = [walk_of(one) for one in rows["sequence_id"].to_pylist()]
    collections = rows["collection"].to_pylist()
    several = {name for name in set(collections) if specs[name].synchronised}
    if several:
        described = zip(*(rows[column].to_pylist() for column in WALK_COLUMNS[2:]), strict=True)
        for number, (collection, (subject, condition, view, labels)) in enumerate(
            zip(collections, described, strict=True)
        ):
            if collection in several:
                walk = specs[collection].recorded_walk(subject, condition, view, dict(labels))
                names[number] = names[number] if walk is None else f"{collection}\n{walk}"
    return names


def keys(rows: pa.Table, specs: Mapping[str, CollectionSpec]) -> Keys:
    """The sort key of each row in the order of nested subsets, [n, 2]: of its walk, and within that.

    rows: WALK_COLUMNS at least.
    """
    walks = keys_of([f"subset\n{name}" for name in walk_names(rows, specs)])
    return np.stack([walks, keys_of(rows["sequence_id"].to_pylist())], axis=1).reshape(-1, 2)


def bound(of_all: Keys, count: int) -> Keys:
    """The key [2] of the last one of the first `count` sequences, 1..n."""
    return of_all[np.lexsort(of_all.T[::-1])[count - 1]]


def within(some: Keys, last: Keys) -> NDArray[np.bool_]:
    """Which rows come no later than the one with the key `last`, [n]."""
    return (some[:, 0] < last[0]) | ((some[:, 0] == last[0]) & (some[:, 1] <= last[1]))
