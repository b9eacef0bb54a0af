"""Positions of everything in the histogram of sequence lengths that length_chart.svg.j2 draws, in SVG units."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from datasets.reports.text import lengths_in_words
from datasets.store.summary import LENGTH_STARTS, length_bins

_STEP, _GAP = 20, 3  # from one bar to the next, and between two bars
_LEFT, _TOP, _HEIGHT = 8, 40, 130
_BASE = _TOP + _HEIGHT
_WIDTH = 2 * _LEFT + len(LENGTH_STARTS) * _STEP
_LABEL_MARGIN = 60  # half the width of a bar's label: at either end it stays within the picture
_TICKS = (1, 2, 5, 10, 20, 40, 80, 160, 320, 640, 1280)  # of LENGTH_STARTS


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One bin of the histogram. name: the lengths in it; is_short: below the training window; y: its upper end."""

    name: str
    count: int
    is_short: bool
    is_highest: bool
    x: int
    y: float
    width: int
    height: float
    label_x: float


@dataclass(frozen=True, kw_only=True)
class LengthChart:
    """The histogram, and the same in words. ticks: lengths and where they stand; window_x: the training window."""

    words: str
    bars: tuple[Bar, ...]
    ticks: Mapping[int, float]
    window_x: float
    left: int = _LEFT
    right: int = _WIDTH - _LEFT
    width: int = _WIDTH
    base: int = _BASE


def length_chart(lengths: Mapping[str, Any], sequences: int) -> LengthChart:
    """The chart of `lengths`, an entry of a Summary's result, of at least one sequence."""
    counts = {name: lengths["histogram"].get(name, 0) for name in length_bins()}
    highest = max(counts.values())
    bars = [
        _bar(index, name, counts[name], highest, start < lengths["window"])
        for index, (name, start) in enumerate(zip(counts, LENGTH_STARTS, strict=True))
        if counts[name]
    ]
    return LengthChart(
        words=lengths_in_words(lengths, sequences),
        bars=tuple(bars),
        ticks={start: _x_of(start) for start in _TICKS},
        window_x=_x_of(lengths["window"]),
    )


def _bar(index: int, name: str, count: int, highest: int, is_short: bool) -> Bar:
    height = max(1.0, _HEIGHT * count / highest)  # a single sequence among many stays visible
    x, width = _LEFT + index * _STEP, _STEP - _GAP
    return Bar(
        name=name,
        count=count,
        is_short=is_short,
        is_highest=count == highest,
        x=x,
        y=_BASE - height,
        width=width,
        height=height,
        label_x=min(max(x + width / 2, _LABEL_MARGIN), _WIDTH - _LABEL_MARGIN),
    )


def _x_of(start: int) -> float:
    """The middle of the gap before the bin that begins with a length."""
    return _LEFT + LENGTH_STARTS.index(start) * _STEP - _GAP / 2
