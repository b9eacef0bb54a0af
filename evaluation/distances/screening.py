"""Approximate distances with a proven error bound, from products of small integers.

An embedding x is rounded to a lattice, x = s q + e with q in -127..127 and |e| known. The distance between two rounded
parts differs from the true one by |e| of both at most (triangle inequality), and the product of two rounded vectors is
exact in int32. So the error of a mean distance is bounded by the sum of one margin for each of the two embeddings.
Where the processor has no fast product of int8, and on a GPU, float32 products are used: then e is 0, and the margin is
the rounding of the product.
"""

from dataclasses import dataclass
from math import sqrt

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from evaluation.distances.int8_embeddings import Embeddings
from evaluation.distances.int8_products import LEAST_CHANNELS, LEVELS, MOST_CHANNELS, Packed, are_fast
from evaluation.distances.metric import Metric, parts_first

_ROUNDING = 2.0**-24  # of one float32 operation
_ROWS = 16  # rows copied at once: large temporary copies between small lasting ones would fragment the memory
_COLUMNS = 512  # of one product: with a few hundred rows, results stay in a core's cache between the parts


@dataclass(frozen=True, eq=False)
class Screen:
    """Rounded embeddings of k sequences, in M matrices: the parts, or for the cosine one that holds all parts.

    `values` [M, k, channels]; `scales` [M]; `squares` float32 [M, k], squared lengths of the rounded parts, enlarged so
    that rounding cannot make a squared distance negative; `margins` float64 [k], the share of each embedding in the
    error bound of a distance; `num_parts`.
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

        values: a buffer of `empty_values` for the result; allocated where None.
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
                rounded = torch.round(block / scale).clamp_(-LEVELS, LEVELS)
                values[:, here] = rounded.to(torch.int8)
                rounded *= scale
                lost[:, here] = block.sub_(rounded).norm(dim=2)
                block = rounded
            else:
                values[:, here] = block
            squares[:, here] = block.square().sum(dim=2)
        summed = 0 if integers else width  # products that are added in float32
        margins = _margins(lost.double(), squares.double(), metric, parts, summed)
        return cls(values, scales, squares * (1 + _rounding(summed)), margins.cpu().numpy(), parts, metric)

    def distances(self, other: "Columns", buffer: Tensor) -> Tensor:
        """Approximate distances float32 [k, l] from others: off by the margins of the two at most.

        buffer: float32 with k rows or more and l columns, into which they are written.
        """
        result = buffer[: self.values.shape[1]]
        for columns, matrices, squares in other.blocks:
            self._block(other.scales, matrices, squares, result[:, columns])
        return result

    def _block(self, scales: list[float], matrices: list[Tensor | Packed], squares: Tensor, result: Tensor) -> None:
        """Write the distances from a block of others into `result`."""
        steps = [mine * theirs for mine, theirs in zip(self.scales, scales, strict=True)]
        if self.metric == "cos":
            one = torch.ones_like(squares[0])
            result.copy_(_affine(self.values[0], matrices[0], -steps[0] / self.num_parts, one))
            return
        result.zero_()
        for matrix, (step, theirs) in enumerate(zip(steps, matrices, strict=True)):
            squared = _affine(self.values[matrix], theirs, -2 * step, squares[matrix])
            result.add_(squared.add_(self.squares[matrix][:, None]).sqrt_())
        result.div_(self.num_parts)


class Columns:
    """A screen as the right-hand side of products, in blocks of columns, packed for the processor.

    `blocks`: the columns of each, M matrices of them, and their squares [M, l]. `scales` and `margins` of the screen.
    """

    def __init__(self, screen: Screen) -> None:
        self.scales, self.margins = screen.scales, screen.margins
        self.blocks: list[tuple[slice, list[Tensor | Packed], Tensor]] = []
        for start in range(0, len(screen.margins), _COLUMNS):
            columns = slice(start, start + _COLUMNS)
            matrices = [_packed(matrix[columns]) for matrix in screen.values]
            self.blocks.append((columns, matrices, screen.squares[:, columns]))


def _packed(matrix: Tensor) -> Tensor | Packed:
    return Packed.of(matrix) if matrix.dtype == torch.int8 else matrix


def _affine(x: Tensor, y: Tensor | Packed, scale: float, bias: Tensor) -> Tensor:
    """float32 [k, l], `bias` [l] + `scale` * x y'."""
    return y.product(x, scale, bias) if isinstance(y, Packed) else torch.addmm(bias, x, y.t(), alpha=scale)


def empty_values(k: int, shape: tuple[int, ...], metric: Metric, device: torch.device) -> Tensor:
    """A buffer for the rounded values of k embeddings of an array of this shape, [M, k, channels]."""
    _, channels, parts = shape
    width, count = (channels * parts, 1) if metric == "cos" else (channels, parts)
    integers = device.type == "cpu" and LEAST_CHANNELS <= width <= MOST_CHANNELS and are_fast()
    return torch.empty((count, k, width), dtype=torch.int8 if integers else torch.float32, device=device)


def _margins(lost: Tensor, squares: Tensor, metric: Metric, parts: int, width: int) -> Tensor:
    """The share of each embedding in the error bound of a mean distance, [k].

    width: number of products added in float32; 0 for integers.

    euc: |d - d'| <= |e| + |f| for each part, and a square that is off by r (|x|^2 + |y|^2) moves its root by
    sqrt(r) (|x| + |y|) at most. cos: |x y - x' y'| <= |e| |y| + |x'| |f|, where |x| and |y| are sqrt(P) at most.
    """
    rounding = _rounding(width)
    lost = lost + 1e-6 * squares.sqrt()  # |e| itself was computed in float32
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
    return [float(one) / LEVELS if one > 0 else 1.0 for one in largest]
