"""Clips and pairs: frame sampling, and the same data for any number of workers."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from datasets.catalog.registry import CATALOG
from datasets.contours import codec
from datasets.contours.codec import contours_of
from datasets.loading import augment, clips, corpus
from datasets.loading.clips import ClipSettings
from datasets.loading.corpus import write_map
from datasets.loading.pairs import PairBatch, PairLoader
from datasets.loading.random_numbers import ClipRng
from datasets.loading.sampler import GlobalSampler
from datasets.preprocessing.encoder_input import to_input
from datasets.schema.errors import UsageError
from datasets.store.reader import Store
from datasets.store.selection import Selection, training_rows, training_tables

ARRAYS = ("walks", "query", "query_times", "key", "key_times")
STILL = {"affine": 0, "perspective": 0, "flip": 0, "dilate": 0, "blur": 0}


@pytest.fixture(scope="module")
def sequences(store: Path, tmp_path_factory) -> corpus.Corpus:
    """40 of CASIA-B, raw and at 128 pixels, two cameras a walk, and 24 of GaitLU-1M, aligned and at 64 pixels."""
    folder = tmp_path_factory.mktemp("map")
    write_map(training_tables(Store.open(store), Selection()), CATALOG, folder)
    return corpus.Corpus(folder)


def loader(
    sequences: corpus.Corpus,
    rank: int = 0,
    ranks: int = 1,
    mixing: str = "step",
    positives: str = "clip",
    **clip: float,
) -> PairLoader:
    sampler = GlobalSampler(sequences.sizes(), {}, 8, 3, mixing)
    return PairLoader(sequences, sampler, ClipSettings(**clip), 8, 3, rank, ranks, positives)


def rng_of(step: int, branch: int) -> ClipRng:
    """As the loader above draws."""
    return ClipRng("pairs", seed=3, step=step, first=0, count=8, branch=branch)


@pytest.mark.parametrize("num_frames", [1, 3, 16, 19, 20, 21, 300])
def test_sampled_frames_are_ordered_and_lie_in_one_window(num_frames: int) -> None:
    positions = clips.sample_positions(
        np.full(500, num_frames), ClipSettings(frames=16, skip=4), ClipRng("pairs", 0, 0, 0, 500)
    )
    assert positions.shape == (500, 16) and (np.diff(positions) > 0).all()
    assert (positions[:, -1] - positions[:, 0]).max() == 19
    last = num_frames * -(-20 // num_frames)
    assert positions.min() == 0 and positions.max() == last - 1  # and everything in between
    assert last == 20 or abs(positions.mean() / (last - 1) - 0.5) < 0.03


def test_times_follow_the_true_frame_numbers() -> None:
    true, positions = np.array([5, 6, 9, 10]), np.array([[1, 2, 3], [2, 3, 4], [3, 4, 9]])  # the last two wrap around
    times = clips.frame_times(positions, true[positions % 4], np.full(3, 4), np.full(3, 6))
    np.testing.assert_array_equal(times, [[0, 3, 4], [0, 1, 2], [0, 1, 8]])


def test_a_clip_that_is_not_augmented_is_the_frames_themselves(store: Path, sequences: corpus.Corpus) -> None:
    stored = {row["sequence_id"]: row for row in training_rows(Store.open(store), Selection()).to_pylist()}
    for step in range(4):
        batch = loader(sequences, mixing="batch", **STILL).at(step)
        indices = loader(sequences, mixing="batch").sampler.at(step)
        counts = sequences.num_frames[indices.rows + np.array([0, sequences.sizes()["CASIA-B"]])[indices.collections]]
        positions = [clips.sample_positions(counts, ClipSettings(), rng_of(step, branch)) for branch in (0, 1)]
        for position, (collection, row) in enumerate(zip(indices.collections, indices.rows, strict=True)):
            row = stored[sequences.sequence_id(int(row) + (0, sequences.sizes()["CASIA-B"])[collection])]
            count, masks = len(row["frame_numbers"]), to_input(codec.decode(contours_of(row)))
            assert count == counts[position]
            for clip, of_branch in zip((batch.query, batch.key), positions, strict=True):
                np.testing.assert_array_equal(clip[position], masks[of_branch[position] % count])
    mirrored = loader(sequences, mixing="batch", **{**STILL, "flip": 1}).at(3)
    np.testing.assert_array_equal(mirrored.query, batch.query[..., ::-1])


def test_a_setting_changes_no_decision_but_its_own(sequences: corpus.Corpus) -> None:
    still, all_on, moved = (
        loader(sequences, **settings).at(1) for settings in (STILL, {"perspective": 0.5}, {**STILL, "perspective": 0.5})
    )
    np.testing.assert_array_equal(still.query_times, all_on.query_times)
    same = (still.query == moved.query).all(axis=(1, 2, 3))
    expected = augment.movement(rng_of(1, 0), ClipSettings(**{**STILL, "perspective": 0.5})).moved
    assert 0 < same.sum() < 8 and same.tolist() == (~expected).tolist()
    assert moved.query.any(axis=(2, 3)).all() and set(np.unique(all_on.key)) == {0, 1}


def digest(parts: list[PairBatch]) -> str:
    joined = [np.concatenate([getattr(part, name) for part in parts]).tobytes() for name in ARRAYS]
    names = [name for part in parts for name in part.collections]
    return hashlib.sha256(b"".join(joined) + repr((names, parts[0].epoch)).encode()).hexdigest()


@pytest.mark.parametrize("positives", ["clip", "walk"])
@pytest.mark.parametrize("mixing", ["step", "batch"])
def test_any_number_of_workers_sees_the_same_pairs_from_any_step(
    sequences: corpus.Corpus, mixing: str, positives: str
) -> None:
    kind = {"mixing": mixing, "positives": positives}
    whole = [digest([batch]) for batch in loader(sequences, **kind).steps(0, 12)]
    assert len(set(whole)) == 12
    for ranks in (1, 2, 4):
        for start in (0, 7):
            several = [loader(sequences, rank, ranks, **kind).steps(start, 12) for rank in range(ranks)]
            assert [digest(list(parts)) for parts in zip(*several, strict=True)] == whole[start:]


def test_clips_are_positives_within_a_sequence_and_walks_between_cameras(sequences: corpus.Corpus) -> None:
    clip, walk = (loader(sequences, mixing="batch", positives=kind, **STILL) for kind in ("clip", "walk"))
    seen = []
    for step in range(6):
        one, other = clip.at(step), walk.at(step)
        np.testing.assert_array_equal(one.query, other.query)
        np.testing.assert_array_equal(one.walks, other.walks)
        assert not np.array_equal(one.query, one.key)
        differs = (one.key != other.key).any(axis=(1, 2, 3))
        assert (differs == (np.array(one.collections) == "CASIA-B")).all()  # GaitLU-1M has one camera
        seen += list(zip(one.collections, one.walks.tolist(), strict=True))
    assert {"CASIA-B", "GaitLU-1M"} == {name for name, _ in seen}
    owners: dict[int, set[str]] = {}
    for name, number in seen:
        owners.setdefault(number, set()).add(name)
    assert all(len(names) == 1 for names in owners.values())


@pytest.mark.parametrize(
    "wrong", [{"frames": 7}, {"frames": 0}, {"skip": -1}, {"flip": 1.5}, {"perspective": -0.1}, {"reach": 30}]
)
def test_settings_that_make_no_sense_are_refused(wrong: dict) -> None:
    with pytest.raises(UsageError, match=f"--clips.{next(iter(wrong))}"):
        ClipSettings(**wrong)
