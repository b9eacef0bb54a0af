"""Compute-optimal training read off the runs themselves: the envelope of all, and parabolas through equal budgets.

Approaches 1 and 2 of Hoffmann et al. (2022), which assume no form of the loss; the law of `scaling.py` is approach 3.
This file does not know how runs are trained or drawn.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from datasets.schema.errors import UsageError
from evaluation.scaling.fit import Need
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
    """The runs that no run of the same or a smaller cost beats, `rows`, by rising FLOP; and power laws through them.

    Of the size and of the amount that were best for a budget, and of the loss: a C^b, which knows no floor.
    """

    rows: NDArray[np.intp]
    parameters: PowerLaw
    seen: PowerLaw
    loss: PowerLaw


def envelope(runs: Runs) -> Envelope:
    """The lower envelope of loss against FLOP.

    A run is on it by luck as well as by merit, and the steps between sizes show; with few sizes, prefer the law.

    Raises:
        UsageError: fewer than three runs are on it.
    """
    order = np.lexsort((runs.loss, runs.flop))
    best_before = np.minimum.accumulate(np.concatenate([[np.inf], runs.loss[order][:-1]]))
    cheaper_known = np.concatenate([[False], np.diff(runs.flop[order]) == 0])
    rows = order[(runs.loss[order] < best_before) & ~cheaper_known]
    if len(rows) < 3:
        raise UsageError(
            f"only {len(rows)} of {len(runs)} runs are better than all cheaper ones: an envelope needs three; "
            "check that larger budgets were trained to their end"
        )
    flop = runs.flop[rows]
    laws = (_power_law(flop, values[rows]) for values in (runs.parameters, runs.seen, runs.loss))
    return Envelope(rows=rows, **dict(zip(("parameters", "seen", "loss"), laws, strict=True)))


@dataclass(frozen=True, kw_only=True, eq=False)
class Parabola:
    """log loss = curve(log N), a polynomial of degree 2 with the highest power first, through the `rows` of one budget.

    `flop` is their mean budget; at the minimum, `parameters` and `seen` are the best use of it, and `loss` the result.
    """

    rows: NDArray[np.intp]
    flop: float
    curve: Array
    parameters: float
    seen: float
    loss: float


@dataclass(frozen=True, kw_only=True, eq=False)
class IsoFlop:
    """Parabolas of all budgets that have a minimum between their sizes, by rising FLOP, and why the others have none.

    `parameters` and `seen` are power laws of FLOP through the minima; `drawn_parameters` and `drawn_seen` the same for
    [R] drawings of the residuals.
    """

    parabolas: tuple[Parabola, ...]
    left_out: tuple[str, ...]
    parameters: PowerLaw
    seen: PowerLaw
    drawn_parameters: PowerLaw
    drawn_seen: PowerLaw


def isoflop(runs: Runs, *, seed: int, repeats: int = 1000, tolerance: float = 0.1) -> IsoFlop:
    """Parabolas of log loss over log size at equal budgets, and how their minima move with the budget.

    The minimum of a parabola through a curve that is none is displaced where the sizes do not lie evenly around it.
    With budgets of three sizes alone there are no residuals, and so no intervals: the drawings are NaN.

    Args:
        runs: several budgets, three sizes or more each.
        seed, repeats: drawings of the residuals, pooled over the budgets and grown by the constants they were spent on.
            Those in which a minimum leaves the sizes of its budget are NaN.
        tolerance: budgets whose FLOP follow each other by less than this fraction are one.

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
        drawn_parameters=_power_law(flop, sizes),
        drawn_seen=_power_law(flop, seen),
    )


def _parabola(runs: Runs, rows: NDArray[np.intp]) -> Parabola | str:
    """The parabola of one budget, or why it has none."""
    x, y = np.log(runs.parameters[rows]), np.log(runs.loss[rows])
    flop = float(np.exp(np.log(runs.flop[rows]).mean()))
    sizes = Need(name="sizes", values=runs.parameters[rows], least=3).kinds().max() + 1
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
    """Where curves [3, ...] are lowest; NaN where that is not between the ends of x."""
    with np.errstate(divide="ignore", invalid="ignore"):
        lowest = -curve[1] / (2 * curve[0])
    return np.where((curve[0] > 0) & (lowest > x.min()) & (lowest < x.max()), lowest, np.nan)


def _draw_minima(
    runs: Runs, parabolas: tuple[Parabola, ...], rng: np.random.Generator, repeats: int
) -> tuple[Array, Array]:
    """Sizes and amounts at the minima, [R, budgets] each, with residuals drawn anew."""
    points = sum(len(one.rows) for one in parabolas)
    free = points - 3 * len(parabolas)
    logs = [(np.log(runs.parameters[one.rows]), np.log(runs.loss[one.rows])) for one in parabolas]
    pooled = np.concatenate([y - np.polyval(one.curve, x) for one, (x, y) in zip(parabolas, logs, strict=True)])
    if free == 0:
        nothing = np.full((repeats, len(parabolas)), np.nan)
        return nothing, nothing
    sizes, seen = [], []
    for one, (x, _) in zip(parabolas, logs, strict=True):
        drawn = np.polyval(one.curve, x) + np.sqrt(points / free) * rng.choice(pooled, size=(repeats, len(x)))
        lowest = _lowest(np.polyfit(x - x.mean(), drawn.T, 2), x - x.mean()) + x.mean()
        sizes.append(np.exp(lowest))
        seen.append(np.exp(np.polyval(np.polyfit(x, np.log(runs.seen[one.rows]), 1), lowest)))
    return np.stack(sizes, axis=1), np.stack(seen, axis=1)


def _power_law(x: Array, y: Array) -> PowerLaw:
    """By least squares on logarithms; y [n] or [R, n], a row with NaN gives NaN."""
    away = np.log(x) - np.log(x).mean()
    exponent = np.log(y) @ away / (away @ away)
    return PowerLaw(scale=np.exp(np.log(y).mean(axis=-1) - exponent * np.log(x).mean()), exponent=exponent)
