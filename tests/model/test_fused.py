"""Operations with backward passes of their own, against compositions of torch's."""

import pytest
import torch
from torch import Tensor, nn

from model.fused import normalise, queries_keys_values

HEADS = 3


def composed(qkv: Tensor, weight: Tensor, angle: Tensor) -> Tensor:
    """Queries, keys and values [M, 3, K, 64], by torch's own operations on adjacent pairs."""
    normalised = nn.functional.rms_norm(qkv[:, :2], (64,)) * weight.view(2, HEADS, 64)
    first, second = normalised[..., 0::2], normalised[..., 1::2]
    cos, sin = angle.cos(), angle.sin()
    rotated = torch.stack([first * cos - second * sin, second * cos + first * sin], dim=-1).flatten(-2)
    return torch.cat([rotated, qkv[:, 2:]], dim=1)


def test_normalising_is_a_norm_without_weights() -> None:
    x = torch.randn(20, 96, dtype=torch.float32, requires_grad=True)
    weights = torch.randn(20, 96)
    results = []
    for function in (normalise, lambda given: nn.functional.rms_norm(given, (96,))):
        (grad,) = torch.autograd.grad((function(x) * weights).sum(), x)
        results.append((function(x).detach(), grad))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_rows_of_zeros_stay_finite() -> None:
    x = torch.zeros(2, 64, requires_grad=True)
    y = normalise(x)
    y.sum().backward()
    assert y.isfinite().all() and x.grad is not None and x.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_queries_keys_and_values_are_those_of_the_composition(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    given = torch.randn(11, 3, HEADS, 64, generator=generator).to(dtype)
    weight = torch.randn(2 * HEADS * 64, generator=generator)
    angle, weights = torch.randn(11, 1, 1, 32, generator=generator), torch.randn(11, 3, HEADS, 64, generator=generator)
    rotation = torch.polar(torch.ones_like(angle), angle)
    results = []
    for fused in (True, False):
        qkv, gain = given.clone().requires_grad_(), weight.clone().requires_grad_()
        wide = qkv if fused else qkv.float()
        found = torch.stack(queries_keys_values(wide, gain, rotation), 1) if fused else composed(wide, gain, angle)
        (found.float() * weights).sum().backward()
        assert qkv.grad is not None and gain.grad is not None
        results.append((found.detach().float(), qkv.grad.float(), gain.grad))
    for one, other in zip(*results, strict=True):
        assert (one - other).norm() <= (1e-6 if dtype == torch.float32 else 1e-2) * other.norm()
