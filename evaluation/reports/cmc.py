"""Cumulative match curves: how often the right person is among the first k, for every k up to 20.

Drawn from scores alone, by the convention that leaves out what cannot be measured (evaluation/retrieval/outcomes.py).
It does not know how a method embeds, nor how a protocol compares.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from evaluation.figures import PALETTE, blank, tidy
from evaluation.reports.tables import PAIRED
from evaluation.retrieval.outcomes import Score
from evaluation.text_table import MISSING

MOST = 20  # ranks drawn, as far as they are told apart
BANDED = (1, 2, 3, 5, 10, 20)  # ranks whose intervals are computed; the width of the band is straight in between
ACROSS = 4  # panels beside each other
_PANEL = 3.3, 3.1  # inches
_STYLES = ("-", "--", ":")  # of lines, once the colours are used up


def cmc_figure(scores: Sequence[tuple[str, str, Score]], path: Path) -> None:
    """Rank-k accuracy in percent over k, with its 95% interval over subjects as a band.

    A panel for each collection, kind of protocol and probe set, a line for each method. A method that is missing from
    a panel, or cannot be measured there, is named in it with a dash.

    Args:
        scores: of (method, collection, score), in the order of lines and panels.
        path: its suffix chooses the format.

    Raises:
        ValueError: no scores, two of one method for one panel, or a suffix that matplotlib cannot write.
        OSError: the folder does not exist or cannot be written.
    """
    if not scores:
        raise ValueError("no scores to draw")
    panels: dict[tuple[str, str, str], dict[str, Score]] = {}
    for method, collection, score in scores:
        panel = panels.setdefault((collection, score.kind, score.probe_set), {})
        if method in panel:
            raise ValueError(f"{collection}: two scores of {method} on {score.probe_set}")
        panel[method] = score
    methods = list(dict.fromkeys(method for method, _, _ in scores))
    rows = _wrapped(list(panels))
    across = max(map(len, rows))
    width, height = _PANEL
    figure = blank(
        width=max(across * width, 6.4), height=len(rows) * height + 0.4 + 0.25 * -(-len(methods) // (across + 2))
    )
    for places, row in zip(figure.subplots(len(rows), across, sharey=True, squeeze=False), rows, strict=True):
        for axes in places[len(row) :]:
            axes.set_axis_off()
        for axes, key in zip(places, row, strict=False):
            _curves(axes, methods, panels[key], _title(*key))
        places[0].set_ylabel("Accuracy (%)")
    _legend(figure, methods, across + 2)
    figure.savefig(path)


def curve(score: Score) -> tuple[list[int], list[float]]:
    """Ranks from 1, as far as the score tells them apart and MOST at most, and the accuracy in percent at each."""
    ranks = list(range(1, min(MOST, score.outcomes.most) + 1))
    return ranks, [score.outcomes.rank(rank) for rank in ranks]


def band(score: Score, ranks: Sequence[int], values: Sequence[float]) -> NDArray[np.float64]:
    """Lower and upper ends [2, ranks] of the 95% interval in percent, NaN where there is none.

    Between the ranks BANDED, how far the ends are from the curve is interpolated.
    """
    knots = [rank for rank in BANDED if rank in ranks]
    reach = np.array([score.outcomes.rank_interval(rank) for rank in knots]).T - np.interp(knots, ranks, values)
    return np.clip(values + np.stack([np.interp(ranks, knots, one) for one in reach]), 0, 100)


def _wrapped(keys: list[tuple[str, str, str]]) -> list[list[tuple[str, str, str]]]:
    """Rows of panels: each collection and kind begins a row, and goes on in the next one where it is full."""
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
    style = {"loc": "outside lower center", "frameon": False, "fontsize": 9, "title_fontsize": 8}
    figure.legend(lines.values(), lines.keys(), ncols=max(1, min(columns, len(lines))), title=title, **style)


def _curves(axes: Axes, methods: Sequence[str], panel: dict[str, Score], title: str) -> None:
    """One panel of `cmc_figure`."""
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
    axes.tick_params(labelleft=axes.get_subplotspec().is_first_col())
    tidy(axes)
