"""Fits any form to logarithms of measurements: Huber's loss, many starts.

Approach 3 of Hoffmann et al. (Chinchilla, 2022) as Besiroglu et al. (2024, arXiv 2404.10102) replicated it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from evaluation.scaling.robust_fit import Array, Form, huber, minimise

HOFFMANN_DELTA = 1e-3  # where Huber's loss turns linear in Chinchilla's fit, in log units
SAME = 1e-6  # relative difference up to which two values count as equal
_EFFICIENT = 1.345  # delta / noise: Huber's loss then needs 5% more data than least squares under Gaussian noise
_KEPT_STARTS = 24  # best optima that are refined with the delta of the noise
_MOST_UNEXPLAINED = 0.5  # share of the variance of the logarithms; above it, the fit says so

Law = TypeVar("Law")


@dataclass(frozen=True, kw_only=True, eq=False)
class Requirement:
    """A quantity [n] that must take at least `least` different values, or the constants are not identifiable."""

    name: str
    values: Array
    least: int

    def levels(self) -> NDArray[np.intp]:
        """The rank of each point's value among the different values, [n], from 0; equal up to SAME is equal."""
        order = np.argsort(self.values)
        steps = np.diff(np.log(self.values[order]), prepend=np.log(self.values[order[0]])) > SAME
        levels = np.empty(len(order), dtype=np.intp)
        levels[order] = np.cumsum(steps)
        return levels


@dataclass(frozen=True, kw_only=True, eq=False)
class Problem(Generic[Law]):
    """A form of p constants, the logarithms [n] to fit, and `law_of`, from constants [..., p] to the law.

    Attributes:
        bounds: [2, p]; equal ones fix a constant.
        starts: [S, p].
        bound_notes: [p], what a constant at its lower and at its upper bound means; empty where that says nothing.
        requirements: what resampled data must contain too, or the constants are not identifiable.
    """

    form: Form
    target: Array
    bounds: Array
    starts: Array
    law_of: Callable[[Array], Law]
    bound_notes: tuple[tuple[str, str], ...]
    requirements: tuple[Requirement, ...]

    @property
    def num_free(self) -> int:
        """The number of constants that are fitted, not fixed."""
        return int((self.bounds[1] > self.bounds[0]).sum())


@dataclass(frozen=True, kw_only=True, eq=False)
class Fit(Generic[Law]):
    """A fitted law.

    Attributes:
        constants: [p], as in the problem.
        delta: where Huber's loss turned linear.
        objective: the sum of Huber's loss over the points.
        residuals: [n], measured minus fitted logarithms.
        notes: which constants the points do not determine.
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
        """Standard deviation of the noise in log units, corrected for the degrees of freedom of the fit."""
        return float(np.sqrt((self.residuals**2).sum() / (len(self.residuals) - self.problem.num_free)))


def fit(problem: Problem[Law], delta: float | None = None) -> Fit[Law]:
    """The best local optimum over all starts.

    Args:
        problem: form, points, starts and bounds.
        delta: where Huber's loss turns linear, in log units. By default 1.345 times a robust estimate of the noise, at
            least Chinchilla's 1e-3. With a delta much below the noise, Huber's loss is the sum of absolute residuals:
            the fit passes exactly through as many points as it has constants, which wastes the data of a small study.
    """
    target, once = problem.target[None], np.ones((1, len(problem.target)))
    constants, loss = minimise(problem.form, problem.starts, target, once, delta or HOFFMANN_DELTA, problem.bounds)
    if delta is None:
        closest = problem.form(constants[[loss.argmin()]])[0][0] - problem.target
        delta = max(HOFFMANN_DELTA, _EFFICIENT * _noise(closest, problem.num_free))
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
    """Standard deviation from the median absolute residual, without the points that the constants fit exactly."""
    return float(1.4826 * np.median(np.sort(np.abs(residuals))[constants:]))


def _notes(problem: Problem[Law], constants: Array, residuals: Array) -> list[str]:
    """What constants at a bound mean, and whether the law leaves most of the variance unexplained."""
    span = 1e-3 * (problem.bounds[1] - problem.bounds[0])
    low, high = constants < problem.bounds[0] + span, constants > problem.bounds[1] - span
    notes = [note[0] * bool(low[i]) + note[1] * bool(high[i]) for i, note in enumerate(problem.bound_notes)]
    count = len(residuals)
    unexplained = (residuals**2).sum() / (count - problem.num_free) / (problem.target.var() * count / (count - 1))
    if unexplained > _MOST_UNEXPLAINED:
        notes.append(f"the law explains only {max(0, 100 * (1 - unexplained)):.0f}% of the variation")
    return [note for note in notes if note]
