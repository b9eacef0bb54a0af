"""Approximate distances with a proven margin, from products of small integers: what is far needs no exact one.

An embedding x is rounded to a lattice, x = s q + e with q in -127..127 and |e| known. The distance between two rounded
parts differs from the true one by |e| of both at most (triangle inequality), and the product of two rounded vectors is
exact in int32. So a mean distance is known up to a margin that is a sum of one number for each of the two embeddings.
Where the processor has no fast product of int8, and on a GPU, float32 takes its place: then e is 0, and the margin is
the rounding of the product. This file does not know what the distances are for.
"""

from dataclasses import dataclass
from functools import cache
from math import sqrt

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from evaluation.distances import Metric, parts_first
from evaluation.sequences import Embeddings

_ROUNDING = 2.0**-24  # of one float32 operation
_LEVELS = 127
_MOST_CHANNELS = 2**31 // _LEVELS**2  # with more in one product, int32 could overflow
_LEAST_CHANNELS = 16  # with fewer, integers gain nothing, and torch multiplies matrices of one column wrongly
_ROWS = 16  # copied at once: large copies between small things that stay would leave holes in memory
_COLUMNS = 512  # of one product: with a few hundred rows, results stay in a core's cache from one step to the next


@dataclass(frozen=True, eq=False)
class Screen:
    """Rounded embeddings of k sequences, in M matrices: the parts, or for the cosine one that holds all parts.

    `values` [M, k, channels]; `scales` [M]; `squares` float32 [M, k], squared lengths of the rounded parts; `margins`
    float64 [k], what each embedding adds to the error of a distance; `num_parts`.
    """

    values: Tensor
    scales: list[float]
    squares: Tensor
    margins: NDArray[np.float64]
    num_parts: int
    metric: Metric

    @classmethod
    def of(
        cls,
        embeddings: Embeddings,
        rows: NDArray[np.int64],
        metric: Metric,
        device: torch.device,
        values: Tensor | None = None,
    ) -> "Screen":
        """Round k embeddings, by their numbers, for distances by this metric; they are read twice, a few at a time.

        values: the room to keep them in, of `empty_values`, if it is there already.
        """
        values = empty_values(len(rows), embeddings.shape, metric, device) if values is None else values
        (count, k, width), parts, integers = values.shape, embeddings.shape[2], values.dtype == torch.int8
        squares = torch.empty((count, k), dtype=torch.float32, device=device)
        lost = torch.zeros((count, k), dtype=torch.float32, device=device)
        scales = _scales(embeddings, rows, metric) if integers else [1.0] * count
        for start in range(0, k, _ROWS):
            here = slice(start, start + _ROWS)
            block = torch.from_numpy(parts_first(embeddings[rows[here]], metric)).to(device)
            if metric == "cos":
                block = block.transpose(0, 1).reshape(1, -1, width)
            if integers:
                scale = torch.tensor(scales)[:, None, None]
                rounded = torch.round(block / scale).clamp_(-_LEVELS, _LEVELS)
                values[:, here] = rounded.to(torch.int8)
                rounded *= scale
                lost[:, here] = block.sub_(rounded).norm(dim=2)
                block = rounded
            else:
                values[:, here] = block
            squares[:, here] = block.square().sum(dim=2)
        margins = _margins(lost.double(), squares.double(), metric, parts, 0 if integers else width)
        return cls(values, scales, squares, margins.cpu().numpy(), parts, metric)

    def distances(self, other: "Screen", room: Tensor) -> Tensor:
        """Approximate distances float32 [k, l] from another's: off by the margins of the two at most.

        room: float32 with k rows or more and l columns, where they are written.
        """
        result = room[: self.values.shape[1]].zero_()
        for start in range(0, result.shape[1], _COLUMNS):
            self._add(other, slice(start, start + _COLUMNS), result[:, start : start + _COLUMNS])
        return result

    def _add(self, other: "Screen", columns: slice, result: Tensor) -> None:
        """Distances from some of the others, into `result`, which is zero."""
        # Rounding must not make a square negative: both squared lengths are enlarged by what it can take away.
        larger = 1 + _rounding(0 if self.values.dtype == torch.int8 else self.values.shape[2])
        integers = self.values.dtype == torch.int8
        squared = torch.empty(result.shape, device=result.device)
        product = torch.empty(result.shape, dtype=torch.int32 if integers else torch.float32, device=result.device)
        for matrix in range(len(self.values)):
            a, b = self.values[matrix], other.values[matrix, columns]
            torch._int_mm(a, b.t(), out=product) if integers else torch.mm(a, b.t(), out=product)
            scale = self.scales[matrix] * other.scales[matrix]
            squared.copy_(product)
            if self.metric == "cos":
                torch.add(1, squared, alpha=-scale / self.num_parts, out=result)
                return
            torch.add(other.squares[matrix, columns] * larger, squared, alpha=-2 * scale, out=squared)
            squared.add_((self.squares[matrix] * larger)[:, None])
            result.add_(_root(squared))
        result.div_(self.num_parts)


def empty_values(k: int, shape: tuple[int, ...], metric: Metric, device: torch.device) -> Tensor:
    """Room for the rounded values of k embeddings of an array of this shape, [M, k, channels]."""
    _, channels, parts = shape
    width, count = (channels * parts, 1) if metric == "cos" else (channels, parts)
    integers = device.type == "cpu" and _LEAST_CHANNELS <= width <= _MOST_CHANNELS and _int8_is_fast()
    return torch.empty((count, k, width), dtype=torch.int8 if integers else torch.float32, device=device)


def _root(squared: Tensor) -> Tensor:
    """The square root, in place: on a CPU the longest of these steps, and numpy takes a quarter less time for it."""
    if squared.device.type != "cpu":
        return squared.sqrt_()
    np.sqrt(squared.numpy(), out=squared.numpy())
    return squared


def _margins(lost: Tensor, squares: Tensor, metric: Metric, parts: int, width: int) -> Tensor:
    """What each embedding adds to the error of a mean distance, [k]. width: of a float32 product; 0 for integers.

    euc: |d - d'| <= |e| + |f| for each part, and a square that is off by r (|x|^2 + |y|^2) moves its root by
    sqrt(r) (|x| + |y|) at most. cos: |x y - x' y'| <= |e| |y| + |x'| |f|, where |x| and |y| are sqrt(P) at most.
    """
    rounding = _rounding(width)
    lost = lost + 1e-6 * squares.sqrt()  # what float32 made of it
    if metric == "cos":
        return ((sqrt(parts) * lost + lost**2 / 2) * 1.001 / parts + rounding).sum(dim=0)
    return (lost * 1.001 + (sqrt(2 * rounding) + 64 * _ROUNDING) * squares.sqrt()).mean(dim=0)


def _rounding(width: int) -> float:
    """Error of a sum of a product and two squares, relative to the squares: width products are added in float32."""
    return (8 + 2 * width) * _ROUNDING


def _scales(embeddings: Embeddings, rows: NDArray[np.int64], metric: Metric) -> list[float]:
    """Scales that make the largest value of each part 127; one for all, at unit length, where they are one matrix."""
    largest = np.zeros(embeddings.shape[2])
    for start in range(0, len(rows), _ROWS):
        block = parts_first(embeddings[rows[start : start + _ROWS]], metric)
        largest = np.maximum(largest, np.maximum(block.max(axis=(1, 2)), -block.min(axis=(1, 2))))
    if metric == "cos":
        largest = largest.max(keepdims=True)
    return [float(one) / _LEVELS if one > 0 else 1.0 for one in largest]


@cache
def _int8_is_fast() -> bool:
    """Whether this processor multiplies int8 in hardware, and exactly: without it, products may saturate at 16 bits."""
    known = torch.cpu.get_capabilities()
    if not any(known.get(name, False) for name in ("avx512_vnni", "avx_vnni", "amx_int8")):
        return False
    a, b = (torch.full(shape, _LEVELS, dtype=torch.int8) for shape in ((32, 256), (64, 256)))
    return bool((torch._int_mm(a, b.t()) == 256 * _LEVELS**2).all())
