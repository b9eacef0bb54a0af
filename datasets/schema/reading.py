"""How a sequence was read from its files: what a row says about it, and which of it is worth a second look.

A reading maps an aspect to what was found. Where frames of one sequence differ, the findings are joined by `; `.
"""

from collections.abc import Iterable, Mapping

NUMBERS, ALPHA, ORIENTATION, INVERTED = "numbers", "alpha", "orientation", "inverted"  # of every row of pictures
VALUES, BODIES, LINES, AXES, SIZE = "values", "bodies", "lines", "axes", "size"  # where there is something to say

IN_THE_NAMES, POSITIONS, ORDER_OF_NAMES = "in the names", "positions in the array", "order of names"
AS_STORED, NO_ALPHA, NOT_INVERTED = "as stored", "none", "no"
USUAL: Mapping[str, str] = {ALPHA: NO_ALPHA, ORIENTATION: AS_STORED, INVERTED: NOT_INVERTED}
_BEYOND_DOUBT = frozenset({IN_THE_NAMES, POSITIONS, AS_STORED, NO_ALPHA, NOT_INVERTED})

Note = tuple[str, str]  # an aspect and what was found
Notes = frozenset[Note]
NOTHING: Notes = frozenset()


def joined(notes: Iterable[Note]) -> dict[str, str]:
    """A reading from the notes on all frames of a sequence; aspects without a note are as usual."""
    found: dict[str, set[str]] = {aspect: set() for aspect in USUAL}
    for aspect, what in notes:
        found.setdefault(aspect, set()).add(what)
    return {aspect: "; ".join(sorted(what)) or USUAL[aspect] for aspect, what in found.items()}


def is_doubtful(what: str) -> bool:
    """Whether a finding is worth a second look, whatever its aspect."""
    return what not in _BEYOND_DOUBT


def doubts(reading: Mapping[str, str]) -> list[str]:
    """What is unusual in a reading, for people to look at: `aspect: what was found`."""
    return [f"{aspect}: {what}" for aspect, what in reading.items() if is_doubtful(what)]
