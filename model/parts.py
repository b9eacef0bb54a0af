"""From token features to a part embedding: pooling by body row into a pyramid of parts, and a head for each part.

The pyramid has 16 + 8 + 4 + 2 + 1 = 31 horizontal parts, as in the published model (horizontal pyramid pooling, Fu et
al., AAAI 2019). Pooling is associative: a long sequence is pooled chunk by chunk, and gives what one pass would give.

Shapes: B clips, N tokens, D width, P = 31 parts, C channels of the embedding.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from model.encoder import ROWS

BINS = (16, 8, 4, 2, 1)
PARTS = sum(BINS)
STATISTICS = ("maximum", "total", "count")


@dataclass(frozen=True)
class RowStatistics:
    """Of the tokens of each body row: maximum [B, 16, D] (-inf: no token), sum [B, 16, D], count [B, 16]."""

    maximum: Tensor
    total: Tensor
    count: Tensor


def row_statistics(features: Tensor, row: Tensor, valid: Tensor) -> RowStatistics:
    """features: [B, N, D]; row: [B, N] in 0..15; valid: [B, N]."""
    batch, _, width = features.shape
    bins = torch.where(valid, row, ROWS)  # padding falls into a row of its own, which is cut off
    index = bins[:, :, None].expand(-1, -1, width)
    lowest = features.new_full((batch, ROWS + 1, width), -torch.inf)
    maximum = lowest.scatter_reduce(1, index, features, "amax")
    total = features.new_zeros(batch, ROWS + 1, width).scatter_add(1, index, features)
    count = features.new_zeros(batch, ROWS + 1).scatter_add(1, bins, features.new_ones(bins.shape))
    return RowStatistics(maximum[:, :ROWS], total[:, :ROWS], count[:, :ROWS])


def merge(chunks: RowStatistics) -> RowStatistics:
    """The statistics of all clips of a batch taken as one sequence: B becomes 1."""
    return RowStatistics(
        chunks.maximum.amax(dim=0, keepdim=True),
        chunks.total.sum(dim=0, keepdim=True),
        chunks.count.sum(dim=0, keepdim=True),
    )


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

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(PARTS, inputs, outputs) * inputs**-0.5)

    def forward(self, parts: Tensor) -> Tensor:
        """Each part through its own map."""
        return torch.einsum("bpd,pde->bpe", parts, self.weight)
