"""The ladder of encoder sizes: width = 64 x depth, heads of width 64. Numbers alone; nothing is built here."""

from datasets.schema import UsageError

HEAD_WIDTH = 64
DEPTHS = {"xxs": 2, "xs": 3}


def depth_of(size: str) -> int:
    """Blocks of a named size; UsageError that lists the sizes otherwise."""
    if size not in DEPTHS:
        raise UsageError(f"unknown encoder size {size!r}: the sizes are {', '.join(DEPTHS)}")
    return DEPTHS[size]


def block_parameters(depth: int) -> int:
    """Parameters of all blocks: attention 4 d^2 and feed-forward 8 d^2 each, and the norms' gains."""
    width = HEAD_WIDTH * depth
    return depth * (12 * width**2 + 2 * width + 2 * HEAD_WIDTH)
