"""Laws come back from runs that follow them; runs that do not determine a law are refused."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.scaling_fits import SMALL, chinchilla
from datasets.schema.errors import UsageError
from evaluation.scaling.law_bootstrap import bootstrap, intervals
from evaluation.scaling.law_fits import fit_error, fit_flop_rule, fit_loss
from evaluation.scaling.laws import FlopRule, SaturatingLaw
from evaluation.scaling.predictions import forecast
from evaluation.scaling.runs import Runs
from tests.fixtures.studies import repeated_study, study


@pytest.mark.parametrize("delta", [None, 1e-3])
def test_the_constants_of_chinchilla_come_back(delta: float | None) -> None:
    law = fit_loss(chinchilla(np.random.default_rng(0), 0.0), delta=delta).law
    assert law.alpha == pytest.approx(0.347, abs=1e-2) and law.beta == pytest.approx(0.367, abs=1e-2)
    assert law.floor == pytest.approx(1.817, abs=1e-2)
    assert (law.a, law.b) == (pytest.approx(477.8, rel=1e-4), pytest.approx(2143.4, rel=1e-4))
    assert law.size_exponent() == pytest.approx(0.3672 / (0.3473 + 0.3672), abs=1e-5)


def test_a_few_ruined_runs_do_not_move_the_law() -> None:
    runs = chinchilla(np.random.default_rng(1), 0.003)
    loss = runs.loss.copy()
    loss[::24] *= 1.5
    ruined = fit_loss(replace(runs, loss=loss)).law
    assert ruined.alpha == pytest.approx(fit_loss(runs).law.alpha, abs=0.01)
    assert ruined.floor == pytest.approx(fit_loss(runs).law.floor, abs=0.03)


def test_the_worth_of_repetition_is_found() -> None:
    exact = fit_loss(repeated_study(0.0), decay=None).law
    assert (exact.decay, exact.beta) == (pytest.approx(8.0, rel=1e-4), pytest.approx(SMALL.beta, abs=1e-4))
    runs = repeated_study(0.01)
    draws = bootstrap(fit_loss(runs, decay=None), runs, seed=0, repeats=300)
    assert intervals(draws.decay).low95 < 8.0 < intervals(draws.decay).high95
    assert fit_loss(runs, decay=8.0).law.decay == 8.0


@pytest.mark.parametrize("plateau", [True, False])
def test_error_rates_that_saturate(plateau: bool) -> None:
    law = SaturatingLaw(scale=50 * 1e12**0.3, shift=2e12 if plateau else 0.0, exponent=0.3, floor=5.0)
    flop = np.geomspace(1e11, 1e16, 12)
    runs = Runs(parameters=flop, seen=flop, unique=flop, flop=flop, loss=law.predict(flop))
    fit = fit_error(runs, "flop")
    assert (fit.law.exponent, fit.law.floor) == (pytest.approx(0.3, abs=5e-3), pytest.approx(5.0, abs=0.2))
    np.testing.assert_allclose(fit.law.predict(flop), runs.loss, rtol=1e-4)
    assert fit.notes == (() if plateau else ("no plateau is seen at the small end",))
    if not plateau:
        few = runs.take(np.arange(0, 12, 2))
        known = fit_error(few, "flop", shift=0.0)
        assert (known.law.exponent, known.law.floor) == (pytest.approx(0.3, abs=1e-4), pytest.approx(5.0, abs=1e-2))
        assert known.law.shift == 0 and known.problem.num_free == 3
        draws = bootstrap(known, few, seed=0, repeats=50)
        np.testing.assert_allclose(draws.predict(flop), np.tile(runs.loss, (50, 1)), rtol=1e-3)


def test_the_cost_rule_is_read_off_the_runs() -> None:
    runs = study()
    rule = FlopRule(scale=3e4, power=0.85)
    found = fit_flop_rule(replace(runs, flop=rule(runs.parameters, runs.seen)))
    assert (found.scale, found.power) == (pytest.approx(3e4), pytest.approx(0.85))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda runs: runs.take(np.arange(5)), "5 runs do not determine the constants of the law: at least 6"),
        (lambda runs: runs.take(runs.parameters < 9e5), "2 different sizes in 8 runs: the law needs at least 3"),
        (lambda runs: runs.take(runs.seen < 1e5), "2 different numbers of sequences seen in 10 runs"),
        (lambda runs: replace(runs, loss=np.full(20, 3.0)), r"all 20 losses are equal \(3\)"),
        (
            lambda runs: replace(runs, loss=np.where(runs.seen == 2e4, np.nan, runs.loss)),
            r"loss of run 0 \(nan\) is not",
        ),
        (lambda runs: replace(runs, loss=runs.loss - 10), "not a positive number, as in 20 of 20 runs"),
        (lambda runs: replace(runs, flop=runs.flop * np.inf), "flop of run 0"),
        (lambda runs: replace(runs, unique=runs.seen * 2), "more than the run has seen"),
        (
            lambda runs: replace(runs, seen=20 * runs.parameters, unique=runs.parameters),
            "parameters and sequences seen are collinear",
        ),
        (lambda runs: replace(runs, by_subject=-np.ones((20, 3))), "missing or negative values by subject"),
    ],
)
def test_runs_that_do_not_determine_a_law_are_refused(change, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        fit_loss(change(study()))


def test_the_worth_of_repetition_is_not_guessed() -> None:
    with pytest.raises(UsageError, match="1 different numbers of epochs"):
        fit_loss(replace(study(), unique=study().seen / 4), decay=None)


def test_errors_and_subjects_that_have_no_logarithm_are_refused() -> None:
    runs = study()
    with pytest.raises(UsageError, match="4 different values of seen"):
        fit_error(runs, "seen")
    rare = np.zeros((20, 5))
    rare[:, 0] = runs.loss * 5
    with pytest.raises(UsageError, match="draws of 5 subjects have no loss at all"):
        bootstrap(fit_loss(runs), replace(runs, by_subject=rare), seed=0)


def test_what_the_points_leave_open_is_said() -> None:
    runs = study()
    flat = fit_loss(replace(runs, loss=2 + 1e3 / runs.seen**0.7))
    assert any("size" in note for note in flat.notes)
    bare = fit_loss(replace(runs, loss=100 / runs.parameters**0.4 + 100 / runs.seen**0.4))
    assert bare.notes == ("no floor is seen",)
    noise = replace(runs, loss=2 + 0.1 * np.random.default_rng(0).normal(size=20))
    fit = fit_loss(noise)
    assert any("of the variation" in note for note in fit.notes)
    draws = bootstrap(fit, noise, seed=0, repeats=100)
    told = forecast(fit, draws, noise, fit_flop_rule(noise), flop=1e17, unique=1e6)  # no best size, and still a number
    assert np.isfinite([told.loss, told.parameters, told.interval.low95, told.parameters_interval.high95]).all()
