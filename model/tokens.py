"""Clips to contour tokens: the tubelets that a contour crosses, and nothing else.

A tubelet is 2 frames x 4 x 4 pixels, and a clip of T frames a grid of T / 2 x 16 x 11 of them. A tubelet that holds
only background, or only body, repeats what its neighbours say; about three of four are such in real walks, and
Transformers on silhouettes are known to suffer from them ("dumb patches", Fan et al., arXiv 2303.03301). Only mixed
tubelets become tokens: those of all clips in one list without padding, since their number differs from clip to clip.

Shapes: B clips, T frames, H x W pixels, N tokens of all clips together, 32 = bits of a tubelet.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from datasets.schema.rows import HEIGHT, WIDTH
from model.device import send

TUBELET_FRAMES, TUBELET_HEIGHT, TUBELET_WIDTH = 2, 4, 4
BITS = TUBELET_FRAMES * TUBELET_HEIGHT * TUBELET_WIDTH
GRID_ROWS, GRID_COLUMNS = HEIGHT // TUBELET_HEIGHT, WIDTH // TUBELET_WIDTH  # 16 x 11 tubelets of a frame


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
        return Tokens(**{name: value[index] for name, value in vars(self).items()})

    def send(self, device: torch.device) -> "Tokens":
        """The same on a device."""
        return Tokens(**{name: send(value, device) for name, value in vars(self).items()})


def num_tubelets(frames: int) -> int:
    """The number of tubelets of a clip."""
    return frames // TUBELET_FRAMES * GRID_ROWS * GRID_COLUMNS


def tokenise(clips: Tensor, times: Tensor) -> tuple[Tokens, Tensor]:
    """Tokens in order of clip, time, row and column; and which share of all tubelets they are, a scalar.

    clips: [B, T, H, W] of 0 and 1, T even; times: [B, T] in frames. A tubelet's time is that of its first frame.
    """
    pixels, mixed = _tubelets(clips)
    return _tokens(pixels, times, mixed.nonzero().squeeze(1), clips.shape[2:]), mixed.float().mean()


def tokenise_all(clips: Tensor, times: Tensor) -> tuple[Tokens, Tensor]:
    """All tubelets of the same clips in the same order, and which of them are mixed [N]: N depends on no pixel."""
    pixels, mixed = _tubelets(clips)
    return _tokens(pixels, times, torch.arange(mixed.shape[0], device=clips.device), clips.shape[2:]), mixed


def count_mixed(clips: Tensor) -> Tensor:
    """The number of mixed tubelets of each clip [B, T, H, W], int64 [B]."""
    return _tubelets(clips)[1].unflatten(0, (len(clips), -1)).sum(dim=1)


def _tubelets(clips: Tensor) -> tuple[Tensor, Tensor]:
    """The pixels [N, 32] of all tubelets, and which of them are mixed [N]."""
    batch, frames, height, width = clips.shape
    steps, rows, columns = frames // TUBELET_FRAMES, height // TUBELET_HEIGHT, width // TUBELET_WIDTH
    covered = (steps * TUBELET_FRAMES, rows * TUBELET_HEIGHT, columns * TUBELET_WIDTH)
    assert clips.shape[1:] == covered, f"clips of {tuple(clips.shape)}"
    grid = clips.view(batch, steps, TUBELET_FRAMES, rows, TUBELET_HEIGHT, columns, TUBELET_WIDTH)
    pixels = grid.permute(0, 1, 3, 5, 2, 4, 6).reshape(-1, BITS)
    mass = pixels.sum(dim=1, dtype=torch.int32)
    return pixels, (mass > 0) & (mass < BITS)


def _tokens(pixels: Tensor, times: Tensor, index: Tensor, picture: Sequence[int]) -> Tokens:
    """The tubelets of an index as tokens; picture: height and width of a frame in pixels."""
    rows, columns = picture[0] // TUBELET_HEIGHT, picture[1] // TUBELET_WIDTH
    step = index // (rows * columns)
    return Tokens(
        bits=pixels[index].float() * 2 - 1,  # zero mean where half of a tubelet is body
        time=times[:, ::TUBELET_FRAMES].flatten()[step].float(),
        row=index // columns % rows,
        column=index % columns,
        clip=step // (times.shape[1] // TUBELET_FRAMES),
    )
