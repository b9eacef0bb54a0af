"""Parabolas of equal budgets, and the envelope of all runs."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.scaling_fits import SMALL
from datasets.schema.errors import UsageError
from evaluation.scaling.compute_optimal import envelope, isoflop
from evaluation.scaling.law_bootstrap import intervals
from evaluation.scaling.laws import FlopRule
from tests.fixtures.studies import equal_budgets


def test_parabolas_find_the_best_size_of_each_budget() -> None:
    law = replace(SMALL, alpha=0.38, beta=0.38)  # alike, so that the curve of a budget is even around its minimum
    runs = equal_budgets(law)
    curves = isoflop(runs, seed=0)
    assert len(curves.parabolas) == 5 and curves.left_out == ()
    for one in curves.parabolas:
        assert one.parameters == pytest.approx(law.optimal([one.flop], FlopRule(scale=6.0))[0][0], rel=0.05)
        assert 6 * one.parameters * one.seen == pytest.approx(one.flop, rel=1e-3)
    assert curves.parameters.exponent == pytest.approx(0.5, abs=0.01)
    noisy = isoflop(equal_budgets(law, noise=0.005), seed=0)
    found = intervals(noisy.parameters_draws.exponent)
    assert found.low95 < 0.5 < found.high95 and found.high95 - found.low95 < 0.2


def test_budgets_without_a_minimum_are_named() -> None:
    runs = equal_budgets(SMALL)
    lowest = runs.flop < 2e12
    cut = runs.take(~lowest | (runs.parameters < np.median(runs.parameters[lowest])))
    curves = isoflop(cut, seed=0)
    assert len(curves.parabolas) == 4 and len(curves.left_out) == 1
    assert "1e+12 FLOP: no minimum between the sizes, the largest" in curves.left_out[0]
    with pytest.raises(UsageError, match="1 of 1 budgets have a minimum, two are needed"):
        isoflop(runs.take(lowest), seed=0)


def test_the_envelope_is_of_runs_that_no_cheaper_run_beats() -> None:
    runs = equal_budgets(SMALL)
    curve = envelope(runs)
    for row in curve.rows:
        assert runs.loss[row] == runs.loss[runs.flop <= runs.flop[row] * (1 + 1e-9)].min()
    assert set(np.round(np.log10(runs.flop[curve.rows]))) == {12, 13, 14, 15, 16}
    assert curve.parameters.exponent == pytest.approx(SMALL.size_exponent(), abs=0.05)
    with pytest.raises(UsageError, match="an envelope needs three"):
        envelope(replace(runs, loss=runs.loss[::-1] * runs.flop))
