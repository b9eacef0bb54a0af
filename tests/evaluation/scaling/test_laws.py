"""The forms of the laws: repeated data, and the best use of a budget."""

import numpy as np
import pytest

from benchmarks.scaling_fits import SMALL
from evaluation.scaling.laws import FlopRule, repeat_data


def test_what_repeated_sequences_are_worth() -> None:
    assert repeat_data(1000, 1000, 15.0) == 1000
    assert repeat_data(1000, 4000, 15.0) == pytest.approx(1000 * (1 + 15 * (1 - np.exp(-3 / 15))))
    assert repeat_data(1000, 4000, np.inf) == 4000
    assert repeat_data(1000, 4000, 0.0) == 1000
    assert repeat_data(1000, 400, 15.0) == 400  # no more than the run has seen
    assert repeat_data(1000, 1e9, 15.0) == pytest.approx(16_000)


def test_optimal_allocation_is_where_the_predicted_loss_is_smallest() -> None:
    rule = FlopRule(scale=2e4, power=0.9)
    for budget in (1e13, 1e15):
        best, seen = SMALL.optimal([budget], rule)
        assert rule(best, seen) == pytest.approx(budget)
        around = best * np.geomspace(0.1, 10, 2001)
        losses = SMALL.predict(around, rule.seen(around, budget))
        assert around[losses.argmin()] == pytest.approx(best[0], rel=0.01)
    larger, _ = SMALL.optimal([1e15], rule)
    assert np.log10(larger / SMALL.optimal([1e13], rule)[0]) / 2 == pytest.approx(SMALL.size_exponent(0.9))
