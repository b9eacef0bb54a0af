"""Bootstrap intervals: their coverage, and what is drawn together."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.scaling_fits import CHINCHILLA, SMALL, chinchilla, coverage, grid
from datasets.schema.errors import UsageError
from evaluation.scaling.law_bootstrap import add_noise, bootstrap
from evaluation.scaling.law_fits import fit_loss
from tests.fixtures.studies import study


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


def test_a_run_spreads_more_than_the_law() -> None:
    runs = study(noise=0.02)
    fit = fit_loss(runs)
    draws = bootstrap(fit, runs, seed=0, repeats=2000).predict(runs.parameters, runs.seen)
    added = np.log(add_noise(fit, draws, seed=0) / draws)
    assert added.std() == pytest.approx(fit.noise, rel=0.1)
    assert fit.noise == pytest.approx(0.02, rel=0.5)
