"""The sizes of encoders, by name. Numbers alone; nothing is built here.

The ladder is that of the contour Transformer: width = 64 x depth, heads of width 64. Beside it stand the sizes of the
published P3D encoder, by the parameters of the encoder alone, and a small one of the same form.
"""

from dataclasses import dataclass

from datasets.schema import UsageError

HEAD_WIDTH = 64
DEPTHS = {"xxs": 2, "xs": 3}


@dataclass(frozen=True)
class P3DShape:
    """Blocks and channels of the four stages of the published encoder."""

    layers: tuple[int, int, int, int]
    channels: tuple[int, int, int, int] = (64, 128, 256, 512)


P3D = {
    "p3d-tiny": P3DShape((1, 1, 2, 1), (4, 8, 16, 32)),
    "p3d-0.03b": P3DShape((1, 4, 8, 4)),
    "p3d-0.13b": P3DShape((1, 4, 32, 16)),
}


def check(size: str) -> None:
    """UsageError that lists the sizes where there is none of this name."""
    if size not in DEPTHS and size not in P3D:
        raise UsageError(f"unknown encoder size {size!r}: the sizes are {', '.join([*DEPTHS, *P3D])}")


def depth_of(size: str) -> int:
    """Blocks of a named size of the ladder; UsageError that lists the sizes otherwise."""
    if size not in DEPTHS:
        raise UsageError(f"unknown encoder size {size!r}: the sizes are {', '.join(DEPTHS)}")
    return DEPTHS[size]


def parameters_of(size: str) -> int:
    """What a size is counted by: the parameters of the Transformer's blocks, of the whole P3D encoder."""
    return p3d_parameters(P3D[size]) if size in P3D else block_parameters(depth_of(size))


def block_parameters(depth: int) -> int:
    """Parameters of all blocks: attention 4 d^2 and feed-forward 8 d^2 each, and the norms' gains."""
    width = HEAD_WIDTH * depth
    return depth * (12 * width**2 + 2 * width + 2 * HEAD_WIDTH)


def p3d_parameters(shape: P3DShape) -> int:
    """Parameters of a P3D encoder: its kernels, and gain and shift of each normalised channel."""
    stem, *wide = shape.channels
    total = 9 * stem + 2 * stem + shape.layers[0] * (18 * stem**2 + 4 * stem)
    for blocks, inputs, outputs in zip(shape.layers[1:], shape.channels[:-1], wide, strict=True):
        total += blocks * (21 * outputs**2 + 6 * outputs)
        total += 10 * inputs * outputs - 9 * outputs**2 + 2 * outputs  # the first block and its way past
    return total
