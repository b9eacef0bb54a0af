"""The contour Transformer: contour tokens of clips in, statistics of their features for each body row out.

Pre-norm blocks (RMSNorm) with normalised queries and keys and no biases; axial rotary embedding over time, row and
column for relative positions (Su et al. 2021; Heo et al. 2024), and a learned embedding of row and column for absolute
ones; residual branches scaled by 1 / depth, so that settings carry over between depths (CompleteP, arXiv 2505.01618);
register tokens (Darcet et al. 2024) for what belongs to the whole segment. A clip that is cut into strips is several
segments: tokens attend within their strip, and each strip has registers of its own, because through common ones strips
would attend to each other.

Shapes: B clips, N tokens of all of them, M slots of a packing (model/packing.py), R registers, D width, K heads.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from model import compiled, fused
from model.device import send
from model.fused import normalise
from model.packing import Chunk, Layout, Packing, pack
from model.parts import RowStatistics, Strips, row_statistics
from model.recompute import run_block
from model.sizes import HEAD_WIDTH, REGISTERS
from model.tokens import BITS, GRID_COLUMNS, GRID_ROWS, Tokens, count_mixed, tokenise, tokenise_all

_AXES = ((12, "time"), (10, "row"), (10, "column"))  # rotary pairs of an axis; together half the head width
# Wavelengths from 2 pi to 200 pi frames or tubelets: a clip has 16 frames and 16 x 11 tubelets, so the usual base of
# 10,000 for texts would leave most pairs all but unturned.
_BASE = 100.0


@dataclass(frozen=True)
class EncoderInputs:
    """What the encoder takes of a batch of clips, on its device: all that depends on how many tokens there are.

    tokens: in order of segment, and of body row within it. rows: the tokens of each body row of each clip, int64 [B,
    16]. kept: which share of all tubelets are tokens, a scalar.
    """

    tokens: Tokens
    packing: Packing
    rows: Tensor
    kept: Tensor


class ContourEncoder(nn.Module):
    """A Transformer of `depth` blocks of width 64 x depth."""

    whole_sequences = False  # long sequences are pooled chunk by chunk
    recompute = False  # whether blocks recompute their activations in the backward pass (model/recompute.py)
    compiled = False  # whether blocks run compiled code (model/compiled.py)

    def __init__(self, depth: int, layout: Layout | None = None, every_tubelet: bool = False) -> None:
        """every_tubelet: tubelets that no contour crosses are tokens too, four times as many; for comparison."""
        super().__init__()
        self.width = HEAD_WIDTH * depth
        self.layout = layout
        self.every_tubelet = every_tubelet
        self.embed = Matrix(BITS, self.width)
        # The embedding of the bits has variance 1 and these a quarter each: pixels weigh more than positions.
        self.row = nn.Parameter(torch.randn(GRID_ROWS, self.width) * 0.5)
        self.column = nn.Parameter(torch.randn(GRID_COLUMNS, self.width) * 0.5)
        self.registers = nn.Parameter(torch.randn(REGISTERS, self.width) * 0.5)
        self.blocks = nn.ModuleList(Block(self.width, 1 / depth) for _ in range(depth))
        self.norm = Gain(self.width)

    def pool(
        self, clips: Tensor, times: Tensor, strips: Sequence[Strips] | None = None
    ) -> tuple[RowStatistics, dict[str, Tensor]]:
        """Statistics of each body row over clips [B, T, 64, 44] at times [B, T], and the share of tubelets kept.

        Clips and times lie on the host. strips: how each clip is cut; whole where None.
        """
        inputs = self.prepare(clips, times, strips)
        features = self(inputs.tokens, inputs.packing)
        return row_statistics(features, inputs.rows), {"tokens_kept": inputs.kept}

    def prepare(self, clips: Tensor, times: Tensor, strips: Sequence[Strips] | None = None) -> EncoderInputs:
        """The inputs of clips, found on the host, which would have to wait for a GPU that counts tokens."""
        tokens, kept = self.tokens(clips, times)
        segment, count = (tokens.clip, len(clips)) if strips is None else _segments(tokens, strips)
        row = tokens.clip * GRID_ROWS + tokens.row
        order, device = row.argsort(stable=True), self.row.device
        return EncoderInputs(
            tokens.take(order).send(device),
            pack(segment.bincount(minlength=count).tolist(), REGISTERS, device, self.layout),
            send(row.bincount(minlength=len(clips) * GRID_ROWS).unflatten(0, (-1, GRID_ROWS)), device),
            send(kept, device),
        )

    def tokens(self, clips: Tensor, times: Tensor) -> tuple[Tokens, Tensor]:
        """The tokens of clips [B, T, 64, 44] at times [B, T], and which share of all tubelets they are, a scalar."""
        if not self.every_tubelet:
            return tokenise(clips, times)
        return tokenise_all(clips, times)[0], torch.ones((), device=clips.device)

    def count_tokens(self, clips: Tensor) -> Tensor:
        """The number of tokens of each of the clips [B, T, 64, 44], int64 [B]."""
        mixed = count_mixed(clips)
        return mixed if not self.every_tubelet else torch.full_like(mixed, clips[0].numel() // BITS)

    def forward(self, tokens: Tokens, packing: Packing) -> Tensor:
        """Features, float32 [N, D], of tokens that are in order of segment."""
        weight = torch.cat([self.embed(fused.scaled, 1.0).T, self.row, self.column, self.registers])
        chunks = tuple((slots @ weight).float() for slots in packing.split(_inputs(tokens, packing)))
        rotations = packing.split(_rotation(tokens, packing))
        for block in self.blocks:
            chunks = run_block(block, self.recompute, chunks, rotations, packing.chunks, self.compiled)
        normalised = [normalise(chunk) for chunk in chunks]
        features = normalised[0] if len(chunks) == 1 else torch.cat(normalised)
        return features.index_select(0, packing.tokens) * self.norm()


class Block(nn.Module):
    """Attention, then a feed-forward layer of four times the width, each on a scaled residual branch.

    The weights of the norms and the scale of the branches go into the matrices beside them, which are far smaller than
    the features.
    """

    def __init__(self, width: int, branch_scale: float) -> None:
        super().__init__()
        self.branch_scale, self.heads = branch_scale, width // HEAD_WIDTH
        self.attention_norm = Gain(width)
        self.qkv = Matrix(width, 3 * width)
        self.query_norm = Gain(HEAD_WIDTH)
        self.key_norm = Gain(HEAD_WIDTH)
        self.out = Matrix(width, width)
        self.feed_norm = Gain(width)
        self.up = Matrix(width, 4 * width)
        self.down = Matrix(4 * width, width)

    def forward(
        self, chunks: Sequence[Tensor], rotations: Sequence[Tensor], layout: Sequence[Chunk], compile_parts: bool
    ) -> tuple[Tensor, ...]:
        """The slots [m, D] of each chunk; rotations: those of their tokens (see `model.fused.before_attention`)."""
        part = compiled if compile_parts else fused
        qkv = self.qkv(part.scaled_in_pairs, self.attention_norm())
        out = self.out(part.scaled, self.branch_scale)
        up = self.up(part.scaled, self.feed_norm())
        down = self.down(part.scaled, self.branch_scale)
        gains = torch.cat([fused.in_pairs(norm()).repeat(self.heads) for norm in (self.query_norm, self.key_norm)])
        outputs = []
        for x, rotation, chunk in zip(chunks, rotations, layout, strict=True):
            attended = chunk.attend(*part.before_attention(x, qkv, gains, rotation)).flatten(1)
            outputs.append(part.after_attention(x, attended, out, up, down))
        return tuple(outputs)


class Gain(nn.Module):
    """The gain of a norm, [width]. Calling it gives a copy, since ZeRO 3 stores whole weights during calls alone."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self) -> Tensor:
        """The gain."""
        return self.weight.clone()


class Matrix(nn.Module):
    """A linear map without a bias, [outputs, inputs], whose initial outputs have the variance of its inputs.

    Calling it gives what a function makes of the matrix, since ZeRO 3 stores whole weights during calls alone.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs).normal_(std=inputs**-0.5))

    def forward(self, make: Callable[..., Tensor], *arguments: Tensor | float) -> Tensor:
        """The function of the matrix and of the arguments."""
        return make(self.weight, *arguments)


def _segments(tokens: Tokens, strips: Sequence[Strips]) -> tuple[Tensor, int]:
    """The segment of each token, int64 [N], and the number of segments: the strips of all clips, in order."""
    heights = torch.tensor([GRID_ROWS // one.number for one in strips])
    shifts = torch.tensor([GRID_ROWS // one.number // 2 * one.shifted for one in strips])
    counts = torch.tensor([one.number + one.shifted for one in strips])
    first = counts.cumsum(0) - counts
    segment = first[tokens.clip] + (tokens.row + shifts[tokens.clip]) // heights[tokens.clip]
    return segment, sum(one.number + one.shifted for one in strips)


def _inputs(tokens: Tokens, packing: Packing) -> Tensor:
    """What the slots hold, float32 [M, 32 + 16 + 11 + R]: bits, and one-hot vectors of row, column and register.

    One matrix product then embeds all of it. Its gradient is deterministic on GPUs, that of indexing is not.
    """
    one_hots = [
        (position[:, None] == torch.arange(size, device=position.device)).float()
        for position, size in ((tokens.row, GRID_ROWS), (tokens.column, GRID_COLUMNS))
    ]
    of_tokens = torch.cat([tokens.bits, *one_hots], dim=1)
    of_registers = torch.eye(REGISTERS, device=tokens.bits.device)
    width = of_tokens.shape[1]
    return packing.scatter(
        functional.pad(of_tokens, (0, REGISTERS)),
        functional.pad(of_registers, (width, 0)).repeat(packing.registers.shape[0] // REGISTERS, 1),
    )


def _rotation(tokens: Tokens, packing: Packing) -> Tensor:
    """The rotation of each pair as a complex number, complex64 [M, 1, 1, 32]; registers have no position."""
    angles = []
    for pairs, axis in _AXES:
        position = getattr(tokens, axis).float()
        frequency = _BASE ** (-torch.arange(pairs, device=position.device) / pairs)
        angles.append(position[:, None] * frequency)
    angle = packing.scatter(torch.cat(angles, dim=1))[:, None, None]
    return torch.polar(torch.ones_like(angle), angle)
