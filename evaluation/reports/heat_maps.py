"""Heat maps of Rank-1 over pairs of views, or of conditions.

A pair without a probe that can be counted is hatched: it is missing, and not 0.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from evaluation.figures import blank
from evaluation.reports.results import PAIRED
from evaluation.retrieval.outcomes import ProtocolResult

COLOURS = "viridis"
MOST_WRITTEN = 14  # with more rows or columns, cells have no numbers
GAP_COLOUR = "#ececec"  # behind the hatching of a missing cell
IDENTICAL = "#d6278a"  # outline of pairs of equal names: not a colour of the scale
_ACROSS = 3  # panels beside each other
_DARK = 55  # percent: below it, the colour of a cell is dark, and its number white


def heat_map_figure(title: str, results: Sequence[ProtocolResult], path: Path) -> None:
    """A panel for each probe set: rows are probe views (or conditions), columns gallery ones, colours Rank-1.

    Pairs of equal names are outlined: papers leave them out of the mean.

    Args:
        title: above all panels.
        results: of one method in one kind of protocol that forms pairs, one for each probe set.
        path: its suffix chooses the format.

    Raises:
        ValueError: no results, or one that forms no pairs; a suffix that matplotlib cannot write.
        OSError: the folder does not exist or cannot be written.
    """
    if not results or any(result.kind not in PAIRED for result in results):
        raise ValueError("no results of pairs to draw")
    rows, columns = (max(result.pairs.shape[axis] for result in results) for axis in (0, 1))
    across = min(_ACROSS if max(rows, columns) <= MOST_WRITTEN else 2, len(results))
    down = -(-len(results) // across)
    widths = [max(result.pairs.shape[1] for result in results[column::across]) for column in range(across)]
    inches = [_inches(width) for width in widths]
    figure = blank(width=sum(inches) + 0.9, height=down * (_inches(rows) + 0.3) + 0.7)
    figure.set_layout_engine("constrained", h_pad=0.1)
    panels = figure.subplots(down, across, squeeze=False, width_ratios=inches).ravel()
    for axes in panels[len(results) :]:
        axes.set_axis_off()
    for axes, result in zip(panels, results, strict=False):
        _panel(axes, result, PAIRED[result.kind])
    colours = ScalarMappable(Normalize(0, 100), COLOURS)
    figure.colorbar(
        colours, ax=list(panels), label="Rank-1 (%)", shrink=min(1, 3.0 / (down * _inches(rows))), aspect=18
    )
    figure.suptitle(title, fontsize=11)
    figure.supxlabel("outlined: identical, not in the mean; hatched: no probe can be counted", fontsize=8)
    figure.savefig(path)


def _inches(cells: int) -> float:
    """Length of an axis of that many cells, with its labels."""
    return float(np.clip(0.32 * cells, 2.4, 8.0)) + 0.9


def _panel(axes: Axes, result: ProtocolResult, what: str) -> None:
    """One panel of `heat_map_figure`."""
    axes.set_title(f"{result.probe_set}\n{_mean(result, what)}", fontsize=8.5)
    if result.pairs.size == 0:
        axes.text(0.5, 0.5, "no probes or no gallery", transform=axes.transAxes, ha="center")
        axes.set_axis_off()
        return
    axes.imshow(result.pairs, cmap=COLOURS, vmin=0, vmax=100, interpolation="nearest")
    for row, column in np.argwhere(np.isnan(result.pairs)):
        square = Rectangle(
            _corner(row, column), 1, 1, facecolor=GAP_COLOUR, edgecolor="#9a9a9a", hatch="////", linewidth=0
        )
        axes.add_patch(square)
    for row, name in enumerate(result.row_names):
        for column in [number for number, other in enumerate(result.column_names) if other == name]:
            square = Rectangle(
                _corner(row, column), 1, 1, facecolor="none", edgecolor=IDENTICAL, linewidth=1.2, zorder=3
            )
            axes.add_patch(square)
    many = max(result.pairs.shape)
    if many <= MOST_WRITTEN:
        _numbers(axes, result.pairs)
    small = 7 if many <= MOST_WRITTEN else 6 if many <= 30 else 5
    axes.set_xticks(range(len(result.column_names)), result.column_names, rotation=90, fontsize=small)
    axes.set_yticks(range(len(result.row_names)), result.row_names, fontsize=small)
    axes.tick_params(length=2)
    axes.set_xlabel(f"gallery {what}", fontsize=8)
    axes.set_ylabel(f"probe {what}", fontsize=8)


def _mean(result: ProtocolResult, what: str) -> str:
    """The mean over the pairs that count, and the number of pairs that are missing."""
    mean, missing = result.outcomes.rank(1), int(np.isnan(result.pairs).sum())
    text = "not measurable" if np.isnan(mean) else f"mean of different {what}s {mean:.1f}"
    return text + (f"; {missing} missing" if missing else "")


def _numbers(axes: Axes, values: NDArray[np.float64]) -> None:
    for (row, column), value in np.ndenumerate(values):
        if not np.isnan(value):
            ink = "white" if value < _DARK else "black"
            axes.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=6.5, color=ink)


def _corner(row: int, column: int) -> tuple[float, float]:
    return column - 0.5, row - 0.5
