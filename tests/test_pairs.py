"""Clips and pairs: frame sampling, geometry, and the same data for any number of workers."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from datasets import clips, contours, corpus
from datasets.clips import ClipSettings
from datasets.order import GlobalOrder
from datasets.pairs import PairLoader
from datasets.schema import UsageError
from datasets.storage import at


@pytest.fixture(scope="session")
def sequences(store: Path, tmp_path_factory) -> corpus.Corpus:
    path = tmp_path_factory.mktemp("map") / "corpus.arrow"
    corpus.write_map(corpus.training_rows(at(store), None, ()), path)
    return corpus.Corpus(path)


def loader(sequences: corpus.Corpus, rank: int = 0, ranks: int = 1, **settings: float) -> PairLoader:
    order = GlobalOrder(sequences.sizes(), {}, 8, seed=3)
    return PairLoader(sequences, order, ClipSettings(**settings), 8, seed=3, rank=rank, ranks=ranks)


@pytest.mark.parametrize("num_frames", [1, 3, 16, 19, 20, 21, 300])
def test_sampled_frames_are_ordered_and_lie_in_one_window(num_frames: int) -> None:
    settings = ClipSettings(frames=16, skip=4)
    for seed in range(50):
        places = clips.sample_frames(num_frames, settings, np.random.default_rng(seed))
        assert len(places) == 16
        assert (np.diff(places) > 0).all()
        assert places[-1] - places[0] < 20
        assert places[-1] < num_frames * -(-20 // num_frames)


def test_times_follow_the_true_frame_numbers() -> None:
    numbers = np.array([5, 6, 9, 10])
    np.testing.assert_array_equal(clips.frame_times(np.array([1, 2, 3]), numbers), [0, 3, 4])
    np.testing.assert_array_equal(clips.frame_times(np.array([2, 3, 4, 5]), numbers), [0, 1, 2, 3])  # wrapped around


def test_a_clip_that_is_not_augmented_is_the_frames_themselves(sequences: corpus.Corpus) -> None:
    still = ClipSettings(affine=0, flip=0, dilate=0, blur=0)
    for row in (0, len(sequences) - 1):  # a raw collection at 128 pixels, and an aligned one at 64
        coded = sequences.contours(row)
        clip, _ = clips.random_clip(coded, sequences.frame_numbers(row), still, np.random.default_rng(0))
        places = clips.sample_frames(coded.num_frames, still, np.random.default_rng(0)) % coded.num_frames
        np.testing.assert_array_equal(clip, clips.to_input(contours.decode(coded, places)))


def test_moved_outlines_agree_with_moved_pixels(sequences: corpus.Corpus) -> None:
    """The affine map on points against OpenCV's on pixels; both round, so edges may differ by a pixel."""
    coded = sequences.contours(0)
    mask = contours.decode(coded, np.array([5]))
    lines = contours.outlines(coded, np.array([5]))
    for seed in range(20):
        matrix = clips._random_map(coded.grid, ClipSettings(affine=1, flip=0.5), np.random.default_rng(seed))
        moved = contours.draw(lines, matrix)[0]
        pixels = cv2.warpAffine(mask[0].astype(np.float32), matrix, (coded.grid, coded.grid)) >= 0.5
        assert np.logical_and(moved, pixels).sum() / np.logical_or(moved, pixels).sum() > 0.9


def test_bands_change_as_frame_by_frame_arithmetic_says() -> None:
    clip = (np.random.default_rng(0).uniform(size=(5, 64, 44)) < 0.3).astype(np.uint8)
    for seed in range(20):
        dilated = clips._change_bands(clip.copy(), ClipSettings(dilate=1, blur=0), np.random.default_rng(seed))
        rng = np.random.default_rng(seed)
        rng.random(2)
        top, bottom = rng.integers(9, 21), rng.integers(39, 51)
        shape, size = clips._SHAPES[rng.integers(9)]
        kernel = cv2.getStructuringElement(shape, size)
        expected = clip.copy()
        for frame in expected:
            frame[top:bottom] = cv2.dilate(frame[top:bottom], kernel)
        np.testing.assert_array_equal(dilated, expected)
        blurred = clips._change_bands(clip.copy(), ClipSettings(dilate=0, blur=1), np.random.default_rng(seed))
        assert set(np.unique(blurred)) <= {0, 1}
        np.testing.assert_array_equal(blurred[:, :9], clip[:, :9])
        np.testing.assert_array_equal(blurred[:, 50:], clip[:, 50:])
        rows = slice(top, bottom)
        gauss = np.stack([cv2.GaussianBlur(frame[rows].astype(np.float32), (3, 3), 0) for frame in clip]) > 0.2
        np.testing.assert_array_equal(blurred[:, rows], gauss)


def test_halving_keeps_a_pixel_where_half_of_it_is_body() -> None:
    frame = np.zeros((1, 128, 128), np.uint8)
    frame[0, 40:60, 50:70] = 1
    half = clips.to_input(frame)
    assert half.shape == (1, 64, 44)
    assert half.sum() == 100
    assert half[0, 20:30, 15:25].all()


def test_any_number_of_workers_sees_the_same_pairs(sequences: corpus.Corpus) -> None:
    for step in (0, 7):
        whole = loader(sequences).at(step)
        for ranks in (2, 4):
            parts = [loader(sequences, rank, ranks).at(step) for rank in range(ranks)]
            for name in ("query", "key", "query_times", "key_times"):
                joined = np.concatenate([getattr(part, name) for part in parts])
                np.testing.assert_array_equal(joined, getattr(whole, name))


def test_steps_drawn_ahead_are_the_steps_asked_for(sequences: corpus.Corpus) -> None:
    ahead = list(loader(sequences).steps(3, 8))
    assert [batch.step for batch in ahead] == [3, 4, 5, 6, 7]
    np.testing.assert_array_equal(ahead[2].query, loader(sequences).at(5).query)
    assert not np.array_equal(ahead[2].query, ahead[2].key)


def test_the_corpus_gives_each_sequence_its_own_contours(store: Path, sequences: corpus.Corpus) -> None:
    rows = corpus.training_rows(at(store), None, ()).to_pylist()
    assert [sequences.sequence_id(n) for n in range(len(sequences))] == [row["sequence_id"] for row in rows]
    for number in (0, 7, len(rows) - 1):
        expected = contours.decode(corpus.contours_of(rows[number]))
        np.testing.assert_array_equal(contours.decode(sequences.contours(number)), expected)
        assert sequences.frame_numbers(number).tolist() == rows[number]["frame_numbers"]
    assert sequences.sizes() == {"CASIA-B": 40, "GaitLU-1M": 24}


def test_held_out_subjects_are_left_out_and_must_exist(store: Path) -> None:
    rows = corpus.training_rows(at(store), ["CASIA-B"], ["CASIA-B/002"])
    subjects = {one.split("/")[1] for one in rows["sequence_id"].to_pylist()}
    assert subjects == {"001", "003", "004"}
    with pytest.raises(UsageError, match="held-out subject 'CASIA-B/02' has no sequence"):
        corpus.training_rows(at(store), ["CASIA-B"], ["CASIA-B/02"])


@pytest.mark.parametrize("wrong", [{"frames": 7}, {"frames": 0}, {"skip": -1}, {"flip": 1.5}])
def test_settings_that_make_no_sense_are_refused(wrong: dict) -> None:
    with pytest.raises(UsageError, match=f"--clips.{next(iter(wrong))}"):
        ClipSettings(**wrong)
