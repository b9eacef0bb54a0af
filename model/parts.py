"""Horizontal parts of the body: strips that limit attention, the pyramid that is pooled, and a head for each part.

The pyramid has 16 + 8 + 4 + 2 + 1 = 31 horizontal parts, as in the published model (horizontal pyramid pooling, Fu et
al., AAAI 2019). Pooling is associative: a long sequence is pooled chunk by chunk, and gives what one pass would give.

Shapes: B clips, N tokens of all of them, D width, P = 31 parts, C channels of the embedding.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

BINS = (16, 8, 4, 2, 1)
ROWS = BINS[0]  # of the body, 4 pixels each
PARTS = sum(BINS)


class Strips(NamedTuple):
    """How one clip is cut in part-aware training: into `count` strips of equal height.

    A shifted grid has one strip more, and half of its outer two is empty. No pixel outside a strip may change what an
    encoder makes of it. Which clips are cut how is the objective's choice (model/objectives/pairs.py).
    """

    count: int
    shifted: bool


@dataclass(frozen=True)
class RowStatistics:
    """Of the tokens of each body row: maximum [B, 16, D] (-inf: no token), sum [B, 16, D], count [B, 16]."""

    maximum: Tensor
    total: Tensor
    count: Tensor


def row_statistics(features: Tensor, clip: Tensor, row: Tensor, clips: int) -> RowStatistics:
    """features: [N, D] of the tokens of all clips; clip: [N] in 0..clips-1; row: [N] in 0..15."""
    bins, width = clip * ROWS + row, features.shape[1]
    index = bins[:, None].expand(-1, width)
    maximum = features.new_full((clips * ROWS, width), -torch.inf).scatter_reduce(0, index, features, "amax")
    total = features.new_zeros(clips * ROWS, width).scatter_add(0, index, features)
    count = bins.bincount(minlength=clips * ROWS).to(features.dtype)
    return RowStatistics(*(statistic.unflatten(0, (clips, ROWS)) for statistic in (maximum, total, count)))


def masked_statistics(features: Tensor, counted: Tensor) -> RowStatistics:
    """The same where every clip has as many tokens in each row, of which some are counted.

    features: [B, T, 16, W, D]; counted: [B, T, 16, W], true where a token is.
    """
    held = counted[..., None]
    maximum = features.masked_fill(~held, -torch.inf).amax(dim=(1, 3))
    total = features.masked_fill(~held, 0.0).sum(dim=(1, 3))
    return RowStatistics(maximum, total, counted.sum(dim=(1, 3)).to(features.dtype))


def merge(chunks: RowStatistics, owner: Tensor, into: RowStatistics) -> RowStatistics:
    """Statistics of B sequences with those of some chunks of them taken in.

    owner: int64 [chunks], whose each chunk is, in 0..B-1. into: what was taken in before; `nothing` at first.
    """
    index = owner[:, None, None].expand_as(chunks.maximum)
    return RowStatistics(
        into.maximum.scatter_reduce(0, index, chunks.maximum.float(), "amax"),
        into.total.index_add(0, owner, chunks.total.float()),
        into.count.index_add(0, owner, chunks.count.float()),
    )


def nothing(sequences: int, width: int, device: torch.device) -> RowStatistics:
    """The statistics of sequences of which nothing was seen."""
    total = torch.zeros(sequences, ROWS, width, device=device)
    return RowStatistics(torch.full_like(total, -torch.inf), total, torch.zeros(sequences, ROWS, device=device))


def pyramid(rows: RowStatistics) -> Tensor:
    """Part features [B, 31, D], from 16 parts down to the whole body: maximum plus mean; zero where a part is empty."""
    parts = []
    for bins in BINS:
        shape = (bins, ROWS // bins)
        maximum = rows.maximum.unflatten(1, shape).amax(dim=2)
        count = rows.count.unflatten(1, shape).sum(dim=2)[:, :, None]
        mean = rows.total.unflatten(1, shape).sum(dim=2) / count.clamp(min=1)
        parts.append(torch.where(count > 0, maximum + mean, 0.0))
    return torch.cat(parts, dim=1)


class PartHead(nn.Module):
    """A linear map for each part: [B, 31, in] to [B, 31, out]."""

    def __init__(self, inputs: int, outputs: int, deviation: float | None = None) -> None:
        """deviation: of the weights at the start; one over the root of the inputs where None."""
        super().__init__()
        self.weight = nn.Parameter(torch.randn(PARTS, inputs, outputs) * (deviation or inputs**-0.5))

    def forward(self, parts: Tensor) -> Tensor:
        """Each part through its own map."""
        return torch.einsum("bpd,pde->bpe", parts, self.weight)
