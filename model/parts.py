"""Horizontal parts of the body: strips that limit attention, the pyramid that is pooled, and a head for each part.

The pyramid has 16 + 8 + 4 + 2 + 1 = 31 horizontal parts, as in the published model (horizontal pyramid pooling, Fu et
al., AAAI 2019). Pooling is associative: a long sequence is pooled chunk by chunk, and gives what one pass would give.

Shapes: B clips, N tokens of all of them, D width, P = 31 parts, C channels of the embedding.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from model.tokens import GRID_ROWS

BINS = (GRID_ROWS, 8, 4, 2, 1)  # parts of each level; of the first, one for each row of tokens
PARTS = sum(BINS)  # 31


class Strips(NamedTuple):
    """How one clip is cut in part-aware training: into a number of strips of equal height.

    A shifted grid has one strip more, and half of its outer two is empty. No pixel outside a strip may change what an
    encoder makes of it. Which clips are cut how is the objective's choice (model/objectives/pairs.py).
    """

    number: int
    shifted: bool


@dataclass(frozen=True)
class RowStatistics:
    """Of the tokens of each body row: maximum [B, 16, D] (-inf: no token), sum [B, 16, D], count [B, 16]."""

    maximum: Tensor
    total: Tensor
    count: Tensor


def row_statistics(features: Tensor, count: Tensor) -> RowStatistics:
    """Of tokens in order of clip and row.

    Args:
        features: [N, D] of the tokens of all clips.
        count: int64 [B, 16], the number of tokens of each row of each clip.
    """
    maximum, total = (
        torch.segment_reduce(features, kind, lengths=count.flatten(), unsafe=True).unflatten(0, count.shape)
        for kind in ("max", "sum")
    )
    return RowStatistics(maximum, total, count.to(features.dtype))


def masked_statistics(features: Tensor, counted: Tensor) -> RowStatistics:
    """The same of a dense grid of tokens, of which some are counted.

    features: [B, T, 16, W, D]; counted: [B, T, 16, W], true where a token is.
    """
    mask = counted[..., None]
    maximum = features.masked_fill(~mask, -torch.inf).amax(dim=(1, 3))
    total = features.masked_fill(~mask, 0.0).sum(dim=(1, 3))
    return RowStatistics(maximum, total, counted.sum(dim=(1, 3)).to(features.dtype))


def merge(chunks: RowStatistics, owner: Tensor, into: RowStatistics) -> RowStatistics:
    """Statistics of B sequences, updated by those of some chunks of them.

    owner: int64 [chunks], the sequence of each chunk, in 0..B-1. into: the statistics so far; `empty_statistics` at
    first.
    """
    index = owner[:, None, None].expand_as(chunks.maximum)
    return RowStatistics(
        into.maximum.scatter_reduce(0, index, chunks.maximum.float(), "amax"),
        into.total.index_add(0, owner, chunks.total.float()),
        into.count.index_add(0, owner, chunks.count.float()),
    )


def empty_statistics(sequences: int, width: int, device: torch.device) -> RowStatistics:
    """The statistics of sequences without a token."""
    total = torch.zeros(sequences, GRID_ROWS, width, device=device)
    return RowStatistics(torch.full_like(total, -torch.inf), total, torch.zeros(sequences, GRID_ROWS, device=device))


def pyramid(rows: RowStatistics) -> Tensor:
    """Part features [B, 31, D], from 16 parts down to the whole body: maximum plus mean; zero where a part is empty."""
    parts = []
    for bins in BINS:
        shape = (bins, GRID_ROWS // bins)
        maximum = rows.maximum.unflatten(1, shape).amax(dim=2)
        count = rows.count.unflatten(1, shape).sum(dim=2)[:, :, None]
        mean = rows.total.unflatten(1, shape).sum(dim=2) / count.clamp(min=1)
        parts.append(torch.where(count > 0, maximum + mean, 0.0))
    return torch.cat(parts, dim=1)


class PartHead(nn.Module):
    """A linear map for each part: [B, 31, in] to [B, 31, out]."""

    def __init__(self, inputs: int, outputs: int, std: float | None = None) -> None:
        """std: of the initial weights; inputs ** -0.5 where None, which keeps the variance of the inputs."""
        super().__init__()
        self.weight = nn.Parameter(torch.randn(PARTS, inputs, outputs) * (std or inputs**-0.5))

    def forward(self, parts: Tensor) -> Tensor:
        """Each part through its own map."""
        return torch.einsum("bpd,pde->bpe", parts, self.weight)
