"""Bars of Rank-1 accuracy: the numbers of the tables as a figure, missing ones drawn as missing."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from evaluation.figures import PALETTE, blank, tidy
from evaluation.reports.results import PAIRED, ResultRow
from evaluation.text_table import MISSING

GROUP_WIDTH = 0.8  # of the distance between two probe sets; the rest is the gap
MOST_LABELLED_BARS = 18  # with more bars in a panel, their numbers would overlap


def rank1_figure(rows: Sequence[ResultRow], path: Path) -> None:
    """Bars of rank-1 accuracy in percent, a group per probe set, a colour per method, the chance level dotted.

    A row of panels for each collection and kind of protocol, as published evaluators count: left without the identical
    view or condition, right with it alone, for kinds that form pairs. A missing accuracy is a dash.

    Raises:
        ValueError: no rows, two rows for one bar, or a suffix that matplotlib cannot write.
        OSError: the folder does not exist or cannot be written.
    """
    if not rows:
        raise ValueError("no results to draw")
    blocks: dict[tuple[str, str], list[ResultRow]] = {}
    for row in rows:
        blocks.setdefault((row.collection, row.kind), []).append(row)
    bars = max(map(len, blocks.values()))
    figure = blank(width=float(np.clip(2.5 + 0.62 * bars, 8, 14)), height=4.2 * len(blocks))
    panels = figure.subplots(len(blocks), 2, sharey=True, squeeze=False)
    for (left, right), ((collection, kind), block) in zip(panels, blocks.items(), strict=True):
        what = PAIRED.get(kind)
        title = f"without the identical {what}" if what else kind.replace("-", " ")
        _bars(left, block, [row.excluding_identical for row in block], f"{collection}: {title}")
        left.set_ylabel("Rank-1 accuracy (%)")
        if what:
            _bars(right, block, [row.identical_only for row in block], f"{collection}: identical {what} alone")
        else:
            right.set_axis_off()
    handles, labels = panels[0, 0].get_legend_handles_labels()
    columns = -(-len(labels) // -(-len(labels) // 5))  # rows of at most five, as even as can be
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False)
    figure.savefig(path)


def _bars(axes: Axes, rows: Sequence[ResultRow], accuracies: Sequence[float], title: str) -> None:
    """One panel of `rank1_figure`."""
    groups = list(dict.fromkeys(row.probe_set for row in rows))
    methods = list(dict.fromkeys(row.method for row in rows))
    cells = {(row.method, row.probe_set): value for row, value in zip(rows, accuracies, strict=True)}
    if len(cells) < len(rows):
        raise ValueError("two results of one method on one probe set")
    width = GROUP_WIDTH / len(methods)
    for index, method in enumerate(methods):
        values = [cells.get((method, group), np.nan) for group in groups]
        at = np.arange(len(groups)) + (index + 0.5) * width - GROUP_WIDTH / 2
        bars = axes.bar(at, np.nan_to_num(values), width * 0.94, color=PALETTE[index % len(PALETTE)], label=method)
        number = "{:.1f}" if len(groups) * len(methods) <= MOST_LABELLED_BARS else ""
        labels = [MISSING if np.isnan(value) else number.format(value) for value in values]
        axes.bar_label(bars, labels, padding=2, fontsize=8, color="#333333")
    galleries = {(groups.index(row.probe_set), row.num_gallery_subjects) for row in rows}
    for centre, subjects in galleries:
        if subjects:
            left, right = centre - GROUP_WIDTH / 2, centre + GROUP_WIDTH / 2
            axes.hlines(100 / subjects, left, right, colors="#333333", linestyles=":")
    axes.plot([], [], color="#333333", linestyle=":", label="chance")
    axes.set_xticks(range(len(groups)), groups)
    axes.set_ylim(0, 105)
    axes.set_yticks(range(0, 101, 20))
    axes.set_title(title, fontsize=11)
    tidy(axes)
