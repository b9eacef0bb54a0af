"""The sizes of encoders, by name, with their parameters and FLOP, by arithmetic: no network is built here.

The ladder is that of the contour Transformer: width = 64 x depth, heads of width 64. Beside it are the sizes of the
published P3D encoder, named by the parameters of the encoder alone, and two small ones of the same form: for tests, and
to compare with the smallest contour Transformer. FLOP are the multiplications and additions of the matrix products,
convolutions and attention of one forward pass, as torch counts them (torch.utils.flop_counter).
"""

from dataclasses import dataclass

from datasets.schema.errors import UsageError
from datasets.schema.rows import HEIGHT, WIDTH
from model.parts import PARTS
from model.tokens import BITS, GRID_COLUMNS, GRID_ROWS, num_tubelets

HEAD_WIDTH = 64
LADDER = {"xxs": 2, "xs": 3, "s": 5, "m": 8, "l": 11, "xl": 14}
DEPTHS = LADDER | {"d1": 1, "d4": 4}  # two more at its small end, for studies on little machines
REGISTERS = 4
CLIP_TOKENS = 365  # of a clip of 16 frames, mean over real walks (CASIA-B): 26% of its tubelets
CLIP_FRAMES = 16  # of the clips that costs are given for
KEPT = CLIP_TOKENS / num_tubelets(CLIP_FRAMES)  # share of the tubelets that are tokens, where no run has measured it


@dataclass(frozen=True)
class P3DShape:
    """Blocks and channels of the four stages of the published encoder."""

    layers: tuple[int, int, int, int]
    channels: tuple[int, int, int, int] = (64, 128, 256, 512)


P3D = {
    "p3d-tiny": P3DShape((1, 1, 2, 1), (4, 8, 16, 32)),
    "p3d-small": P3DShape((1, 1, 1, 1), (16, 32, 64, 128)),
    "p3d-0.03b": P3DShape((1, 4, 8, 4)),
    "p3d-0.13b": P3DShape((1, 4, 32, 16)),
}


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Parameters and FLOP of a size. blocks: parameters of the Transformer's blocks; None for P3D."""

    size: str
    depth: int
    width: int
    blocks: int | None
    encoder: int  # parameters
    heads: int  # parameters
    tokens: int | None  # of a clip
    flops: int  # of the encoder, forward, for a clip of 16 frames

    @property
    def teacher(self) -> int:
        """Parameters of the teacher: a copy of encoder and heads."""
        return self.encoder + self.heads


def check(size: str) -> None:
    """UsageError that lists the sizes where a name is none of them."""
    if size not in DEPTHS and size not in P3D:
        raise UsageError(f"unknown encoder size {size!r}: the sizes are {', '.join([*DEPTHS, *P3D])}")


def parameters_of(size: str) -> int:
    """The parameters that scaling laws count: those of the Transformer's blocks, or of the whole P3D encoder."""
    return p3d_parameters(P3D[size]) if size in P3D else block_parameters(DEPTHS[size])


def cost(size: str, channels: int) -> Cost:
    """The cost of a size with heads of `channels` outputs a part."""
    if size in P3D:
        shape = P3D[size]
        return Cost(
            size=size,
            depth=sum(shape.layers),
            width=shape.channels[-1],
            blocks=None,
            encoder=p3d_parameters(shape),
            heads=PARTS * channels * (shape.channels[-1] + 3 * channels + 6),
            tokens=None,
            flops=p3d_flops(shape),
        )
    depth = DEPTHS[size]
    width = HEAD_WIDTH * depth
    return Cost(
        size=size,
        depth=depth,
        width=width,
        blocks=block_parameters(depth),
        encoder=block_parameters(depth) + (BITS + GRID_ROWS + GRID_COLUMNS + REGISTERS + 1) * width,
        heads=PARTS * channels * (width + channels),
        tokens=CLIP_TOKENS,
        flops=contour_flops(depth, CLIP_TOKENS),
    )


def clip_flops(size: str, frames: int, kept: float) -> float:
    """FLOP of one forward pass of a clip. kept: the share of its tubelets that are tokens. Heads are not counted."""
    if size in P3D:
        return p3d_flops(P3D[size]) * frames / CLIP_FRAMES
    return contour_flops(DEPTHS[size], round(kept * num_tubelets(frames)))


def table() -> list[list[str]]:
    """A header and a row of texts for the cost of each size, heads as published: 256 channels, 512 for P3D."""
    rows = [["size", "depth", "width", "blocks", "encoder", "heads", "teacher", "tokens a clip", "GFLOP a clip"]]
    for one in [cost(size, 256) for size in DEPTHS] + [cost(size, 512) for size in P3D]:
        parameters = (_millions(count) for count in (one.blocks, one.encoder, one.heads, one.teacher))
        figures = (one.size, one.depth, one.width, *parameters, one.tokens or "-", f"{one.flops / 1e9:.2f}")
        rows.append([str(figure) for figure in figures])
    return rows


def _millions(count: int | None) -> str:
    return "-" if count is None else f"{count / 1e6:.2f} M"


def block_parameters(depth: int) -> int:
    """Parameters of all blocks: attention 4 d^2 and feed-forward 8 d^2 each, and the norms' gains."""
    width = HEAD_WIDTH * depth
    return depth * (12 * width**2 + 2 * width + 2 * HEAD_WIDTH)


def contour_flops(depth: int, tokens: int) -> int:
    """FLOP of the contour Transformer on one clip, all of whose tokens attend to each other."""
    width, length = HEAD_WIDTH * depth, tokens + REGISTERS
    embedding = 2 * length * (BITS + GRID_ROWS + GRID_COLUMNS + REGISTERS) * width
    return embedding + depth * (24 * length * width**2 + 4 * length**2 * width)


def p3d_parameters(shape: P3DShape) -> int:
    """Parameters of a P3D encoder: its kernels, and gain and shift of each normalised channel."""
    stem, *wide = shape.channels
    norms = 2 * stem * (1 + 2 * shape.layers[0])
    for blocks, outputs in zip(shape.layers[1:], wide, strict=True):
        norms += 2 * outputs * (3 * blocks + 1)  # the first block has one more, on its shortcut
    return sum(_p3d_kernels(shape)) + norms


def p3d_flops(shape: P3DShape) -> int:
    """FLOP of a P3D encoder on one clip of 16 frames; its second and third stage halve height and width."""
    pixels = [CLIP_FRAMES * HEIGHT * WIDTH // area for area in (1, 4, 16, 16)]
    return sum(2 * size * count for size, count in zip(_p3d_kernels(shape), pixels, strict=True))


def _p3d_kernels(shape: P3DShape) -> list[int]:
    """Parameters of the kernels of each stage, the stem with the first: 3 x 3 twice a block, and 3 in time."""
    stem, *wide = shape.channels
    stages = [9 * stem + shape.layers[0] * 18 * stem**2]
    for blocks, inputs, outputs in zip(shape.layers[1:], shape.channels[:-1], wide, strict=True):
        # The first block has other inputs, and a kernel of 1 x 1 on its shortcut.
        stages.append(blocks * 21 * outputs**2 + 10 * inputs * outputs - 9 * outputs**2)
    return stages
