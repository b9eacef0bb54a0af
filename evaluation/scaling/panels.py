"""Parts of the figures of scaling laws: points coloured by a quantity, curves with interval bands, logarithmic axes."""

from collections.abc import Callable, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import XAxis, YAxis
from matplotlib.colors import LogNorm
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from matplotlib.typing import ColorType

from evaluation.figures import tidy
from evaluation.scaling.law_bootstrap import intervals
from evaluation.scaling.robust_fit import Array
from evaluation.scaling.runs import Axis

INK = "#333333"
AXES: dict[Axis, str] = {"parameters": "Parameters", "seen": "Sequences seen", "flop": "Training FLOP"}
_MOST_CURVES = 6  # in a panel; the colours of more are too similar
_POINTS = 160  # of a curve


def short(value: float) -> str:
    """Three digits with a letter for thousands, millions, ...: 134.96e6 is 135M."""
    for size, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if size <= value < 1000 * size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def power_of_ten(value: float) -> str:
    """Two digits times a power of ten, in TeX."""
    power = int(np.floor(np.log10(value) + 1e-9))
    factor = f"{value / 10.0**power:.1f}".removesuffix(".0")
    return f"$10^{{{power}}}$" if factor == "1" else f"${factor}\\times10^{{{power}}}$"


def levels(values: Array) -> Array:
    """The different values in ascending order; four evenly spaced quantiles if there are many."""
    different = np.unique(np.array([float(f"{value:.4g}") for value in values]))
    if len(different) <= _MOST_CURVES:
        return different
    some: Array = np.quantile(values, np.linspace(0.05, 0.95, 4), method="nearest")
    return some


def colours(values: Array) -> Callable[[float], ColorType]:
    """A map from values to colours on a logarithmic scale, from dark for the smallest to light for the largest."""
    low, high = values.min(), values.max()
    norm = LogNorm(low, high * (1.001 if low == high else 1))
    ramp = matplotlib.colormaps["viridis"]
    return lambda value: ramp(0.88 * float(norm(np.clip(value, low, high))))


def span(*values: Array, decades: float = 0.0) -> Array:
    """x of a curve from the smallest value to `decades` beyond the largest, evenly spaced on a logarithmic scale."""
    low, high = min(v.min() for v in values), max(v.max() for v in values)
    return np.geomspace(low / 1.15, high * max(10**decades, 1.15), _POINTS)


def curve(
    axes: Axes,
    x: Array,
    y: Array,
    draws: Array | None,
    colour: ColorType,
    **style: Any,  # noqa: ANN401 of matplotlib's plot
) -> None:
    """A line y [n] over x [n], and the middle 80% and 95% of its draws [R, n] as bands; draws with NaN are ignored."""
    axes.plot(x, y, color=colour, **{"linewidth": 1.5, "zorder": 3, **style})
    if draws is None:
        return
    finite = draws[np.isfinite(draws).all(axis=1)]
    if len(finite):
        bands = intervals(finite)
        axes.fill_between(x, bands.low95, bands.high95, color=colour, alpha=0.10, linewidth=0)
        axes.fill_between(x, bands.low80, bands.high80, color=colour, alpha=0.20, linewidth=0)


def points(
    axes: Axes,
    x: Array,
    y: Array,
    colour: ColorType | Sequence[ColorType],
    **style: Any,  # noqa: ANN401 of matplotlib's scatter
) -> None:
    """Dots with a white rim, which keeps overlapping ones apart."""
    axes.scatter(x, y, color=colour, **{"s": 28, "edgecolors": "white", "linewidths": 0.6, "zorder": 4, **style})


def logarithmic(axes: Axes, xlabel: str, ylabel: str, *, y: bool = True) -> None:
    """Logarithmic axes, y only if asked, with short labels; axes of less than three decades get ticks in between."""
    axes.set_xscale("log")
    _ticks(axes.xaxis, axes.get_xlim(), power_of_ten if xlabel == AXES["flop"] else short)
    if y:
        axes.set_yscale("log")
        _ticks(axes.yaxis, axes.get_ylim(), short)
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    tidy(axes)
    axes.grid(axis="x", color="#eeeeee", linewidth=0.8)


def _ticks(axis: XAxis | YAxis, ends: tuple[float, float], text: Callable[[float], str]) -> None:
    decades = np.log10(ends[1] / ends[0])
    if decades < 0.8:
        axis.set_major_locator(MaxNLocator(6))
    elif decades < 3:
        axis.set_major_locator(LogLocator(subs=(1, 2, 3, 5) if decades < 1.3 else (1, 3)))
    else:
        axis.set_major_locator(LogLocator(numticks=7))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: text(value)))
