"""Products of int8 matrices, one side packed once and multiplied often: a few times as fast as float32.

oneDNN computes `bias + scale * x y'` in one pass from int8, exact but for the rounding of the result to float32. It is
part of PyTorch's builds for CPUs; where the processor has no int8 instructions, products may saturate at 16 bits: use
this file only where `are_fast`.
"""

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

LEVELS = 127
# With more channels, int32 could overflow: some processors shift one side by 128.
MOST_CHANNELS = 2**31 // (LEVELS * 2 * (LEVELS + 1))
LEAST_CHANNELS = 16  # with fewer, int8 is not faster than float32


@dataclass(frozen=True, eq=False)
class Packed:
    """A matrix int8 [l, channels] in the memory layout that oneDNN chose for this processor."""

    weights: Tensor
    ones: Tensor
    zeros: Tensor

    @classmethod
    def of(cls, matrix: Tensor) -> "Packed":
        """Pack a copy of a matrix."""
        weights = torch.ops.onednn.qlinear_prepack(matrix.contiguous(), None)
        return cls(weights, torch.ones(len(matrix)), torch.zeros(len(matrix), dtype=torch.int64))

    def product(self, left: Tensor, scale: float, bias: Tensor) -> Tensor:
        """float32 [k, l], `bias` [l] + `scale` times the products with the rows of `left`, int8 [k, channels]."""
        right = self.weights, scale * self.ones, self.zeros, bias
        return torch.ops.onednn.qlinear_pointwise(left, 1.0, 0, *right, 1.0, 0, torch.float32, "none", [], "")


@cache
def are_fast() -> bool:
    """Whether this processor multiplies int8 in hardware, and exactly."""
    known = torch.cpu.get_capabilities()
    if not any(known.get(name, False) for name in ("avx512_vnni", "avx_vnni", "amx_int8")):
        return False
    if not hasattr(torch.ops.onednn, "qlinear_pointwise"):
        return False
    a, b = (torch.full(shape, LEVELS, dtype=torch.int8) for shape in ((32, 256), (64, 256)))
    a[::2], largest = -LEVELS, 256 * LEVELS**2
    expected = torch.where(torch.arange(32) % 2 == 0, -largest, largest)[:, None] * -2.0 + 1
    return bool((Packed.of(b).product(a, -2.0, torch.ones(64)) == expected).all())
