"""What the runs of a study measured, without any law: a line for each size, with intervals over held-out subjects."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from evaluation.bootstrap import RESAMPLES, draw_clusters, percentile_interval
from evaluation.figures import PALETTE, blank
from evaluation.scaling.by_subject import BySubject
from evaluation.scaling.cells import MeasuredCell
from evaluation.scaling.panels import AXES, logarithmic, short


def measured_figure(cells: Sequence[MeasuredCell], titles: Mapping[str, str], path: Path) -> None:
    """A panel for each measure: its value against the FLOP of the training, a line for each size of encoder.

    Bars are 95% intervals over subjects. All runs are measured on the same subjects, so two points whose bars overlap
    may still differ.

    Args:
        cells: the runs, of one seed.
        titles: measures of every run, and the titles of their panels.
        path: its suffix chooses the format.
    """
    figure = blank(width=4.6 * len(titles), height=3.8)
    sizes = sorted(dict.fromkeys(cell.size for cell in cells), key=lambda size: _parameters(cells, size))
    for axes, (name, title) in zip(figure.subplots(1, len(titles), squeeze=False)[0], titles.items(), strict=True):
        for index, size in enumerate(sizes):
            mine = sorted((cell for cell in cells if cell.size == size), key=lambda cell: cell.flop)
            flop, values = np.array([(cell.flop, cell.measures[name].value) for cell in mine]).T
            low, high = np.array([subject_interval_of(cell.measures[name]) for cell in mine]).T
            axes.errorbar(
                flop,
                values,
                yerr=np.maximum([values - low, high - values], 0),
                color=PALETTE[index % len(PALETTE)],
                label=f"{size}: {short(_parameters(cells, size))} parameters",
                marker="o",
                markersize=5,
                linewidth=1.6,
                elinewidth=1,
                capsize=3,
            )
        logarithmic(axes, AXES["flop"], "", y=False)
        axes.set_title(title, fontsize=11)
        axes.legend(frameon=False, fontsize=8)
    figure.savefig(path)


def subject_interval_of(measure: BySubject, seed: int = 0) -> tuple[float, float]:
    """The 95% interval of a measure over subjects, drawn with replacement; NaN for fewer than two subjects."""
    if len(measure.subjects) < 2:
        return np.nan, np.nan
    drawn = draw_clusters(len(measure.subjects), RESAMPLES, np.random.default_rng(seed)) * np.array(measure.weights)
    return percentile_interval(drawn @ np.array(measure.values) / drawn.sum(axis=1))


def _parameters(cells: Sequence[MeasuredCell], size: str) -> int:
    return next(cell.parameters for cell in cells if cell.size == size)
