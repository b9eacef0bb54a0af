"""Pairs of views, or of conditions, as heat maps: which of them a method can bring together, and which it cannot.

Drawn from scores alone. A pair without a probe that can be counted is hatched: it is missing, and not 0.
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
from evaluation.reports.tables import PAIRED
from evaluation.retrieval.outcomes import Score

COLOURS = "viridis"
MOST_WRITTEN = 14  # rows or columns, up to which the numbers stand in the cells
GAP_COLOUR = "#ececec"  # behind the hatching of a missing cell
IDENTICAL = "#d6278a"  # outline of pairs of equal names: not a colour of the scale
_ACROSS = 3  # panels beside each other
_DARK = 55  # percent: below it, the colour of a cell is dark, and its number white


def heat_map_figure(title: str, scores: Sequence[Score], path: Path) -> None:
    """A panel for each probe set: rows are probe views (or conditions), columns gallery ones, colours Rank-1.

    Pairs of equal names are outlined: papers leave them out of the score.

    Args:
        title: above all panels.
        scores: of one method in one kind of protocol that forms pairs, one for each probe set.
        path: its suffix chooses the format.

    Raises:
        ValueError: no scores, or one that forms no pairs; a suffix that matplotlib cannot write.
        OSError: the folder does not exist or cannot be written.
    """
    if not scores or any(score.kind not in PAIRED for score in scores):
        raise ValueError("no scores of pairs to draw")
    rows, columns = (max(score.pairs.shape[axis] for score in scores) for axis in (0, 1))
    across = min(_ACROSS if max(rows, columns) <= MOST_WRITTEN else 2, len(scores))
    down = -(-len(scores) // across)
    widths = [max(score.pairs.shape[1] for score in scores[column::across]) for column in range(across)]
    inches = [_inches(width) for width in widths]
    figure = blank(width=sum(inches) + 0.9, height=down * (_inches(rows) + 0.3) + 0.7)
    figure.get_layout_engine().set(h_pad=0.1)
    panels = figure.subplots(down, across, squeeze=False, width_ratios=inches).ravel()
    for axes in panels[len(scores) :]:
        axes.set_axis_off()
    for axes, score in zip(panels, scores, strict=False):
        _panel(axes, score, PAIRED[score.kind])
    colours = ScalarMappable(Normalize(0, 100), COLOURS)
    figure.colorbar(
        colours, ax=list(panels), label="Rank-1 (%)", shrink=min(1, 3.0 / (down * _inches(rows))), aspect=18
    )
    figure.suptitle(title, fontsize=11)
    figure.supxlabel("outlined: identical, not in the mean; hatched: no probe can be counted", fontsize=8)
    figure.savefig(path)


def _inches(cells: int) -> float:
    """How long an axis of so many cells is, with its labels."""
    return float(np.clip(0.32 * cells, 2.4, 8.0)) + 0.9


def _panel(axes: Axes, score: Score, what: str) -> None:
    """One panel of `heat_map_figure`."""
    axes.set_title(f"{score.probe_set}\n{_mean(score)}", fontsize=8.5)
    if score.pairs.size == 0:
        axes.text(0.5, 0.5, "no probes or no gallery", transform=axes.transAxes, ha="center")
        axes.set_axis_off()
        return
    axes.imshow(score.pairs, cmap=COLOURS, vmin=0, vmax=100, interpolation="nearest")
    for row, column in np.argwhere(np.isnan(score.pairs)):
        axes.add_patch(_square(row, column, facecolor=GAP_COLOUR, edgecolor="#9a9a9a", hatch="////", linewidth=0))
    for row, name in enumerate(score.row_names):
        for column in [place for place, other in enumerate(score.column_names) if other == name]:
            axes.add_patch(_square(row, column, facecolor="none", edgecolor=IDENTICAL, linewidth=1.2, zorder=3))
    many = max(score.pairs.shape)
    if many <= MOST_WRITTEN:
        _numbers(axes, score.pairs)
    small = 7 if many <= MOST_WRITTEN else 6 if many <= 30 else 5
    axes.set_xticks(range(len(score.column_names)), score.column_names, rotation=90, fontsize=small)
    axes.set_yticks(range(len(score.row_names)), score.row_names, fontsize=small)
    axes.tick_params(length=2)
    axes.set_xlabel(f"gallery {what}", fontsize=8)
    axes.set_ylabel(f"probe {what}", fontsize=8)


def _mean(score: Score) -> str:
    """The score of all pairs that count, and how many pairs have no number."""
    mean, missing = score.outcomes.rank(1), int(np.isnan(score.pairs).sum())
    text = "not measurable" if np.isnan(mean) else f"mean of different ones {mean:.1f}"
    return text + (f"; {missing} missing" if missing else "")


def _numbers(axes: Axes, values: NDArray[np.float64]) -> None:
    for (row, column), value in np.ndenumerate(values):
        if not np.isnan(value):
            ink = "white" if value < _DARK else "black"
            axes.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=6.5, color=ink)


def _square(row: int, column: int, **style: object) -> Rectangle:
    return Rectangle((column - 0.5, row - 0.5), 1, 1, **style)
