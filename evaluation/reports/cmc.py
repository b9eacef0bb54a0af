"""Cumulative match curves: how often the right person is among the first k, for every k up to 20.

Probes and cells that cannot be measured are left out (evaluation/retrieval/outcomes.py).
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from evaluation.figures import PALETTE, blank, tidy
from evaluation.reports.results import PAIRED
from evaluation.retrieval.outcomes import ProtocolResult
from evaluation.text_table import MISSING

MAX_RANK = 20  # ranks that are drawn, where results distinguish as many
BANDED = (1, 2, 3, 5, 10, 20)  # ranks whose intervals are computed; the band is interpolated in between
ACROSS = 4  # panels beside each other
_PANEL = 3.3, 3.1  # inches
_STYLES = ("-", "--", ":")  # of lines, once the colours are used up


def cmc_figure(results: Sequence[tuple[str, str, ProtocolResult]], path: Path) -> None:
    """Rank-k accuracy in percent over k, with its 95% interval over subjects as a band.

    A panel for each collection, kind of protocol and probe set, a line for each method. A method that is missing from
    a panel, or cannot be measured, is named in it with a dash.

    Args:
        results: of (method, collection, result), in the order of lines and panels.
        path: its suffix chooses the format.

    Raises:
        ValueError: no results, two of one method for one panel, or a suffix that matplotlib cannot write.
        OSError: the folder does not exist or cannot be written.
    """
    if not results:
        raise ValueError("no results to draw")
    panels: dict[tuple[str, str, str], dict[str, ProtocolResult]] = {}
    for method, collection, result in results:
        panel = panels.setdefault((collection, result.kind, result.probe_set), {})
        if method in panel:
            raise ValueError(f"{collection}: two results of {method} on {result.probe_set}")
        panel[method] = result
    methods = list(dict.fromkeys(method for method, _, _ in results))
    rows = _wrapped(list(panels))
    across = max(map(len, rows))
    width, height = _PANEL
    figure = blank(
        width=max(across * width, 6.4), height=len(rows) * height + 0.4 + 0.25 * -(-len(methods) // (across + 2))
    )
    for line, row in zip(figure.subplots(len(rows), across, sharey=True, squeeze=False), rows, strict=True):
        for axes in line[len(row) :]:
            axes.set_axis_off()
        for axes, key in zip(line, row, strict=False):
            _curves(axes, methods, panels[key], _title(*key), labelled=axes is line[0])
        line[0].set_ylabel("Accuracy (%)")
    _legend(figure, methods, across + 2)
    figure.savefig(path)


def curve(result: ProtocolResult) -> tuple[list[int], list[float]]:
    """Ranks from 1 to the last that the results distinguish, at most MAX_RANK, and the accuracy in percent at each."""
    ranks = list(range(1, min(MAX_RANK, result.outcomes.max_rank) + 1))
    return ranks, [result.outcomes.rank(rank) for rank in ranks]


def band(result: ProtocolResult, ranks: Sequence[int], values: Sequence[float]) -> NDArray[np.float64]:
    """Lower and upper ends [2, ranks] of the 95% interval in percent, NaN without an interval.

    Between the ranks BANDED, the distance of the ends from the curve is interpolated.
    """
    knots = [rank for rank in BANDED if rank in ranks]
    reach = np.array([result.outcomes.rank_interval(rank) for rank in knots]).T - np.interp(knots, ranks, values)
    return np.clip(values + np.stack([np.interp(ranks, knots, one) for one in reach]), 0, 100)


def _wrapped(keys: list[tuple[str, str, str]]) -> list[list[tuple[str, str, str]]]:
    """Rows of panels: each collection and kind begins a row, and continues in the next one where the row is full."""
    rows: list[list[tuple[str, str, str]]] = []
    for key in keys:
        if not rows or rows[-1][-1][:2] != key[:2] or len(rows[-1]) == ACROSS:
            rows.append([])
        rows[-1].append(key)
    return rows


def _title(collection: str, kind: str, probe_set: str) -> str:
    what = PAIRED.get(kind)
    how = f"pairs of different {what}s" if what else kind.replace("-", " ")
    return f"{collection}, {probe_set}\n{how}"


def _legend(figure: Figure, methods: Sequence[str], columns: int) -> None:
    """Below all panels, every method that is drawn in one of them."""
    drawn = {line.get_label(): line for axes in figure.axes for line in axes.get_lines()}
    lines = {method: drawn[method] for method in methods if method in drawn}
    title = f"bands: 95% interval over subjects, computed at the ranks {', '.join(map(str, BANDED))}"
    figure.legend(
        list(lines.values()),
        list(lines),
        ncols=max(1, min(columns, len(lines))),
        title=title,
        loc="outside lower center",
        frameon=False,
        fontsize=9,
        title_fontsize=8,
    )


def _curves(axes: Axes, methods: Sequence[str], panel: dict[str, ProtocolResult], title: str, labelled: bool) -> None:
    """One panel of `cmc_figure`. labelled: whether its vertical axis has numbers."""
    missing, last = [], 1
    for index, method in enumerate(methods):
        ranks, values = curve(panel[method]) if method in panel else ([], [])
        if np.isnan(values).all():
            missing.append(f"{method} {MISSING}")
            continue
        colour = PALETTE[index % len(PALETTE)]
        style = _STYLES[index // len(PALETTE) % len(_STYLES)]
        axes.plot(ranks, values, style, color=colour, label=method, linewidth=1.6, marker="o", markersize=2.5)
        low, high = band(panel[method], ranks, values)
        axes.fill_between(ranks, low, high, color=colour, alpha=0.15, linewidth=0)
        last = max(last, ranks[-1])
    if missing:
        axes.text(0.97, 0.03, "\n".join(missing), transform=axes.transAxes, ha="right", va="bottom", fontsize=8)
    axes.set_title(title, fontsize=9)
    axes.set_xlabel("Rank")
    axes.set_xlim(0.5, max(last, 5) + 0.5)
    axes.set_xticks([rank for rank in (1, 5, 10, 15, 20) if rank <= max(last, 5)])
    axes.set_ylim(0, 103)
    axes.set_yticks(range(0, 101, 20))
    axes.tick_params(labelleft=labelled)
    tidy(axes)
