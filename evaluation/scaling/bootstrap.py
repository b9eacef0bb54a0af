"""How sure a law is: refitted to runs, and to held-out subjects, drawn with replacement.

The law of a bootstrap has arrays [R] for constants, one entry a draw; whatever is computed from it has a leading axis
of draws, and `intervals` reads off its quantiles. This file does not know what the law is about.
"""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from datasets.schema.errors import UsageError
from evaluation.scaling.fit import Fit, Problem
from evaluation.scaling.robust_fit import Array, minimise
from evaluation.scaling.runs import Runs

Law = TypeVar("Law")

_MOST_REDRAWS = 100
_AWAY = 0.3  # of other starts: exponents differ by about so much, terms by about a third


@dataclass(frozen=True, kw_only=True, eq=False)
class Intervals:
    """The middle 80% and the middle 95% of the draws; arrays of the shape of one draw."""

    low95: Array
    low80: Array
    high80: Array
    high95: Array


def bootstrap(fit: Fit[Law], runs: Runs, *, seed: int, repeats: int = 1000) -> Law:
    """The law again for each of `repeats` drawings of runs and, where they were measured one by one, of subjects.

    Runs are drawn with replacement, those with a common trunk together, as Besiroglu et al. (2024) did. A drawing that
    lacks the sizes or amounts that the fit needs is drawn anew. Subjects are drawn independently of the runs, and
    the same for all: a loss is multiplied by the loss over the drawn subjects relative to that over all. Each fit
    starts from the law of all runs and from two places around it, and keeps the best end.

    Percentiles of the draws of runs alone cover the truth about as often as they say, also with 15 to 25 runs (`python
    -m benchmarks.scaling_fits`). With subjects they are too wide rather than too narrow: the luck of a run with a
    subject is in the draws of both (Owen, The pigeonhole bootstrap, 2007); `runs.without_subjects()` asks about these
    subjects only. Nothing here knows of what all runs have in common, such as one shared seed.

    Args:
        fit: what is drawn again.
        runs: those to which it was fitted.
        seed: of the drawings.
        repeats: R.

    Returns:
        A law whose constants are arrays [R].

    Raises:
        UsageError: too few runs or trunks to draw from, or subjects whose loss vanishes in a drawing.
        ValueError: other runs than those that were fitted.
    """
    problem = fit.problem
    if len(runs) != len(problem.target) or not np.allclose(np.log(runs.loss), problem.target):
        raise ValueError("these are not the runs that the law was fitted to")
    rng = np.random.default_rng(seed)
    weights = _draw_runs(problem, runs.trunk, rng, repeats)
    target = problem.target + _draw_subjects(runs, rng, repeats)
    ends = []
    for away in (0, _AWAY, _AWAY):
        start = fit.constants + away * rng.normal(size=(repeats, len(fit.constants)))
        ends.append(minimise(problem.form, start, target, weights, fit.delta, problem.bounds))
    best = np.argmin([loss for _, loss in ends], axis=0)
    return problem.law_of(np.stack([constants for constants, _ in ends])[best, np.arange(repeats)])


def intervals(draws: Array) -> Intervals:
    """Percentiles of draws [R, ...]."""
    low95, low80, high80, high95 = np.quantile(draws, [0.025, 0.1, 0.9, 0.975], axis=0)
    return Intervals(low95=low95, low80=low80, high80=high80, high95=high95)


def with_noise(fit: Fit[Law], predictions: Array, *, seed: int) -> Array:
    """Predictions [R, n] of a bootstrap as a single run each might come out: with the noise of a fitted run on top."""
    spread = fit.residuals * np.sqrt(len(fit.residuals) / (len(fit.residuals) - fit.problem.free))
    return predictions * np.exp(np.random.default_rng(seed).choice(spread, size=predictions.shape))


def _draw_runs(problem: Problem[Law], trunk: NDArray[np.str_] | None, rng: np.random.Generator, repeats: int) -> Array:
    """How often each run is in each drawing, [R, n]; drawn anew where something needed is missing."""
    runs = len(problem.target)
    member = np.arange(runs) if trunk is None else np.unique(trunk, return_inverse=True)[1]
    units = int(member.max()) + 1
    weights = np.empty((repeats, runs))
    missing = np.arange(repeats)
    for _ in range(_MOST_REDRAWS):
        weights[missing] = rng.multinomial(units, np.full(units, 1 / units), size=len(missing))[:, member]
        missing = missing[~_enough(problem, weights[missing])]
        if not len(missing):
            return weights
    raise UsageError(f"{runs} runs of {units} trainings hardly ever make up a drawing that the law can be fitted to")


def _enough(problem: Problem[Law], weights: Array) -> NDArray[np.bool_]:
    """Whether a drawing has as many different runs as the law has constants, and all that the law needs, [R]."""
    enough = (weights > 0).sum(axis=1) >= problem.free
    for need in problem.needs:
        kinds = need.kinds()
        present = weights @ (kinds[:, None] == np.arange(kinds.max() + 1)) > 0
        enough &= present.sum(axis=1) >= need.least
    return enough


def _draw_subjects(runs: Runs, rng: np.random.Generator, repeats: int) -> Array:
    """By how much each run's log loss shifts when subjects are drawn with replacement, [R, n] or [1, n]."""
    if runs.by_subject is None:
        return np.zeros((1, len(runs)))
    subjects = runs.by_subject.shape[1]
    weight = runs.subject_weight
    drawn = rng.multinomial(subjects, np.full(subjects, 1 / subjects), size=repeats) * weight
    means = np.stack([weight, *drawn]) @ runs.by_subject.T / np.array([weight.sum(), *drawn.sum(axis=1)])[:, None]
    if (means <= 0).any():
        raise UsageError(
            f"some drawings of {subjects} subjects have no loss at all, which has no logarithm: "
            "measure on more subjects, or leave the subjects out"
        )
    return np.log(means[1:] / means[0])
