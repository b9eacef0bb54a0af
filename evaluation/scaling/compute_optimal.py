"""Compute-optimal training without a law: the envelope of all runs, and parabolas through runs of equal budgets.

Approaches 1 and 2 of Hoffmann et al. (2022), which assume no form of the loss; law_fits.py is approach 3.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from datasets.schema.errors import UsageError
from evaluation.scaling.fit import Requirement
from evaluation.scaling.robust_fit import Array
from evaluation.scaling.runs import Runs


@dataclass(frozen=True, kw_only=True)
class PowerLaw:
    """y = scale * x^exponent; constants may be arrays [R] of draws."""

    scale: Array | float
    exponent: Array | float

    def __call__(self, x: ArrayLike) -> Array:
        """y [..., n] at n values of x."""
        scale, exponent = (np.asarray(value, dtype=float)[..., None] for value in (self.scale, self.exponent))
        return scale * np.asarray(x, dtype=float) ** exponent


@dataclass(frozen=True, kw_only=True, eq=False)
class Envelope:
    """The Pareto front of loss against FLOP, and power laws of FLOP through it.

    Attributes:
        rows: indices of the runs that no run of the same or a smaller cost beats, by rising FLOP.
        parameters, seen: the best use of a budget.
        loss: the best loss, as a power law without a floor.
    """

    rows: NDArray[np.intp]
    parameters: PowerLaw
    seen: PowerLaw
    loss: PowerLaw


def envelope(runs: Runs) -> Envelope:
    """The lower envelope of loss against FLOP.

    Noise favours lucky runs, and gaps between sizes show as steps: with few sizes, prefer the law.

    Raises:
        UsageError: fewer than three runs are on it.
    """
    order = np.lexsort((runs.loss, runs.flop))
    best_before = np.minimum.accumulate(np.concatenate([[np.inf], runs.loss[order][:-1]]))
    same_cost = np.concatenate([[False], np.diff(runs.flop[order]) == 0])  # as the run before, which has a lower loss
    rows = order[(runs.loss[order] < best_before) & ~same_cost]
    if len(rows) < 3:
        raise UsageError(
            f"only {len(rows)} of {len(runs)} runs are better than all cheaper ones: an envelope needs three; "
            "check that the runs with larger budgets were trained to their end"
        )
    parameters, seen, loss = (
        _power_law(runs.flop[rows], values[rows]) for values in (runs.parameters, runs.seen, runs.loss)
    )
    return Envelope(rows=rows, parameters=parameters, seen=seen, loss=loss)


@dataclass(frozen=True, kw_only=True, eq=False)
class Parabola:
    """log loss = curve(log N) over the runs of one budget.

    Attributes:
        rows: indices of these runs.
        flop: their geometric mean.
        curve: [3], the coefficients of degree 2, 1 and 0.
        parameters, seen, loss: at the minimum.
    """

    rows: NDArray[np.intp]
    flop: float
    curve: Array
    parameters: float
    seen: float
    loss: float


@dataclass(frozen=True, kw_only=True, eq=False)
class IsoFlop:
    """Parabolas through runs of equal FLOP, and how their minima move with the budget.

    Attributes:
        parabolas: of the budgets with a minimum between their sizes, by rising FLOP.
        left_out: the other budgets, with the reason.
        parameters, seen: power laws of FLOP through the minima.
        parameters_draws, seen_draws: the same for [R] bootstrap draws of the residuals.
    """

    parabolas: tuple[Parabola, ...]
    left_out: tuple[str, ...]
    parameters: PowerLaw
    seen: PowerLaw
    parameters_draws: PowerLaw
    seen_draws: PowerLaw


def isoflop(runs: Runs, *, seed: int, repeats: int = 1000, tolerance: float = 0.1) -> IsoFlop:
    """Fit parabolas of log loss over log size at equal budgets, and power laws through their minima.

    The true curve is not a parabola, so the minimum is biased where the sizes do not lie evenly around it. Budgets of
    exactly three sizes leave no residuals and so no intervals: all draws are NaN.

    Args:
        runs: several budgets, three sizes or more each.
        seed, repeats: of the draws of residuals, which are pooled over the budgets and corrected for the degrees of
            freedom. A draw whose minimum leaves the sizes of its budget is NaN.
        tolerance: runs whose FLOP differ by less than this fraction have the same budget.

    Raises:
        UsageError: fewer than two budgets have a minimum, with the reasons.
    """
    order = np.argsort(runs.flop)
    steps = np.flatnonzero(np.diff(np.log(runs.flop[order])) > np.log1p(tolerance)) + 1
    found = [_parabola(runs, rows) for rows in np.split(order, steps)]
    parabolas = tuple(one for one in found if isinstance(one, Parabola))
    left_out = tuple(one for one in found if isinstance(one, str))
    if len(parabolas) < 2:
        raise UsageError(
            f"{len(parabolas)} of {len(found)} budgets have a minimum, two are needed: " + "; ".join(left_out)
        )
    flop = np.array([one.flop for one in parabolas])
    sizes, seen = _draw_minima(runs, parabolas, np.random.default_rng(seed), repeats)
    return IsoFlop(
        parabolas=parabolas,
        left_out=left_out,
        parameters=_power_law(flop, np.array([one.parameters for one in parabolas])),
        seen=_power_law(flop, np.array([one.seen for one in parabolas])),
        parameters_draws=_power_law(flop, sizes),
        seen_draws=_power_law(flop, seen),
    )


def _parabola(runs: Runs, rows: NDArray[np.intp]) -> Parabola | str:
    """The parabola of one budget, or the reason why there is none."""
    x, y = np.log(runs.parameters[rows]), np.log(runs.loss[rows])
    flop = float(np.exp(np.log(runs.flop[rows]).mean()))
    sizes = Requirement(name="sizes", values=runs.parameters[rows], least=3).levels().max() + 1
    if sizes < 3:
        return f"{flop:.3g} FLOP: {sizes} of three sizes"
    curve = np.polyfit(x - x.mean(), y, 2)
    lowest = _lowest(curve, x - x.mean())
    if np.isnan(lowest):
        side = "the smallest" if y[x.argmin()] < y[x.argmax()] else "the largest"
        return f"{flop:.3g} FLOP: no minimum between the sizes, {side} is at the better end"
    curve = np.polyfit(x, y, 2)
    seen = np.polyval(np.polyfit(x, np.log(runs.seen[rows]), 1), lowest + x.mean())
    return Parabola(
        rows=rows,
        flop=flop,
        curve=curve,
        parameters=float(np.exp(lowest + x.mean())),
        seen=float(np.exp(seen)),
        loss=float(np.exp(np.polyval(curve, lowest + x.mean()))),
    )


def _lowest(curve: Array, x: Array) -> Array:
    """The x of the minimum of curves [3, ...]; NaN where that is not between the ends of x."""
    with np.errstate(divide="ignore", invalid="ignore"):
        lowest = -curve[1] / (2 * curve[0])
    inside: Array = np.where((curve[0] > 0) & (lowest > x.min()) & (lowest < x.max()), lowest, np.nan)
    return inside


def _draw_minima(
    runs: Runs, parabolas: tuple[Parabola, ...], rng: np.random.Generator, repeats: int
) -> tuple[Array, Array]:
    """Parameters and sequences at the minima, [R, budgets] each, of curves whose residuals are drawn again."""
    points = sum(len(one.rows) for one in parabolas)
    freedom = points - 3 * len(parabolas)
    logs = [(np.log(runs.parameters[one.rows]), np.log(runs.loss[one.rows])) for one in parabolas]
    pooled = np.concatenate([y - np.polyval(one.curve, x) for one, (x, y) in zip(parabolas, logs, strict=True)])
    if freedom == 0:
        unknown = np.full((repeats, len(parabolas)), np.nan)
        return unknown, unknown
    sizes, seen = [], []
    for one, (x, _) in zip(parabolas, logs, strict=True):
        drawn = np.polyval(one.curve, x) + np.sqrt(points / freedom) * rng.choice(pooled, size=(repeats, len(x)))
        lowest = _lowest(np.polyfit(x - x.mean(), drawn.T, 2), x - x.mean()) + x.mean()
        sizes.append(np.exp(lowest))
        seen.append(np.exp(np.polyval(np.polyfit(x, np.log(runs.seen[one.rows]), 1), lowest)))
    return np.stack(sizes, axis=1), np.stack(seen, axis=1)


def _power_law(x: Array, y: Array) -> PowerLaw:
    """By least squares on logarithms; y [n] or [R, n], a row with NaN gives NaN."""
    centred = np.log(x) - np.log(x).mean()
    exponent = np.log(y) @ centred / (centred @ centred)
    return PowerLaw(scale=np.exp(np.log(y).mean(axis=-1) - exponent * np.log(x).mean()), exponent=exponent)
