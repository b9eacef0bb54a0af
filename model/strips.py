"""Part-aware training: into how many horizontal strips each clip of a batch is cut, and on which grid.

After FoundationGait (arXiv 2512.00691): a quarter of the batch is cut into 8 strips, a quarter into 4, a quarter into
2, and the last is left whole; half of each cut quarter, on a grid shifted by half a strip. What an encoder makes of
one strip, the pixels of another must not change; how it sees to that is its own matter.
"""

from typing import NamedTuple

COUNTS = (8, 4, 2, 1)
PERIOD = 2 * len(COUNTS)  # clips that hold each way of cutting in its share


class Strips(NamedTuple):
    """How one clip is cut: `count` strips of equal height; shifted, they are one more, half of the outer two empty."""

    count: int
    shifted: bool


def assign(clips: int) -> list[Strips]:
    """The strips of each clip of a rank. A rank whose share is a multiple of 8 cuts as one process with all would."""
    places = [place % PERIOD for place in range(clips)]
    counts = [COUNTS[place % len(COUNTS)] for place in places]
    return [Strips(count, count > 1 and place >= len(COUNTS)) for count, place in zip(counts, places, strict=True)]
