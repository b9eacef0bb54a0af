"""Clips to contour tokens: the tubelets that a contour crosses, and nothing else.

A tubelet is 2 frames x 4 x 4 pixels. One that holds nothing but background, or nothing but body, says what its
neighbours say already; about three of four are such in real walks, and Transformers on silhouettes are known to suffer
from them (Fan et al., arXiv 2303.03301). Only mixed tubelets become tokens: those of all clips in one list, unpadded.

Shapes: B clips, T frames, H x W pixels, N tokens of all clips together, 32 = bits of a tubelet.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

FRAMES, ROWS, COLUMNS = 2, 4, 4  # of a tubelet
BITS = FRAMES * ROWS * COLUMNS


@dataclass(frozen=True)
class Tokens:
    """bits [N, 32] as -1 or 1; time [N] in frames; row and column [N] of the tubelet grid; clip [N] in 0..B-1."""

    bits: Tensor
    time: Tensor
    row: Tensor
    column: Tensor
    clip: Tensor

    def take(self, index: Tensor) -> "Tokens":
        """The tokens of an index, in its order."""
        names = ("bits", "time", "row", "column", "clip")
        return replace(self, **{name: getattr(self, name)[index] for name in names})


def tokenise(clips: Tensor, times: Tensor) -> tuple[Tokens, Tensor]:
    """Tokens in order of clip, time, row and column; and which share of all tubelets they are, a scalar.

    clips: [B, T, H, W] of 0 and 1, T even; times: [B, T] in frames. A tubelet's time is that of its first frame.
    """
    cubes, mixed = _cubes(clips)
    return _tokens(cubes, times, mixed.nonzero().squeeze(1), clips.shape[2:]), mixed.float().mean()


def tubelets(clips: Tensor, times: Tensor) -> tuple[Tokens, Tensor]:
    """All tubelets of the same clips in the same order, and which of them are mixed [N]: N depends on no pixel."""
    cubes, mixed = _cubes(clips)
    return _tokens(cubes, times, torch.arange(mixed.shape[0], device=clips.device), clips.shape[2:]), mixed


def count_mixed(clips: Tensor) -> Tensor:
    """How many tubelets of each clip [B, T, H, W] a contour crosses, int64 [B]."""
    return _cubes(clips)[1].unflatten(0, (len(clips), -1)).sum(dim=1)


def _cubes(clips: Tensor) -> tuple[Tensor, Tensor]:
    """The pixels [N, 32] of all tubelets, and which of them are mixed [N]."""
    batch, frames, height, width = clips.shape
    steps, rows, columns = frames // FRAMES, height // ROWS, width // COLUMNS
    assert clips.shape[1:] == (steps * FRAMES, rows * ROWS, columns * COLUMNS), f"clips of {tuple(clips.shape)}"
    cubes = clips.view(batch, steps, FRAMES, rows, ROWS, columns, COLUMNS).permute(0, 1, 3, 5, 2, 4, 6)
    cubes = cubes.reshape(-1, BITS)
    mass = cubes.sum(dim=1, dtype=torch.int32)
    return cubes, (mass > 0) & (mass < BITS)


def _tokens(cubes: Tensor, times: Tensor, place: Tensor, picture: tuple[int, int]) -> Tokens:
    """Tokens of the tubelets at some places of all; picture: height and width of a frame in pixels."""
    rows, columns = picture[0] // ROWS, picture[1] // COLUMNS
    step = place // (rows * columns)
    return Tokens(
        bits=cubes[place].float() * 2 - 1,
        time=times[:, ::FRAMES].flatten()[step].float(),
        row=place // columns % rows,
        column=place % columns,
        clip=step // (times.shape[1] // FRAMES),
    )
