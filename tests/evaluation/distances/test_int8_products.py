"""Products of small integers: exact in any order of signs, shapes and widths, and not used where they would not be."""

import numpy as np
import pytest
import torch

from evaluation.distances import int8_products
from evaluation.distances.int8_products import LEVELS, Packed

fast = pytest.mark.skipif(not int8_products.are_fast(), reason="no fast int8 product on this processor")


@fast
@pytest.mark.parametrize(("k", "others", "channels"), [(1, 1, 16), (7, 512, 256), (512, 33, 256), (40, 17, 7936)])
def test_products_are_exact_but_for_the_rounding_to_float32(k: int, others: int, channels: int) -> None:
    rng = np.random.default_rng(channels)
    x, y = (rng.integers(-LEVELS, LEVELS + 1, (rows, channels), dtype=np.int8) for rows in (k, others))
    x[0], y[0] = LEVELS, -LEVELS  # the largest that can be, of either sign
    bias = rng.normal(size=others).astype(np.float32)
    found = Packed.of(torch.from_numpy(y)).product(torch.from_numpy(x), -0.5, torch.from_numpy(bias)).numpy()
    exact = x.astype(np.int64) @ y.astype(np.int64).T
    np.testing.assert_allclose(found, bias - 0.5 * exact, rtol=4 * 2.0**-24, atol=1e-5 * channels / 256)


@fast
def test_the_widest_product_does_not_overflow() -> None:
    x = torch.full((2, int8_products.MOST_CHANNELS), LEVELS, dtype=torch.int8)
    x[1] = -LEVELS
    found = Packed.of(x).product(x, 1.0, torch.zeros(2))
    largest = LEVELS**2 * int8_products.MOST_CHANNELS
    np.testing.assert_allclose(found, [[largest, -largest], [-largest, largest]], rtol=1e-6)


def test_a_processor_without_instructions_for_bytes_is_not_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True})
    int8_products.are_fast.cache_clear()
    try:
        assert not int8_products.are_fast()
    finally:
        int8_products.are_fast.cache_clear()
