"""So many unique sequences: fewer are among more, walks stay whole, and every way to read them finds the same ones."""

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


def test_smaller_sets_are_within_larger_ones(store: Path) -> None:
    sets = [chosen(store, unique) for unique in (1, 5, 24, 63, 64)]
    assert [len(one) for one in sets] == [1, 5, 24, 63, 64]
    assert all(one < other for one, other in pairwise(sets))
    assert sets[-1] == chosen(store, None)


def test_who_is_held_out_does_not_change_the_order_of_the_others(store: Path) -> None:
    everybody, without = chosen(store, 30), chosen(store, 20, ("CASIA-B/002",))
    theirs = {one for one in everybody if not one.startswith("CASIA-B/002/")}
    assert theirs <= without or without <= theirs


def test_walks_come_with_all_their_cameras(store: Path) -> None:
    rows = training_rows(Store.open(store), Selection(collections=("CASIA-B",), unique=15), WALK_COLUMNS)
    assert rows.column_names == WALK_COLUMNS
    cameras = Counter(walk_names(rows, Store.open(store).specs(["CASIA-B"])))
    assert sorted(cameras.values()) == [1, *[2] * 7]  # two cameras filmed each; the last walk is cut


@pytest.mark.parametrize("unique", [7, 40])
def test_file_by_file_they_are_the_same(store: Path, unique: int) -> None:
    tables = pa.concat_tables(training_tables(Store.open(store), Selection(holdout=("CASIA-B/004",), unique=unique)))
    ids = tables["sequence_id"].to_pylist()
    assert len(ids) == unique and set(ids) == chosen(store, unique, ("CASIA-B/004",))


def test_more_than_there_are_is_refused(store: Path) -> None:
    with pytest.raises(UsageError, match=r"has 64 sequences to train on, not 65: give a smaller --data\.unique"):
        chosen(store, 65)
    with pytest.raises(UsageError, match=r"--data\.unique 0 must be at least 1"):
        DataSettings(unique=0)
