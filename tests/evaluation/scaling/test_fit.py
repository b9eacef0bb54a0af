"""Scaling laws from data whose law is known, and the refusal of data that cannot tell one."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize as scipy_minimize

from benchmarks.scaling_fits import CHINCHILLA, SMALL, chinchilla, coverage, grid, measured
from datasets.schema.errors import UsageError
from evaluation.scaling.bootstrap import bootstrap, intervals, with_noise
from evaluation.scaling.curves import envelope, isoflop
from evaluation.scaling.forecast import allocate, forecast, hold_out_largest
from evaluation.scaling.laws import FlopRule, LossLaw, SaturatingLaw, repeat_data
from evaluation.scaling.robust_fit import huber, minimise
from evaluation.scaling.runs import Runs, fit_error, fit_flop_rule, fit_loss

REPEATING = replace(SMALL, decay=8.0)


def study(noise: float = 0.01, sizes: int = 5, amounts: int = 4, seed: int = 0) -> Runs:
    return grid(sizes, amounts, 100)(np.random.default_rng(seed), noise)


def repeated_study(noise: float) -> Runs:
    """4 sizes, 2 numbers of unique sequences, 1 to 64 epochs."""
    parameters, unique, epochs = (
        axis.ravel() for axis in np.meshgrid(np.geomspace(1e5, 1e7, 4), [2e3, 2e4], [1.0, 4.0, 16.0, 64.0])
    )
    seen = unique * epochs
    loss = REPEATING.predict(parameters, seen, unique) * np.exp(np.random.default_rng(0).normal(0, noise, len(seen)))
    return Runs(parameters=parameters, seen=seen, unique=unique, flop=6 * parameters * seen, loss=loss)


def equal_budgets(law: LossLaw, noise: float = 0.0) -> Runs:
    """Five budgets, seven sizes each, spread evenly around the best."""
    rule, rng = FlopRule(scale=6.0), np.random.default_rng(0)
    flop = np.repeat(np.geomspace(1e12, 1e16, 5), 7)
    parameters = law.optimal(flop, rule)[0] * np.tile(np.geomspace(0.25, 4, 7), 5)
    return measured(law, parameters, rule.seen(parameters, flop), rng, noise)


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


def test_many_fits_at_once_reach_the_optimum_that_scipy_reaches() -> None:
    runs = study(noise=0.02)
    fit = fit_loss(runs)
    form, target, bounds = fit.problem.form, fit.problem.target, fit.problem.bounds
    weights = np.random.default_rng(0).multinomial(len(runs), np.full(len(runs), 1 / len(runs)), size=4).astype(float)
    for delta in (1e-3, fit.delta):
        _, ours = minimise(form, np.tile(fit.constants, (4, 1)), target[None], weights, delta, bounds)
        for weight, loss in zip(weights, ours, strict=True):

            def objective(constants, weight=weight, delta=delta):
                prediction, slopes = form(constants[None])
                residuals = prediction[0] - target
                slope = slopes[0].T @ (weight * np.clip(residuals, -delta, delta))
                return 1e4 * (weight * huber(residuals, delta)).sum(), 1e4 * slope

            starts = [fit.constants, *fit.problem.starts[::16]]
            ends = [scipy_minimize(objective, start, jac=True, method="L-BFGS-B", bounds=bounds.T) for start in starts]
            assert loss <= min(end.fun for end in ends) / 1e4 * (1 + 1e-6)


@pytest.mark.parametrize("fit", [lambda: fit_loss(repeated_study(0.01), decay=None), lambda: fit_loss(study())])
def test_derivatives_of_the_forms(fit) -> None:
    problem = fit().problem
    for constant in range(problem.starts.shape[1]):
        step = 1e-6 * np.eye(problem.starts.shape[1])[constant]
        secant = problem.form(problem.starts + step)[0] - problem.form(problem.starts - step)[0]
        np.testing.assert_allclose(problem.form(problem.starts)[1][..., constant], secant / 2e-6, atol=1e-7)


def test_what_repeated_sequences_are_worth() -> None:
    assert repeat_data(1000, 1000, 15.0) == 1000
    assert repeat_data(1000, 4000, 15.0) == pytest.approx(1000 * (1 + 15 * (1 - np.exp(-3 / 15))))
    assert repeat_data(1000, 4000, np.inf) == 4000
    assert repeat_data(1000, 4000, 0.0) == 1000
    assert repeat_data(1000, 400, 15.0) == 400  # no more than the run has seen
    assert repeat_data(1000, 1e9, 15.0) == pytest.approx(16_000)


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
        assert known.law.shift == 0 and known.problem.free == 3
        draws = bootstrap(known, few, seed=0, repeats=50)
        np.testing.assert_allclose(draws.predict(flop), np.tile(runs.loss, (50, 1)), rtol=1e-3)


def test_intervals_from_runs_hold_the_truth_about_as_often_as_they_say() -> None:
    """Of 40 studies, 80% intervals hold the truth in 80%, give or take 3.5 deviations of that binomial (22%)."""
    at80, at95 = coverage(grid(5, 4, 100), SMALL, 0.01, repeats=40, draws=200)
    assert (np.abs(at80 - 0.8) < 3.5 * np.sqrt(0.8 * 0.2 / 40)).all()
    assert (at95 > 0.95 - 3.5 * np.sqrt(0.95 * 0.05 / 40)).all()


@pytest.mark.slow
@pytest.mark.parametrize(("runs", "law", "noise"), [(chinchilla, CHINCHILLA, 0.005), (grid(5, 4, 100), SMALL, 0.01)])
def test_80_percent_intervals_hold_the_truth_in_75_to_85_percent_of_studies(runs, law, noise) -> None:
    """With 400 studies the share itself is known to 2%, so that a true 80% would leave 75 to 85 once in 80 times."""
    at80, _ = coverage(runs, law, noise, repeats=400, draws=400)
    assert ((at80 >= 0.75) & (at80 <= 0.85)).all(), at80


def test_intervals_over_subjects_are_wider_by_what_subjects_differ() -> None:
    runs = study(noise=0.002)
    rng = np.random.default_rng(0)
    per_subject = rng.gamma(4, 0.25, size=12)
    by_subject = runs.loss[:, None] * per_subject / per_subject.mean()
    without = bootstrap(fit_loss(runs), runs, seed=0, repeats=400)
    drawn = bootstrap(fit_loss(runs), replace(runs, by_subject=by_subject), seed=0, repeats=400)
    spread = np.std(np.log(drawn.predict([1e6], [1e6])[:, 0]))
    assert spread == pytest.approx(per_subject.std() / per_subject.mean() / np.sqrt(12), rel=0.2)
    assert spread > 5 * np.std(np.log(without.predict([1e6], [1e6])[:, 0]))
    assert np.std(drawn.alpha) == pytest.approx(np.std(without.alpha), rel=0.3)  # all sizes see the same subjects


def test_subjects_count_by_their_weight() -> None:
    runs = study()
    by_subject = runs.loss[:, None] * np.array([0.5, 1, 1, 1, 1, 1, 1, 1.5])
    spreads = []
    for weight in (None, np.array([1e-6, 1, 1, 1, 1, 1, 1, 1e-6])):
        weighted = replace(runs, by_subject=by_subject, subject_weight=weight)
        spreads.append(np.std(bootstrap(fit_loss(runs), weighted, seed=0, repeats=200).predict([1e6], [1e6])))
    assert spreads[1] < spreads[0] / 3  # those that count are alike
    with pytest.raises(UsageError, match="weights of subjects must be 8 positive numbers"):
        replace(runs, by_subject=by_subject, subject_weight=np.arange(8))


def test_runs_of_one_trunk_are_drawn_together() -> None:
    runs = study(noise=0.0, sizes=5, amounts=4)
    shared = np.random.default_rng(0).normal(0, 0.02, 10)[np.arange(20) % 10]  # ten trainings, two runs each
    runs = replace(runs, loss=runs.loss * np.exp(shared), trunk=np.array([str(i % 10) for i in range(20)]))
    apart = bootstrap(fit_loss(runs), replace(runs, trunk=None), seed=0, repeats=400)
    together = bootstrap(fit_loss(runs), runs, seed=0, repeats=400)
    beyond = [np.std(draws.predict([1e8], [1e7])) for draws in (apart, together)]
    assert beyond[1] > 1.15 * beyond[0]


def test_the_same_seed_gives_the_same_draws_and_other_runs_are_refused() -> None:
    runs = study()
    fit = fit_loss(runs)
    first, second, other = (bootstrap(fit, runs, seed=seed, repeats=20).alpha for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, second)
    assert (first != other).any()
    with pytest.raises(ValueError, match="not the runs"):
        bootstrap(fit, study(seed=5), seed=0)


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


def test_the_cost_rule_is_read_off_the_runs() -> None:
    runs = study()
    rule = FlopRule(scale=3e4, power=0.85)
    found = fit_flop_rule(replace(runs, flop=rule(runs.parameters, runs.seen)))
    assert (found.scale, found.power) == (pytest.approx(3e4), pytest.approx(0.85))


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
    found = intervals(noisy.drawn_parameters.exponent)
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


def test_a_run_spreads_more_than_the_law() -> None:
    runs = study(noise=0.02)
    fit = fit_loss(runs)
    draws = bootstrap(fit, runs, seed=0, repeats=2000).predict(runs.parameters, runs.seen)
    added = np.log(with_noise(fit, draws, seed=0) / draws)
    assert added.std() == pytest.approx(fit.noise, rel=0.1)
    assert fit.noise == pytest.approx(0.02, rel=0.5)


def test_a_forecast_says_how_far_the_law_is_stretched() -> None:
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
    assert "STRETCHED" in str(far) and "decades above in flop" in str(far)
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


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda runs: runs.take(np.arange(5)), "5 runs cannot tell the constants of the law: at least 6"),
        (lambda runs: runs.take(runs.parameters < 9e5), "2 different sizes in 8 runs: the law needs at least 3"),
        (lambda runs: runs.take(runs.seen < 1e5), "2 different amounts in 10 runs"),
        (lambda runs: replace(runs, loss=np.full(20, 3.0)), r"all 20 losses are equal \(3\)"),
        (
            lambda runs: replace(runs, loss=np.where(runs.seen == 2e4, np.nan, runs.loss)),
            r"loss of run 0 \(nan\) is not",
        ),
        (lambda runs: replace(runs, loss=runs.loss - 10), "not a positive number, as in 20 of 20 runs"),
        (lambda runs: replace(runs, flop=runs.flop * np.inf), "flop of run 0"),
        (lambda runs: replace(runs, unique=runs.seen * 2), "more than the run has seen"),
        (lambda runs: replace(runs, seen=20 * runs.parameters, unique=runs.parameters), "size and amount go together"),
        (lambda runs: replace(runs, by_subject=-np.ones((20, 3))), "missing or negative values by subject"),
    ],
)
def test_runs_that_cannot_tell_a_law_are_refused(change, reason: str) -> None:
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
    with pytest.raises(UsageError, match="drawings of 5 subjects have no loss at all"):
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
