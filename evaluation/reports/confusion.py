"""Confusion matrices as pictures: what each class is taken for, counted and in percent of the class.

Drawn from classifications alone. A class that does not occur has no percentages: its row is hatched, and not 0.
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

from evaluation.classification.scores import Classification
from evaluation.figures import blank
from evaluation.text_table import MISSING

COLOURS = "Blues"
MOST_WRITTEN = 12  # classes up to which the numbers stand in the cells
_ACROSS = 3  # panels beside each other
_LIGHT = 60  # percent: above it, the colour of a cell is dark, and its text white


def confusion_figure(results: Mapping[str, Classification], path: Path) -> None:
    """A panel for each classification, named by its key: rows are true classes, columns what they are taken for.

    In a cell the count, below it the share of its row in percent, which is also the colour. Beside the classes stand
    how many items each has, above the panel how many there are and which share is right.

    Raises:
        ValueError: no classifications, or a suffix that matplotlib cannot write.
        OSError: the folder does not exist or cannot be written.
    """
    if not results:
        raise ValueError("no classifications to draw")
    largest = max(len(one.classes) for one in results.values())
    letters = max(len(name) for one in results.values() for name in one.classes)
    size = float(np.clip(0.62 * largest, 1.9, 8.0)) + 0.9 + 0.08 * letters
    across = min(_ACROSS, len(results))
    down = -(-len(results) // across)
    figure = blank(width=across * size + 0.8, height=down * (size + 0.3))
    panels = figure.subplots(down, across, squeeze=False).ravel()
    for axes in panels[len(results) :]:
        axes.set_axis_off()
    for axes, (title, one) in zip(panels, results.items(), strict=False):
        _panel(axes, title, one)
    colours = ScalarMappable(Normalize(0, 100), COLOURS)
    figure.colorbar(colours, ax=list(panels), label="Share of the true class (%)", shrink=min(1, 2.6 / size), aspect=15)
    figure.savefig(path)


def percentages(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Shares of each row in percent; an empty row is NaN."""
    totals = counts.sum(axis=1, keepdims=True)
    return np.divide(100.0 * counts, totals, out=np.full(counts.shape, np.nan), where=totals > 0)


def _panel(axes: Axes, title: str, found: Classification) -> None:
    """One panel of `confusion_figure`."""
    shares, counts, classes = percentages(found.confusion), found.confusion, found.classes
    axes.imshow(shares, cmap=matplotlib.colormaps[COLOURS], vmin=0, vmax=100, interpolation="nearest")
    for row in np.flatnonzero(np.isnan(shares).any(axis=1)):
        hatch = {"hatch": "////", "facecolor": "#ececec", "edgecolor": "#9a9a9a", "linewidth": 0}
        axes.add_patch(Rectangle((-0.5, row - 0.5), len(classes), 1, **hatch))
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
    axes.set_title(f"{title}\n{counts.sum():,} items, {100 * found.accuracy:.1f}% right", fontsize=9)
