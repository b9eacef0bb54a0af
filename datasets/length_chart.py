"""The lengths of a collection's sequences as a histogram in SVG, on one scale for every collection.

It draws the numbers of datasets/summary.py; bins are four an octave, so equal widths are equal ratios. Colours are in
report.css. No text of the data's reaches it.
"""

from datasets.report import lengths_in_words
from datasets.summary import LENGTH_STARTS, length_bins

_BAR, _GAP = 20, 3  # width of a bin and of the gap after it
_LEFT, _TOP, _HEIGHT = 8, 40, 130
_BASE = _TOP + _HEIGHT
_WIDTH = 2 * _LEFT + len(LENGTH_STARTS) * _BAR
_TICKS = (1, 2, 5, 10, 20, 40, 80, 160, 320, 640, 1280)  # of LENGTH_STARTS


def length_chart(lengths: dict, sequences: int) -> str:
    """An SVG element and a sentence. lengths: of a Summary's result; sequences: how many there are, at least one."""
    highest = max(lengths["histogram"].values())
    bars = []
    for place, (name, start) in enumerate(zip(length_bins(), LENGTH_STARTS, strict=True)):
        if count := lengths["histogram"].get(name):
            bars.append(_bar(place, name, count, highest, start < lengths["window"]))
    ticks = [_tick(start) for start in _TICKS]
    at = _left(LENGTH_STARTS.index(lengths["window"])) - _GAP / 2
    window = f"<line class='window' x1='{at}' x2='{at}' y1='4' y2='{_BASE}'/>"
    window += f"<text x='{at - 5}' y='14' text-anchor='end'>shorter than a training window</text>"
    axis = f"<line x1='{_LEFT}' x2='{_WIDTH - _LEFT}' y1='{_BASE}' y2='{_BASE}'/>"
    said = lengths_in_words(lengths, sequences)
    return (
        f"<p>{said}</p>\n<svg viewBox='0 0 {_WIDTH} {_BASE + 20}' role='img' aria-label='{said}'>\n"
        + "\n".join([*bars, axis, *ticks, window])
        + "\n</svg>"
    )


def _left(place: int) -> int:
    return _LEFT + place * _BAR


def _bar(place: int, name: str, count: int, highest: int, is_short: bool) -> str:
    height = max(1.0, _HEIGHT * count / highest)  # a single sequence is a line that can be seen
    x, y = _left(place), _BASE - height
    kind = " class='short'" if is_short else ""
    middle = min(max(x + (_BAR - _GAP) / 2, 60), _WIDTH - 60)  # a label at an end stays within the picture
    label = f"<text x='{middle}' y='{y - 4:.1f}' text-anchor='middle'>{count:,} sequences</text>"
    return (
        f"<g><title>{name} frames: {count:,} sequences</title>"
        f"<rect{kind} x='{x}' y='{y:.1f}' width='{_BAR - _GAP}' height='{height:.1f}'/>"
        f"{label if count == highest else ''}</g>"
    )


def _tick(start: int) -> str:
    x = _left(LENGTH_STARTS.index(start)) - _GAP / 2
    mark = f"<line x1='{x}' x2='{x}' y1='{_BASE}' y2='{_BASE + 4}'/>"
    return f"{mark}<text x='{x}' y='{_BASE + 17}' text-anchor='middle'>{start}</text>"
