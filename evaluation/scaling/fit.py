"""Fitting one law to the logarithms of what was measured: from many starts, and by Huber's loss.

Chinchilla's approach 3 as Besiroglu et al. (2024, arXiv 2404.10102) carried it out, for any form. This file does not
know which law is fitted, nor what was measured: it gets a form, starts, and bounds.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from evaluation.scaling.robust_fit import Array, Form, huber, minimise

HOFFMANN_DELTA = 1e-3  # where Huber's loss turns linear in Chinchilla's fit, in log units
ALIKE = 1e-6  # relative difference up to which sizes, amounts or losses are the same
_EFFICIENT = 1.345  # times the noise: Huber's loss then needs 5% more data than least squares if the noise is Gaussian
_KEPT_STARTS = 24
_MOST_UNEXPLAINED = 0.5  # of the variance of the logarithms

Law = TypeVar("Law")


@dataclass(frozen=True, kw_only=True, eq=False)
class Need:
    """A quantity [n] that must differ in at least so many values."""

    name: str
    values: Array
    least: int

    def kinds(self) -> NDArray[np.intp]:
        """Which of its different values each point has, [n], from 0; those that differ by a millionth are one."""
        order = np.argsort(self.values)
        steps = np.diff(np.log(self.values[order]), prepend=np.log(self.values[order[0]])) > ALIKE
        kinds = np.empty(len(order), dtype=np.intp)
        kinds[order] = np.cumsum(steps)
        return kinds


@dataclass(frozen=True, kw_only=True, eq=False)
class Problem(Generic[Law]):
    """What is fitted: a form of p constants, the logarithms [n] that it should give, and the way to the law.

    `names` [p] say what a constant at its lower and at its upper bound means, empty where it cannot be there. `needs`
    are quantities [n] and in how many values each must differ: fewer, and the constants cannot be told.
    """

    form: Form
    target: Array
    bounds: Array
    starts: Array
    law_of: Callable[[Array], Law]
    names: tuple[tuple[str, str], ...]
    needs: tuple[Need, ...]

    @property
    def free(self) -> int:
        """How many of the constants are sought: those whose bounds differ."""
        return int((self.bounds[1] > self.bounds[0]).sum())


@dataclass(frozen=True, kw_only=True, eq=False)
class Fit(Generic[Law]):
    """A fitted law, and what a bootstrap of it needs.

    `objective` is the sum of Huber's loss over the points, `delta` where that turns linear, `residuals` [n] measured
    minus fitted logarithms, `notes` what the points leave open: constants at the end of their range.
    """

    law: Law
    problem: Problem[Law]
    constants: Array
    delta: float
    objective: float
    residuals: Array
    notes: tuple[str, ...]

    @property
    def noise(self) -> float:
        """Standard deviation of the noise in log units, from the residuals and the constants spent on them."""
        return float(np.sqrt((self.residuals**2).sum() / (len(self.residuals) - self.problem.free)))


def fit(problem: Problem[Law], delta: float | None = None) -> Fit[Law]:
    """The best of the optima that the starts lead to.

    Args:
        problem: form, points, starts and bounds.
        delta: where Huber's loss turns linear, in log units. Without it, the noise decides: 1.345 times a robust
            estimate of it, at least Chinchilla's 1e-3. Much below the noise, Huber's loss is the sum of absolute
            residuals; its fit runs exactly through as many points as there are constants, which wastes a small study.
    """
    target, once = problem.target[None], np.ones((1, len(problem.target)))
    constants, loss = minimise(problem.form, problem.starts, target, once, delta or HOFFMANN_DELTA, problem.bounds)
    if delta is None:
        closest = problem.form(constants[[loss.argmin()]])[0][0] - problem.target
        delta = max(HOFFMANN_DELTA, _EFFICIENT * _noise(closest, problem.free))
        kept = constants[np.argsort(loss)[:_KEPT_STARTS]]
        constants, loss = minimise(problem.form, kept, target, once, delta, problem.bounds)
    best = constants[loss.argmin()]
    prediction = problem.form(best[None])[0][0]
    return Fit(
        law=problem.law_of(best),
        problem=problem,
        constants=best,
        delta=delta,
        objective=float(huber(prediction - problem.target, delta).sum()),
        residuals=problem.target - prediction,
        notes=tuple(_notes(problem, best, problem.target - prediction)),
    )


def _noise(residuals: Array, constants: int) -> float:
    """Noise from the median absolute residual, without the points that the constants alone can satisfy."""
    return float(1.4826 * np.median(np.sort(np.abs(residuals))[constants:]))


def _notes(problem: Problem, constants: Array, residuals: Array) -> list[str]:
    """What it means that constants lie at a bound, or that the residuals are hardly smaller than the variation."""
    span = 1e-3 * (problem.bounds[1] - problem.bounds[0])
    low, high = constants < problem.bounds[0] + span, constants > problem.bounds[1] - span
    ends = [name[0] * bool(low[i]) + name[1] * bool(high[i]) for i, name in enumerate(problem.names)]
    count = len(residuals)
    left = (residuals**2).sum() / (count - problem.free) / (problem.target.var() * count / (count - 1))
    if left > _MOST_UNEXPLAINED:
        ends.append(f"the law explains only {max(0, 100 * (1 - left)):.0f}% of the variation")
    return [text for text in ends if text]
