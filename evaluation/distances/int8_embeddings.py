"""Embeddings at a byte a value, with a scale for each part: 31 parts of 256 channels take 7,998 bytes, not 31,744."""

from dataclasses import dataclass
from typing import Protocol as Interface

import numpy as np
from numpy.typing import NDArray

LEVELS = 127
_BLOCK = 1024  # sequences quantised at once


class Embeddings(Interface):
    """Rows of float [n, C, P] that can be read by their numbers: an array, a memory map, `Int8Embeddings`, a file."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, C, P)."""
        ...

    def __getitem__(self, rows: NDArray[np.int64], /) -> NDArray[np.floating]:
        """The rows of these numbers, [k, C, P]."""
        ...


@dataclass(frozen=True, eq=False)
class Int8Embeddings:
    """n embeddings that are read back as float32: value = integer * scale of its part.

    `values` int8 [n, C, P] in -127..127, `scales` float16 [n, P].
    """

    values: NDArray[np.int8]
    scales: NDArray[np.float16]

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, C, P)."""
        return self.values.shape

    @property
    def nbytes(self) -> int:
        """Bytes of all of them."""
        return self.values.nbytes + self.scales.nbytes

    def __getitem__(self, rows: NDArray[np.int64] | slice) -> NDArray[np.float32]:
        """Rows by their numbers, float32 [k, C, P]."""
        return self.values[rows] * self.scales[rows].astype(np.float32)[:, None]


def quantise(embeddings: NDArray[np.floating]) -> Int8Embeddings:
    """Round embeddings [n, C, P] to a byte a value.

    The scale of a part makes its largest value 127; it is rounded up to float16, so that no value is clipped. The error
    of a value is half a scale at most: 1/254 of the part's largest value, 1/1024 of that for the rounding of the scale,
    and 3e-8, half the step of float16 at zero (so parts shorter than about 1e-4 lose their direction).

    Raises:
        ValueError: another shape, values that are not finite, or so large that a scale is beyond float16 (8 million).
    """
    if embeddings.ndim != 3:
        raise ValueError(f"expected embeddings [n, C, P], got {embeddings.shape}")
    count, _, parts = embeddings.shape
    values, scales = np.empty(embeddings.shape, dtype=np.int8), np.empty((count, parts), dtype=np.float16)
    for start in range(0, count, _BLOCK):
        rows = slice(start, start + _BLOCK)
        block = embeddings[rows].astype(np.float32)
        exact = np.abs(block).max(axis=1) / LEVELS
        if not (exact < np.finfo(np.float16).max).all():
            raise ValueError("embeddings hold NaN, infinite or very large values: their encoder is broken")
        scale = exact.astype(np.float16)
        scale = np.where(scale < exact, np.nextafter(scale, np.float16(np.inf)), scale)
        used = np.where(scale > 0, scale, 1).astype(np.float32)
        values[rows], scales[rows] = np.rint(block / used[:, None]), scale
    return Int8Embeddings(values, scales)
