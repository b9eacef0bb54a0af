"""The bank by which runs are compared: the same clips for every run."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from datasets.contours import codec
from datasets.contours.codec import contours_of
from datasets.loading.clips import ClipSettings
from datasets.loading.heldout_bank import Bank, draw_bank
from datasets.preprocessing.encoder_input import to_input
from datasets.schema.errors import UsageError
from datasets.store.reader import Store

SETTINGS = ClipSettings(frames=4, flip=1.0, affine=1.0, coat=1.0)  # none of which is done to a clip of the bank


@pytest.fixture(scope="module")
def rows(store: Path) -> pa.Table:
    return Store.open(store).rows(["CASIA-B"], "train")


def bank(store: Path, rows: pa.Table, positives: str, most: int = 40, settings: ClipSettings = SETTINGS) -> Bank:
    return draw_bank(rows, Store.open(store).specs(["CASIA-B"]), settings, positives, most, seed=0)


def test_clips_are_frames_of_the_sequence_as_it_is(store: Path, rows: pa.Table) -> None:
    found = bank(store, rows, "clip")
    assert found.query.shape == found.key.shape == (40, 4, 64, 44)
    assert (found.query != found.key).any(axis=(1, 2, 3)).mean() > 0.9  # other frames of the same sequence
    for place, row in enumerate(rows.to_pylist()):  # all are in the bank, so they are in order
        there = {frame.tobytes() for frame in to_input(codec.decode(contours_of(row)))}
        assert all(frame.tobytes() in there for frame in [*found.query[place], *found.key[place]])
    assert (np.diff(found.query_times, axis=1) >= 1).all()
    plain = bank(store, rows, "clip", settings=ClipSettings(frames=4))
    np.testing.assert_array_equal(plain.query, found.query)


def test_keys_of_walks_are_of_the_other_camera(store: Path, rows: pa.Table) -> None:
    found = bank(store, rows, "walk")
    names = [row["sequence_id"] for row in rows.to_pylist()]
    views = {row["sequence_id"]: to_input(codec.decode(contours_of(row))) for row in rows.to_pylist()}
    for place, name in enumerate(names):
        other = name.replace("/036", "/x").replace("/090", "/036").replace("/x", "/090")
        assert all(any((frame == one).all() for one in views[other]) for frame in found.key[place])
    assert sorted(np.bincount(found.walks)) == [2] * 20


def test_fewer_pairs_are_spread_over_subjects(store: Path, rows: pa.Table) -> None:
    subjects, counts = np.unique(bank(store, rows, "clip", most=10).subjects, return_counts=True)
    assert subjects.tolist() == [f"CASIA-B/00{number}" for number in range(1, 5)]
    assert sorted(counts.tolist()) == [2, 2, 3, 3]
    with pytest.raises(UsageError, match="hold more subjects back"):
        bank(store, rows.slice(0, 1), "clip")
