"""Predictions of a law: the largest size held out, and forecasts of a budget."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.scaling_fits import SMALL
from datasets.schema.errors import UsageError
from evaluation.scaling.law_bootstrap import bootstrap
from evaluation.scaling.law_fits import fit_flop_rule, fit_loss
from evaluation.scaling.laws import FlopRule
from evaluation.scaling.predictions import allocate, forecast, hold_out_largest
from tests.fixtures.studies import REPEATING, study


def test_the_largest_size_is_predicted_and_the_miss_printed() -> None:
    held = hold_out_largest(study(sizes=6), seed=0, repeats=300)
    assert (held.runs.parameters == 1e7).all() and len(held.runs) == 4
    assert held.inside()[1].all()
    np.testing.assert_allclose(held.predicted * (1 + held.miss), held.runs.loss)
    assert str(held).count("inside the 95% interval") == 4
    runs = study(sizes=6)
    broken = replace(runs, loss=np.where(runs.parameters == 1e7, runs.loss * 1.3, runs.loss))
    missed = hold_out_largest(broken, seed=0, repeats=300)
    assert not missed.inside()[1].any() and (missed.miss > 0.2).all()
    assert "OUTSIDE the 95% interval" in str(missed)
    with pytest.raises(UsageError, match=r"cannot be held out: 2 different sizes"):
        hold_out_largest(study(sizes=3), seed=0)


def test_a_forecast_says_how_far_the_law_extrapolates() -> None:
    runs = study()
    fit, rule = fit_loss(runs), fit_flop_rule(runs)
    draws = bootstrap(fit, runs, seed=0, repeats=300)
    inside = forecast(fit, draws, runs, rule, flop=6e12, unique=1e9)
    assert set(inside.beyond.values()) == {0.0} and "within the measured range" in str(inside)
    assert inside.interval.low80 < inside.loss < inside.interval.high80
    far = forecast(fit, draws, runs, rule, flop=1e20, unique=1e12)
    assert far.parameters == pytest.approx(fit.law.optimal([1e20], rule)[0][0], rel=0.02)
    assert far.beyond["flop"] == pytest.approx(20 - np.log10(6 * 1e7 * 2e6))
    assert far.beyond["parameters"] == pytest.approx(np.log10(far.parameters / 1e7))
    assert "EXTRAPOLATED" in str(far) and "decades above in flop" in str(far)
    width = [(one.interval.high80 - one.interval.low80) / one.loss for one in (inside, far)]
    assert width[1] > 3 * width[0]
    ladder = forecast(fit, draws, runs, rule, flop=6e12, unique=1e9, sizes=np.array([4e5, 1.34e6, 6.2e6]))
    assert ladder.parameters in (4e5, 1.34e6, 6.2e6) and ladder.loss >= inside.loss
    with pytest.raises(UsageError, match="both must be positive"):
        forecast(fit, draws, runs, rule, flop=0, unique=1e5)


def test_scarce_sequences_cost_loss_as_far_as_repetition_is_worth_less() -> None:
    rule, budget = FlopRule(scale=6.0), 1e16
    for law in (REPEATING, SMALL):
        fresh = law.optimal([budget], rule)[0][0]
        found = float(allocate(law, rule, budget, unique=1e4))
        around = np.geomspace(fresh / 500, fresh * 500, 20001)
        losses = law.predict(around, rule.seen(around, budget), np.full(len(around), 1e4))
        assert found == pytest.approx(around[losses.argmin()], rel=0.02)
    assert allocate(REPEATING, rule, budget, unique=1e4) > 1.5 * allocate(SMALL, rule, budget, unique=1e4)
