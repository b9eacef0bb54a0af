"""The contour Transformer: contour tokens of a clip in, their features out.

Pre-norm blocks (RMSNorm) with normalised queries and keys and no biases; tokens know when and where they are by axial
rotary embedding over time, row and column (Su et al. 2021; Heo et al. 2024), and which body row and column they are by
a learned embedding; residual branches are scaled by 1 / depth, so that settings carry over between depths (CompleteP,
arXiv 2505.01618); register tokens (Darcet et al. 2024) hold what belongs to no place. Knows nothing of losses.

Shapes: B clips, N tokens, R registers, D width, K heads.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.sizes import HEAD_WIDTH, REGISTERS
from model.tokens import BITS, Tokens

ROWS, COLUMNS = 16, 11  # tubelets of a 64 x 44 frame
_AXES = ((12, "time"), (10, "row"), (10, "column"))  # rotary pairs an axis gets; together half the head width
_BASE = 100.0  # wavelengths from 2 pi to 200 pi, in frames or tubelets


class ContourEncoder(nn.Module):
    """depth blocks of width 64 x depth."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.width = HEAD_WIDTH * depth
        self.embed = nn.Linear(BITS, self.width, bias=False)
        self.row = nn.Parameter(torch.randn(ROWS, self.width) * 0.5)
        self.column = nn.Parameter(torch.randn(COLUMNS, self.width) * 0.5)
        self.registers = nn.Parameter(torch.randn(REGISTERS, self.width) * 0.5)
        self.blocks = nn.ModuleList(Block(self.width, 1 / depth) for _ in range(depth))
        self.norm = nn.RMSNorm(self.width)

    def forward(self, tokens: Tokens) -> Tensor:
        """Features [B, N, D] of the tokens; those of padding are to be ignored."""
        x = self.embed(tokens.bits) + self.row[tokens.row] + self.column[tokens.column]
        x = torch.cat([self.registers.expand(len(x), -1, -1), x], dim=1)
        rotation = _rotation(tokens)
        seen = functional.pad(tokens.valid, (REGISTERS, 0), value=True)[:, None, None, :]
        for block in self.blocks:
            x = block(x, rotation, seen)
        return self.norm(x[:, REGISTERS:])


class Block(nn.Module):
    """Attention, then a feed-forward layer of four times the width, each on a scaled residual branch."""

    def __init__(self, width: int, branch_scale: float) -> None:
        super().__init__()
        self.branch_scale = branch_scale
        self.attention_norm = nn.RMSNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.query_norm = nn.RMSNorm(HEAD_WIDTH)
        self.key_norm = nn.RMSNorm(HEAD_WIDTH)
        self.out = nn.Linear(width, width, bias=False)
        self.feed_norm = nn.RMSNorm(width)
        self.up = nn.Linear(width, 4 * width, bias=False)
        self.down = nn.Linear(4 * width, width, bias=False)

    def forward(self, x: Tensor, rotation: tuple[Tensor, Tensor], seen: Tensor) -> Tensor:
        """x: [B, R + N, D]; seen: [B, 1, 1, R + N], false for padding."""
        x = x + self.branch_scale * self._attend(self.attention_norm(x), rotation, seen)
        return x + self.branch_scale * self.down(functional.gelu(self.up(self.feed_norm(x))))

    def _attend(self, x: Tensor, rotation: tuple[Tensor, Tensor], seen: Tensor) -> Tensor:
        batch, length, width = x.shape
        q, k, v = self.qkv(x).view(batch, length, 3, -1, HEAD_WIDTH).permute(2, 0, 3, 1, 4)  # [B, K, R + N, 64]
        q, k = (_rotate(norm(y.float()), rotation) for norm, y in ((self.query_norm, q), (self.key_norm, k)))
        y = functional.scaled_dot_product_attention(q, k, v.to(q.dtype), attn_mask=seen)
        return self.out(y.transpose(1, 2).reshape(batch, length, width))


def _rotation(tokens: Tokens) -> tuple[Tensor, Tensor]:
    """Cosine and sine [B, 1, R + N, 32] of the angle of each rotary pair; registers are not turned."""
    angles = []
    for pairs, axis in _AXES:
        position = getattr(tokens, axis).float()
        frequency = _BASE ** (-torch.arange(pairs, device=position.device) / pairs)
        angles.append(position[:, :, None] * frequency)
    angle = functional.pad(torch.cat(angles, dim=2), (0, 0, REGISTERS, 0))[:, None]
    return angle.cos(), angle.sin()


def _rotate(x: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
    """Turn the pairs (x[i], x[i + 32]) of the last axis."""
    cos, sin = (part.to(x.dtype) for part in rotation)
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)
