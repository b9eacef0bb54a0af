"""Clips to contour tokens: the tubelets that a contour crosses, and nothing else.

A tubelet is 2 frames x 4 x 4 pixels. One that holds nothing but background, or nothing but body, says what its
neighbours say already; about three of four are such in real walks, and Transformers on silhouettes are known to suffer
from them (Fan et al., arXiv 2303.03301). Only mixed tubelets become tokens, padded to the longest clip of the batch.

Shapes: B clips, T frames, H x W pixels, N tokens of the longest clip, 32 = bits of a tubelet.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

FRAMES, ROWS, COLUMNS = 2, 4, 4  # of a tubelet
BITS = FRAMES * ROWS * COLUMNS
_PAD_TO = 16  # token counts are rounded up to this, so that shapes recur


@dataclass(frozen=True)
class Tokens:
    """bits [B, N, 32] as -1 or 1; time [B, N] in frames; row and column [B, N] of the tubelet grid; valid [B, N]."""

    bits: Tensor
    time: Tensor
    row: Tensor
    column: Tensor
    valid: Tensor
    share: Tensor  # of all tubelets, how many are tokens: a scalar


def tokenise(clips: Tensor, times: Tensor) -> Tokens:
    """clips: [B, T, H, W] of 0 and 1, T even; times: [B, T] in frames. A tubelet's time is that of its first frame."""
    batch, frames, height, width = clips.shape
    steps, rows, columns = frames // FRAMES, height // ROWS, width // COLUMNS
    assert clips.shape[1:] == (steps * FRAMES, rows * ROWS, columns * COLUMNS), f"clips of {tuple(clips.shape)}"
    cubes = clips.view(batch, steps, FRAMES, rows, ROWS, columns, COLUMNS).permute(0, 1, 3, 5, 2, 4, 6)
    cubes = cubes.reshape(batch, steps * rows * columns, BITS)
    mass = cubes.sum(dim=2, dtype=torch.int32)
    mixed = (mass > 0) & (mass < BITS)
    counts = mixed.sum(dim=1)
    longest = max(int(counts.max()), 1)
    length = min(-(-longest // _PAD_TO) * _PAD_TO, mixed.shape[1])
    # A stable sort brings the mixed tubelets of each clip to the front, in order of time, row and column.
    index = torch.argsort(mixed.to(torch.uint8), dim=1, descending=True, stable=True)[:, :length]
    bits = torch.gather(cubes, 1, index[:, :, None].expand(-1, -1, BITS)).float() * 2 - 1
    step = index // (rows * columns)
    return Tokens(
        bits=bits,
        time=torch.gather(times[:, ::FRAMES].float(), 1, step),
        row=index // columns % rows,
        column=index % columns,
        valid=torch.arange(length, device=clips.device) < counts[:, None],
        share=mixed.float().mean(),
    )
