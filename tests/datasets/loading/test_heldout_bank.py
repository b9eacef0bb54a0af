"""The bank by which runs are compared: the same clips for every run, the loss of training without smoothing."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from datasets.contours import codec
from datasets.contours.codec import contours_of
from datasets.loading.clips import ClipSettings
from datasets.loading.heldout_bank import Bank, draw_bank
from datasets.preprocessing.encoder_input import to_input
from datasets.schema.errors import UsageError
from datasets.store.reader import Store
from evaluation.retrieval.outcomes import Outcomes, Score
from evaluation.scaling.heldout_loss import bank_losses, by_subject
from evaluation.scaling.subject_errors import errors_of
from model.network import NetworkSettings
from model.objective import ContrastSettings, PartContrast

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


def test_the_loss_is_that_of_training_without_smoothing() -> None:
    rng = np.random.default_rng(0)
    predicted, keys = rng.normal(size=(2, 12, 31, 8)).astype(np.float32)
    walks = np.array([0, 0, 1, 2, 3, 4, 5, 5, 5, 6, 7, 8])
    settings = ContrastSettings(temperature=1 / 5, joint=0.7, joint_temperature=1 / 11, smoothing=0.0)
    module = PartContrast(NetworkSettings(channels=8), settings)
    same = torch.from_numpy((walks[:, None] == walks) & ~np.eye(12, dtype=bool))
    expected = module.contrast(torch.from_numpy(predicted), torch.from_numpy(keys), 0, same)["loss"].item()
    parts, joint = bank_losses(predicted, keys, walks, 1 / 5, 1 / 11)
    assert parts.shape == (12, 31) and joint.shape == (12,)
    assert parts.mean() + 0.7 * joint.mean() == pytest.approx(expected, rel=1e-5)


def test_values_by_subject_make_up_the_whole() -> None:
    found = by_subject(np.array([1.0, 2.0, 3.0, 10.0]), np.array(["b", "a", "a", "b"]))
    assert (found.subjects, found.values, found.weights) == (("a", "b"), (2.5, 5.5), (2.0, 2.0))
    assert found.value == np.average(found.values, weights=found.weights) == 4.0


def test_errors_of_subjects_and_of_sets_without_probes() -> None:
    def score(name: str, ranks: list[list[int]]) -> Score:
        outcomes = Outcomes(
            ranks=np.array(ranks).reshape(-1, 2),
            subjects=np.array(["a", "a", "b", "c"])[: len(ranks)],
            rows=np.array([0, 1, 0, 1])[: len(ranks)],
            weights=1 - np.eye(2),
            most=5,
        )
        counts = dict.fromkeys(("num_probes", "num_gallery", "num_gallery_subjects", "num_excluded"), 0)
        nan = {"excluding_identical": np.nan, "identical_only": np.nan}
        return Score(kind="view-pairs", probe_set=name, outcomes=outcomes, **nan, **counts)

    # Row 0 counts in column 1, row 1 in column 0; c has no match where it counts.
    nm, none = score("NM", [[1, 1], [2, 1], [1, 3], [0, 1]]), score("CL", [])
    found = errors_of([nm, none], "X")
    assert list(found) == ["error/X/view-pairs/NM"]
    error = found["error/X/view-pairs/NM"]
    assert error.value == pytest.approx(75)  # half of the cell of row 0, all of that of row 1
    assert (error.subjects, error.values, error.weights) == (("X/a", "X/b"), (50.0, 100.0), (2.0, 1.0))
    both = errors_of([nm, score("BG", [[1, 1], [1, 1], [1, 1], [1, 1]])], "X")["error/X/view-pairs/mean"]
    assert both.value == pytest.approx(37.5) and both.subjects == ("X/a", "X/b") and both.values == (25.0, 50.0)
