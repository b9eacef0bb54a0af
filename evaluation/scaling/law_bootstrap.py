"""Bootstrap intervals of a law: it is refitted to runs, and to held-out subjects, drawn with replacement.

The law of a bootstrap has arrays [R] as constants, one entry per draw. Whatever is computed from it has a leading axis
of draws; `intervals` takes its quantiles.
"""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from datasets.schema.errors import UsageError
from evaluation.bootstrap import draw_clusters
from evaluation.scaling.fit import Fit, Problem
from evaluation.scaling.robust_fit import Array, minimise
from evaluation.scaling.runs import Runs

Law = TypeVar("Law")

_MOST_REDRAWS = 100
_START_SPREAD = 0.3  # of random starts: exponents vary by about 0.3, terms by about a third


@dataclass(frozen=True, kw_only=True, eq=False)
class Intervals:
    """The middle 80% and the middle 95% of the draws; arrays of the shape of one draw."""

    low95: Array
    low80: Array
    high80: Array
    high95: Array


def bootstrap(fit: Fit[Law], runs: Runs, *, seed: int, repeats: int = 1000) -> Law:
    """Refit the law to `repeats` draws of the runs and, where these have values by subject, of the subjects.

    Runs are drawn with replacement, as in Besiroglu et al. (2024); runs of one trunk are drawn together. A draw without
    the sizes or numbers of sequences that the fit requires is drawn again. Subjects are drawn independently of the runs
    and alike for all: a loss is scaled by the loss over the drawn subjects relative to that over all. Each refit starts
    from the law of all runs and from two random places near it, and keeps the best optimum.

    Intervals from draws of runs alone cover the truth about as often as they claim, also with 15 to 25 runs (`python -m
    benchmarks.scaling_fits`). With subjects they are too wide rather than too narrow, since both draws contain the
    interaction of run and subject (Owen, The pigeonhole bootstrap, 2007); `runs.without_subjects()` gives intervals for
    these subjects alone. What all runs share, such as one seed, is in no interval.

    Args:
        fit: the law of all runs.
        runs: those that it was fitted to.
        seed: of the draws.
        repeats: R.

    Returns:
        A law whose constants are arrays [R].

    Raises:
        UsageError: too few runs or trunks to draw from, or a draw of subjects without any loss.
        ValueError: `runs` are not those of the fit.
    """
    problem = fit.problem
    if len(runs) != len(problem.target) or not np.allclose(np.log(runs.loss), problem.target):
        raise ValueError("these are not the runs that the law was fitted to")
    rng = np.random.default_rng(seed)
    weights = _draw_runs(problem, runs.trunk, rng, repeats)
    target = problem.target + _draw_subjects(runs, rng, repeats)
    optima = []
    for spread in (0, _START_SPREAD, _START_SPREAD):
        start = fit.constants + spread * rng.normal(size=(repeats, len(fit.constants)))
        optima.append(minimise(problem.form, start, target, weights, fit.delta, problem.bounds))
    best = np.argmin([loss for _, loss in optima], axis=0)
    return problem.law_of(np.stack([constants for constants, _ in optima])[best, np.arange(repeats)])


def intervals(draws: Array) -> Intervals:
    """Percentiles of draws [R, ...]."""
    low95, low80, high80, high95 = np.quantile(draws, [0.025, 0.1, 0.9, 0.975], axis=0)
    return Intervals(low95=low95, low80=low80, high80=high80, high95=high95)


def add_noise(fit: Fit[Law], predictions: Array, *, seed: int) -> Array:
    """Predictions [R, n] of single runs: those of the law's draws, times the noise of randomly chosen fitted runs."""
    noise = fit.residuals * np.sqrt(len(fit.residuals) / (len(fit.residuals) - fit.problem.num_free))
    noisy: Array = predictions * np.exp(np.random.default_rng(seed).choice(noise, size=predictions.shape))
    return noisy


def _draw_runs(problem: Problem[Law], trunk: NDArray[np.str_] | None, rng: np.random.Generator, repeats: int) -> Array:
    """The count of each run in each draw, [R, n]; draws that do not meet the requirements are repeated."""
    runs = len(problem.target)
    member = np.arange(runs) if trunk is None else np.unique(trunk, return_inverse=True)[1]
    units = int(member.max()) + 1
    counts = np.empty((repeats, runs))
    missing = np.arange(repeats)
    for _ in range(_MOST_REDRAWS):
        counts[missing] = draw_clusters(units, len(missing), rng)[:, member]
        missing = missing[~_is_fittable(problem, counts[missing])]
        if not len(missing):
            return counts
    raise UsageError(f"{runs} runs of {units} trainings hardly ever give a draw that the law can be fitted to")


def _is_fittable(problem: Problem[Law], counts: Array) -> NDArray[np.bool_]:
    """Whether a draw has as many different runs as the law has constants, and meets the requirements, [R]."""
    fittable: NDArray[np.bool_] = (counts > 0).sum(axis=1) >= problem.num_free
    for required in problem.requirements:
        levels = required.levels()
        present = counts @ (levels[:, None] == np.arange(levels.max() + 1)) > 0
        fittable &= present.sum(axis=1) >= required.least
    return fittable


def _draw_subjects(runs: Runs, rng: np.random.Generator, repeats: int) -> Array:
    """The shift of each run's log loss when subjects are drawn with replacement, [R, n]; [1, n] without subjects."""
    if runs.by_subject is None:
        return np.zeros((1, len(runs)))
    weight = runs.subject_weight
    assert weight is not None, "Runs sets the weights where there are values by subject"
    subjects = runs.by_subject.shape[1]
    drawn = draw_clusters(subjects, repeats, rng) * weight
    means = np.stack([weight, *drawn]) @ runs.by_subject.T / np.array([weight.sum(), *drawn.sum(axis=1)])[:, None]
    if (means <= 0).any():
        raise UsageError(
            f"some draws of {subjects} subjects have no loss at all, which has no logarithm: "
            "measure on more subjects, or leave the subjects out"
        )
    shift: Array = np.log(means[1:] / means[0])
    return shift
