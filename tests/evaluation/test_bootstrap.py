"""Intervals over subjects: as wide as theory says, reproducible, and missing where one person is all there is."""

import numpy as np
import pytest

from evaluation.bootstrap import subject_interval
from evaluation.retrieval.outcomes import Outcomes

ONE = np.ones((1, 1))


def interval(hits: np.ndarray, subjects: np.ndarray, **settings) -> tuple[float, float]:
    rows = np.zeros(len(hits), dtype=int)
    return subject_interval(hits[:, None], np.ones((len(hits), 1), bool), subjects.astype(str), rows, ONE, **settings)


def test_width_is_that_of_a_mean_over_independent_subjects() -> None:
    rng = np.random.default_rng(0)
    hits = rng.random(400) < 0.7
    low, high = interval(hits, np.arange(400))
    half = 1.96 * np.sqrt(hits.mean() * (1 - hits.mean()) / 400)
    assert (low, high) == pytest.approx((hits.mean() - half, hits.mean() + half), abs=0.01)


def test_probes_of_one_subject_do_not_make_it_narrower() -> None:
    hits = np.random.default_rng(0).random(60) < 0.7
    once = interval(hits, np.arange(60))
    assert interval(np.repeat(hits, 50), np.repeat(np.arange(60), 50)) == once
    low, high = interval(np.repeat(hits, 50), np.arange(3000))
    assert high - low < (once[1] - once[0]) / 4


def test_the_seed_decides() -> None:
    hits, subjects = np.random.default_rng(0).random(50) < 0.5, np.arange(50)
    assert interval(hits, subjects) == interval(hits, subjects)
    assert interval(hits, subjects) != interval(hits, subjects, seed=1)
    narrow, wide = interval(hits, subjects, level=0.5), interval(hits, subjects, level=0.99)
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


def test_cells_are_weighted_and_what_is_not_counted_is_not_read() -> None:
    subjects, rows = np.array(["a", "b", "a", "b"]), np.array([0, 0, 1, 1])
    outcomes = np.array([[1.0, np.nan], [1.0, np.nan], [0.5, 0.0], [0.5, 0.0]])
    counted = ~np.isnan(outcomes)
    weights = np.array([[1.0, 1.0], [1.0, 0.0]])
    assert subject_interval(outcomes, counted, subjects, rows, weights) == (0.75, 0.75)
    weights = np.array([[3.0, 1.0], [1.0, 0.0]])
    assert subject_interval(outcomes, counted, subjects, rows, weights) == (0.875, 0.875)


def test_it_is_the_interval_of_the_metric() -> None:
    """Resampled by hand, with the metric computed anew from copies of the probes."""
    rng = np.random.default_rng(3)
    subjects, rows = np.repeat(np.arange(8), 6).astype(str), np.tile([0, 1, 2], 16)
    ranks = rng.integers(0, 4, (48, 3)).astype(np.uint8)
    ranks[rows == 2, 0] = 0
    weights = 1.0 - np.eye(3)
    outcomes = Outcomes(ranks=ranks, subjects=subjects, rows=rows, weights=weights, max_rank=5)
    scores = []
    drawn = np.random.default_rng(0).multinomial(8, np.full(8, 1 / 8), size=1000)
    for times in drawn[:200]:
        copies = np.repeat(np.arange(48), times[subjects.astype(int)])
        again = Outcomes(ranks=ranks[copies], subjects=subjects[copies], rows=rows[copies], weights=weights, max_rank=5)
        scores.append(again.rank(1))
    matched = ranks > 0
    found = subject_interval(matched & (ranks <= 1), matched, subjects, rows, weights, resamples=200)
    # one call of multinomial draws the same first 200 whatever the number of them
    assert found == pytest.approx(tuple(np.percentile(scores, [2.5, 97.5]) / 100))
    assert outcomes.rank_interval(1)[0] <= outcomes.rank(1) <= outcomes.rank_interval(1)[1]


def test_one_subject_or_none_has_no_interval() -> None:
    assert np.isnan(interval(np.array([True, False]), np.array([1, 1]))).all()
    assert np.isnan(interval(np.zeros(0, bool), np.zeros(0))).all()
