"""Selections: subsets are nested, walks stay whole, and rows and tables of a selection hold the same sequences."""

from collections import Counter
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pytest

from datasets.schema.errors import UsageError
from datasets.schema.rows import WALK_COLUMNS
from datasets.store.reader import Store
from datasets.store.selection import Selection, training_rows, training_tables, walk_names
from orchestration.run.settings import DataSettings


def chosen(store: Path, unique: int | None, holdout: tuple[str, ...] = ()) -> set[str]:
    rows = training_rows(Store.open(store), Selection(holdout=holdout, unique=unique), ["sequence_id"])
    return set(rows["sequence_id"].to_pylist())


def test_subsets_are_nested(store: Path) -> None:
    sets = [chosen(store, unique) for unique in (1, 5, 24, 63, 64)]
    assert [len(one) for one in sets] == [1, 5, 24, 63, 64]
    assert all(one < other for one, other in pairwise(sets))
    assert sets[-1] == chosen(store, None)


def test_the_order_does_not_depend_on_the_holdout(store: Path) -> None:
    everybody, without = chosen(store, 30), chosen(store, 20, ("CASIA-B/002",))
    theirs = {one for one in everybody if not one.startswith("CASIA-B/002/")}
    assert theirs <= without or without <= theirs


def test_a_subset_holds_all_cameras_of_a_walk(store: Path) -> None:
    rows = training_rows(Store.open(store), Selection(collections=("CASIA-B",), unique=15), WALK_COLUMNS)
    assert rows.column_names == WALK_COLUMNS
    cameras = Counter(walk_names(rows, Store.open(store).specs(["CASIA-B"])))
    assert sorted(cameras.values()) == [1, *[2] * 7]  # two cameras filmed each; the last walk is cut


@pytest.mark.parametrize("unique", [7, 40])
def test_training_tables_hold_the_training_rows(store: Path, unique: int) -> None:
    tables = pa.concat_tables(training_tables(Store.open(store), Selection(holdout=("CASIA-B/004",), unique=unique)))
    ids = tables["sequence_id"].to_pylist()
    assert len(ids) == unique and set(ids) == chosen(store, unique, ("CASIA-B/004",))


def test_more_sequences_than_the_store_has_are_refused(store: Path) -> None:
    with pytest.raises(UsageError, match=r"has 64 sequences to train on, not 65: give a smaller --data\.unique"):
        chosen(store, 65)
    with pytest.raises(UsageError, match=r"--data\.unique 0 must be at least 1"):
        DataSettings(unique=0)
