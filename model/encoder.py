"""The contour Transformer: contour tokens of clips in, statistics of their features for each body row out.

Pre-norm blocks (RMSNorm) with normalised queries and keys and no biases; axial rotary embedding over time, row and
column for relative positions (Su et al. 2021; Heo et al. 2024), and a learned embedding of row and column for absolute
ones; residual branches scaled by 1 / depth, so that settings carry over between depths (CompleteP, arXiv 2505.01618);
register tokens (Darcet et al. 2024) for what belongs to the whole segment. A clip that is cut into strips is several
segments: tokens attend within their strip, and each strip has registers of its own, because through common ones strips
would attend to each other.

Shapes: B clips, N tokens of all of them, M slots of a packing (model/packing.py), R registers, D width, K heads.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.packing import Jagged, Layout, Packing, Padded, pack
from model.parts import RowStatistics, Strips, row_statistics
from model.recompute import run_block
from model.sizes import HEAD_WIDTH, REGISTERS
from model.tokens import BITS, GRID_COLUMNS, GRID_ROWS, Tokens, count_mixed, tokenise, tokenise_all

_AXES = ((12, "time"), (10, "row"), (10, "column"))  # rotary pairs of an axis; together half the head width
# Wavelengths from 2 pi to 200 pi frames or tubelets: a clip has 16 frames and 16 x 11 tubelets, so the usual base of
# 10,000 for texts would leave most pairs all but unturned.
_BASE = 100.0


class ContourEncoder(nn.Module):
    """A Transformer of `depth` blocks of width 64 x depth."""

    whole_sequences = False  # long sequences are pooled chunk by chunk
    recompute = False  # whether blocks recompute their activations in the backward pass (model/recompute.py)

    def __init__(self, depth: int, layout: Layout | None = None, every_tubelet: bool = False) -> None:
        """every_tubelet: tubelets that no contour crosses are tokens too, four times as many; for comparison."""
        super().__init__()
        self.width = HEAD_WIDTH * depth
        self.layout = layout
        self.every_tubelet = every_tubelet
        self.embed = _matrix(BITS, self.width)
        # The embedding of the bits has variance 1 and these a quarter each: pixels weigh more than positions.
        self.row = nn.Parameter(torch.randn(GRID_ROWS, self.width) * 0.5)
        self.column = nn.Parameter(torch.randn(GRID_COLUMNS, self.width) * 0.5)
        self.registers = nn.Parameter(torch.randn(REGISTERS, self.width) * 0.5)
        self.blocks = nn.ModuleList(Block(self.width, 1 / depth) for _ in range(depth))
        self.norm = nn.RMSNorm(self.width)

    def pool(
        self, clips: Tensor, times: Tensor, strips: Sequence[Strips] | None = None
    ) -> tuple[RowStatistics, dict[str, Tensor]]:
        """Statistics of each body row over clips [B, T, 64, 44] at times [B, T], and the share of tubelets kept.

        strips: how each clip is cut; whole where None.
        """
        tokens, kept = self.tokens(clips, times)
        segment, count = (tokens.clip, len(clips)) if strips is None else _segments(tokens, strips)
        order = segment.argsort(stable=True)  # within a segment the order stays, so that sums are the same every time
        tokens = tokens.take(order)
        lengths = segment.bincount(minlength=count).tolist()
        features = self(tokens, pack(lengths, REGISTERS, clips.device, self.layout))
        return row_statistics(features.float(), tokens.clip, tokens.row, len(clips)), {"tokens_kept": kept}

    def tokens(self, clips: Tensor, times: Tensor) -> tuple[Tokens, Tensor]:
        """The tokens of clips [B, T, 64, 44] at times [B, T], and which share of all tubelets they are, a scalar."""
        if not self.every_tubelet:
            return tokenise(clips, times)
        return tokenise_all(clips, times)[0], torch.ones((), device=clips.device)

    def count_tokens(self, clips: Tensor) -> Tensor:
        """The number of tokens of each of the clips [B, T, 64, 44], int64 [B]."""
        mixed = count_mixed(clips)
        return mixed if not self.every_tubelet else torch.full_like(mixed, clips[0].numel() // BITS)

    def forward(self, tokens: Tokens, packing: Padded | Jagged) -> Tensor:
        """Features [N, D] of tokens that are in order of segment."""
        # Products with one-hot vectors: their gradient is deterministic on GPUs, that of indexing is not.
        row, column = functional.one_hot(tokens.row, GRID_ROWS), functional.one_hot(tokens.column, GRID_COLUMNS)
        x = self.embed(tokens.bits) + row.float() @ self.row + column.float() @ self.column
        registers = self.registers.repeat(packing.registers.shape[0] // REGISTERS, 1)
        x = packing.scatter(x.float(), registers)
        rotation = _rotation(tokens, packing)
        for block in self.blocks:
            x = run_block(block, self.recompute, x, rotation, packing)
        return self.norm(x)[packing.tokens]


class Block(nn.Module):
    """Attention, then a feed-forward layer of four times the width, each on a scaled residual branch."""

    def __init__(self, width: int, branch_scale: float) -> None:
        super().__init__()
        self.branch_scale = branch_scale
        self.attention_norm = nn.RMSNorm(width)
        self.qkv = _matrix(width, 3 * width)
        self.query_norm = nn.RMSNorm(HEAD_WIDTH)
        self.key_norm = nn.RMSNorm(HEAD_WIDTH)
        self.out = _matrix(width, width)
        self.feed_norm = nn.RMSNorm(width)
        self.up = _matrix(width, 4 * width)
        self.down = _matrix(4 * width, width)

    def forward(self, x: Tensor, rotation: tuple[Tensor, Tensor], packing: Padded | Jagged) -> Tensor:
        """x: [M, D]."""
        x = x + self.branch_scale * self._attend(self.attention_norm(x), rotation, packing)
        return x + self.branch_scale * self.down(functional.gelu(self.up(self.feed_norm(x))))

    def _attend(self, x: Tensor, rotation: tuple[Tensor, Tensor], packing: Padded | Jagged) -> Tensor:
        q, k, v = self.qkv(x).unflatten(1, (3, -1, HEAD_WIDTH)).unbind(1)  # [M, K, 64]
        q, k = (norm(y.float()).to(v.dtype) for norm, y in ((self.query_norm, q), (self.key_norm, k)))
        return self.out(packing.attend(_rotate(q, rotation), _rotate(k, rotation), v).flatten(1))


def _matrix(inputs: int, outputs: int) -> nn.Linear:
    """A linear map without a bias whose initial outputs have the variance of its inputs."""
    made = nn.Linear(inputs, outputs, bias=False)
    nn.init.normal_(made.weight, std=inputs**-0.5)
    return made


def _segments(tokens: Tokens, strips: Sequence[Strips]) -> tuple[Tensor, int]:
    """The segment of each token, int64 [N], and the number of segments: the strips of all clips, in order."""
    device = tokens.clip.device
    heights = torch.tensor([GRID_ROWS // one.number for one in strips], device=device)
    shifts = torch.tensor([GRID_ROWS // one.number // 2 * one.shifted for one in strips], device=device)
    counts = torch.tensor([one.number + one.shifted for one in strips], device=device)
    first = counts.cumsum(0) - counts
    segment = first[tokens.clip] + (tokens.row + shifts[tokens.clip]) // heights[tokens.clip]
    return segment, sum(one.number + one.shifted for one in strips)


def _rotation(tokens: Tokens, packing: Packing) -> tuple[Tensor, Tensor]:
    """Cosine and sine [M, 1, 32] of the angle of each rotary pair; registers have no position."""
    angles = []
    for pairs, axis in _AXES:
        position = getattr(tokens, axis).float()
        frequency = _BASE ** (-torch.arange(pairs, device=position.device) / pairs)
        angles.append(position[:, None] * frequency)
    angle = packing.scatter(torch.cat(angles, dim=1))[:, None]
    return angle.cos(), angle.sin()


def _rotate(x: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
    """Turn the pairs (x[i], x[i + 32]) of the last axis."""
    cos, sin = (part.to(x.dtype) for part in rotation)
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)
