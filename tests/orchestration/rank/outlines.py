"""Pairs of made-up clips for tests of ranks."""

import torch
from torch import Tensor

from datasets.schema.rows import HEIGHT, WIDTH


def outline_pairs(batch: int, frames: int, seed: int) -> list[Tensor]:
    """Query, its times, key, its times, and walks of two pairs each, as `PairObjective.forward` takes them.

    Their outline differs in every row and frame: of alike ones rounding would choose the maximum.
    """
    generator = torch.Generator().manual_seed(seed)
    width = torch.randint(4, 20, (2, batch, frames, HEIGHT, 1), generator=generator)
    query, key = ((torch.arange(WIDTH) - 20).abs() < width).to(torch.uint8)
    times = torch.arange(frames).float().expand(batch, -1)
    return [query, times, key, times, torch.arange(batch) // 2]
