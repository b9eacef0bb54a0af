"""Confusion matrices as pictures, in counts and in percent of the true class.

A class that does not occur has no percentages: its row is hatched, and not 0.
"""

from collections.abc import Mapping
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from evaluation.classification.predictions import Confusion
from evaluation.figures import blank
from evaluation.text_table import MISSING

COLOURS = "Blues"
MOST_WRITTEN = 12  # with more classes, cells have no numbers
_ACROSS = 3  # panels beside each other
_LIGHT = 60  # percent: above it, the colour of a cell is dark, and its text white


def confusion_figure(matrices: Mapping[str, Confusion], path: Path) -> None:
    """A panel for each matrix, named by its key: rows are true classes, columns predicted ones.

    In a cell the count, below it the share of its row in percent, which is also the colour. Beside each class stands
    its number of items, above the panel the number of all items and the share that is right.

    Raises:
        ValueError: no matrices, or a suffix that matplotlib cannot write.
        OSError: the folder does not exist or cannot be written.
    """
    if not matrices:
        raise ValueError("no confusion matrices to draw")
    largest = max(len(one.classes) for one in matrices.values())
    letters = max(len(name) for one in matrices.values() for name in one.classes)
    size = float(np.clip(0.62 * largest, 1.9, 8.0)) + 0.9 + 0.08 * letters
    across = min(_ACROSS, len(matrices))
    down = -(-len(matrices) // across)
    figure = blank(width=across * size + 0.8, height=down * (size + 0.3))
    panels = figure.subplots(down, across, squeeze=False).ravel()
    for axes in panels[len(matrices) :]:
        axes.set_axis_off()
    for axes, (title, one) in zip(panels, matrices.items(), strict=False):
        _panel(axes, title, one)
    colours = ScalarMappable(Normalize(0, 100), COLOURS)
    figure.colorbar(colours, ax=list(panels), label="Share of the true class (%)", shrink=min(1, 2.6 / size), aspect=15)
    figure.savefig(path)


def percentages(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Shares of each row in percent; an empty row is NaN."""
    totals = counts.sum(axis=1, keepdims=True)
    return np.divide(100.0 * counts, totals, out=np.full(counts.shape, np.nan), where=totals > 0)


def _panel(axes: Axes, title: str, matrix: Confusion) -> None:
    """One panel of `confusion_figure`."""
    shares, counts, classes = percentages(matrix.counts), matrix.counts, matrix.classes
    axes.imshow(shares, cmap=matplotlib.colormaps[COLOURS], vmin=0, vmax=100, interpolation="nearest")
    for row in np.flatnonzero(np.isnan(shares).any(axis=1)):
        corner = (-0.5, row - 0.5)
        axes.add_patch(
            Rectangle(corner, len(classes), 1, hatch="////", facecolor="#ececec", edgecolor="#9a9a9a", linewidth=0)
        )
    written = len(classes) <= MOST_WRITTEN
    for (row, column), share in np.ndenumerate(shares):
        if written and not np.isnan(share):
            ink = "white" if share > _LIGHT else "black"
            text = f"{counts[row, column]:,}\n{share:.1f}%"
            axes.text(column, row, text, ha="center", va="center", fontsize=7.5, color=ink)
    totals = counts.sum(axis=1).tolist()
    names = [f"{name} ({n:,})" if n else f"{name} {MISSING}" for name, n in zip(classes, totals, strict=True)]
    small = 8 if written else 6
    axes.set_xticks(range(len(classes)), classes, rotation=45, ha="right", rotation_mode="anchor", fontsize=small)
    axes.set_yticks(range(len(classes)), names, fontsize=small)
    axes.tick_params(length=2)
    axes.set_xlabel("predicted class", fontsize=8)
    axes.set_ylabel("true class", fontsize=8)
    accuracy = 100 * np.trace(counts) / counts.sum()
    axes.set_title(f"{title}\n{counts.sum():,} items, {accuracy:.1f}% right", fontsize=9)
