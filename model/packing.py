"""Segments of unequal length in one tensor, and attention that stays within each of them.

A segment is what attends to itself: the tokens of a clip, or of one strip of it, behind a few registers of its own.
There are two layouts with equal results. The padded one sorts the segments by length and pads chunks of about equal
ones, 9% more slots on real clips: the faster by far on CPU, where jagged tensors are ten times slower and one chunk for
all pads strips to four times their length. The jagged one pads nothing and is for GPUs from compute capability 8.0 on,
which have a kernel for it.

Shapes: S segments, R registers of each, N tokens of all segments, M slots of the layout, K heads of width 64.
"""

from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from model.device import send

Layout = Literal["padded", "jagged"]
_SHRINK, _SLACK = 0.9, 4  # a chunk ends where a segment is shorter than this share of its longest, less the slack
# The most slots of a chunk, unless one segment has more. A block processes one chunk after the other, so that what it
# computes stays in the cache of a core.
_CHUNK_SLOTS = 1024
_OLDEST_CARD = (8, 0)  # compute capability from which on there is a kernel for jagged segments


class Chunk(Protocol):
    """Whole segments in consecutive slots, which a block processes together."""

    @property
    def size(self) -> int:
        """The number of slots."""
        ...

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attention within each segment; all [size, K, 64]."""
        ...


@dataclass(frozen=True)
class Packing:
    """The slots of the registers [S * R] and of the tokens [N], each in order of segment, and the chunks of slots."""

    registers: Tensor
    tokens: Tensor
    chunks: tuple[Chunk, ...]

    @property
    def size(self) -> int:
        """M, the number of slots."""
        return sum(chunk.size for chunk in self.chunks)

    def scatter(self, tokens: Tensor, registers: Tensor | None = None) -> Tensor:
        """Values of the tokens [N, ...] and the registers [S * R, ...] in their slots [M, ...]; zero elsewhere."""
        index, values = self.tokens, tokens
        if registers is not None:
            index, values = torch.cat([self.registers, index]), torch.cat([registers.to(tokens.dtype), tokens])
        return values.new_zeros(self.size, *values.shape[1:]).index_copy(0, index, values)

    def split(self, slots: Tensor) -> tuple[Tensor, ...]:
        """The slots [M, ...] of each chunk."""
        return slots.split([chunk.size for chunk in self.chunks])


@dataclass(frozen=True)
class PaddedChunk:
    """Segments of one padded length. mask: [segments, 1, 1, length], true where filled; None where all slots are.

    multiple: of which `size` is one. Batches have ever new numbers of tokens. With few sizes of chunks, tensors reuse
    the memory of earlier ones, whose gaps otherwise add up to several GB, and oneDNN reuses its compiled products.
    """

    segments: int
    length: int
    mask: Tensor | None
    multiple: int = 64

    @property
    def size(self) -> int:
        """The number of slots; those after the last segment are empty."""
        return -(-self.segments * self.length // self.multiple) * self.multiple

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attention within each segment; all [size, K, 64]."""
        shape, used = (self.segments, self.length), self.segments * self.length
        q, k, v = (x[:used].unflatten(0, shape).transpose(1, 2) for x in (query, key, value))
        attended = _attention(q, k, v, self.mask).transpose(1, 2).flatten(0, 1)
        return functional.pad(attended, (0, 0, 0, 0, 0, self.size - used)) if self.size > used else attended


def _attention(query: Tensor, key: Tensor, value: Tensor, filled: Tensor | None) -> Tensor:
    """Attention of segments of one padded length, [s, K, length, 64] each; filled: [s, 1, 1, length], or None.

    In bf16 on CPU it is written out: with gradients torch's kernel takes up to five times as long (torch 2.13; 3 times
    at 200 tokens, 1.3 times at 370). In fp32 it is as fast.
    """
    if query.dtype != torch.bfloat16 or query.is_cuda:
        return functional.scaled_dot_product_attention(query, key, value, attn_mask=filled)
    q, k, v = (x.flatten(0, 1) for x in (query * query.shape[-1] ** -0.5, key, value))
    if filled is None:
        logits = torch.bmm(q, k.transpose(1, 2))
    else:
        bias = torch.zeros_like(filled, dtype=query.dtype).masked_fill(~filled, -torch.inf)
        logits = torch.baddbmm(bias.expand(-1, query.shape[1], -1, -1).flatten(0, 1), q, k.transpose(1, 2))
    weights = logits.softmax(dim=-1)
    return (weights @ v).unflatten(0, query.shape[:2])


@dataclass(frozen=True)
class JaggedChunk:
    """Segments without padding. offsets: the first slot of each, int64 [S + 1]; longest: the slots of the longest."""

    size: int
    offsets: Tensor
    longest: int

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attention within each segment; all [size, K, 64]."""
        if query.is_cuda and query.dtype in (torch.float16, torch.bfloat16):
            from torch.nn.attention.varlen import varlen_attn  # it takes a second to import

            offsets = self.offsets.int()  # no test runs this kernel: they have no GPU
            attended = varlen_attn(query, key, value, offsets, offsets, self.longest, self.longest)
            assert isinstance(attended, Tensor)  # a tuple where asked for more
            return attended
        q, k, v = (
            torch.nested.nested_tensor_from_jagged(x.contiguous(), self.offsets, max_seqlen=self.longest).transpose(
                1, 2
            )
            for x in (query, key, value)
        )
        attended = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).values()
        return attended.clone()  # torch.compile refuses a view of a nested tensor


def layout_of(device: torch.device) -> Layout:
    """Jagged on GPUs that have a kernel for it, padded elsewhere."""
    jagged = device.type == "cuda" and torch.cuda.get_device_capability(device) >= _OLDEST_CARD
    return "jagged" if jagged else "padded"


def pack(lengths: list[int], registers: int, device: torch.device, layout: Layout | None = None) -> Packing:
    """Lay out segments of these numbers of tokens, in order. layout: that of the device where None."""
    whole = [registers + length for length in lengths]
    if (layout or layout_of(device)) == "jagged":
        offsets = torch.tensor([0, *whole]).cumsum(0)
        slots = _slots(lengths, registers, offsets[:-1], device)
        return Packing(*slots, (JaggedChunk(sum(whole), send(offsets, device), max(whole)),))
    starts, filled, chunks = torch.zeros(len(whole), dtype=torch.int64), 0, []
    for group in _groups(whole):
        length = whole[group[0]]
        starts[group] = filled + length * torch.arange(len(group))
        chunks.append(PaddedChunk(len(group), length, _mask([whole[one] for one in group], device)))
        filled += chunks[-1].size
    return Packing(*_slots(lengths, registers, starts, device), tuple(chunks))


def pack_dense(filled: Tensor, registers: int) -> Packing:
    """Lay out segments of n tokens each, of which only those that are filled [S, n] are attended to.

    All have a slot, and no shape depends on which are filled: the layout of a program that is traced once.
    """
    segments, tokens = filled.shape
    length = registers + tokens
    slots = torch.arange(segments * length, device=filled.device).unflatten(0, (segments, length))
    mask = torch.cat([filled.new_ones(segments, registers), filled], dim=1)[:, None, None]
    first, rest = slots[:, :registers].flatten(), slots[:, registers:].flatten()
    return Packing(first, rest, (PaddedChunk(segments, length, mask, multiple=1),))


def _groups(lengths: list[int]) -> list[list[int]]:
    """Segments of about equal length, the longest of each group first; no group has more than _CHUNK_SLOTS slots."""
    groups: list[list[int]] = []
    for segment in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
        longest = lengths[groups[-1][0]] if groups else 0
        full = not groups or (len(groups[-1]) + 1) * longest > _CHUNK_SLOTS
        if full or lengths[segment] < _SHRINK * longest - _SLACK:
            groups.append([])
        groups[-1].append(segment)
    return groups


def _mask(lengths: list[int], device: torch.device) -> Tensor | None:
    """Which slots of segments of these lengths are filled, [s, 1, 1, longest]; None where all are."""
    if lengths[0] == lengths[-1]:
        return None
    mask = torch.arange(lengths[0]) < torch.tensor(lengths)[:, None]
    return send(mask[:, None, None], device)


def _slots(lengths: list[int], registers: int, starts: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
    """The slots of the registers and of the tokens of segments whose first slots are `starts`."""
    count = torch.tensor(lengths)
    before = count.cumsum(0) - count
    tokens = torch.arange(int(count.sum())) + (starts + registers - before).repeat_interleave(count)
    first = (starts[:, None] + torch.arange(registers)).flatten()
    return send(first, device), send(tokens, device)
