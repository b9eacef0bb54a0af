"""The parts of a block before and after attention, compiled by torch.compile: the results of model/fused.py.

On a GPU, compiled code passes over memory a third as often as operations one by one do, and takes fewer launches. On
CPU it gains nothing. Attention itself is not compiled: its sizes, and the lengths of segments, are numbers of Python,
for which each step would be compiled anew. The number of slots is symbolic: all packings share one program.

Differences to model/fused.py: rotations in real arithmetic, since the compiler fuses no complex one, and as a sum over
exchanged features, which it fuses where it does not fuse `stack`; backward passes without operations in place.

Gradients of a matrix are summed in its type over chunks of slots; on GPUs there is one chunk (model/packing.py).

Shapes: M slots, D width, K heads of width 64.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from model import fused
from model.sizes import HEAD_WIDTH


def scaled(matrix: Tensor, factor: Tensor | float) -> Tensor:
    """A matrix times a factor, in the type that autocast computes products in: see `model.fused.scaled`."""
    return _compiled(_scaled)(matrix, factor, _product_type(matrix))


def scaled_in_pairs(qkv: Tensor, gain: Tensor) -> Tensor:
    """The matrix of queries, keys and values, in the same type: see `model.fused.scaled_in_pairs`."""
    return _compiled(_scaled_in_pairs)(qkv, gain, _product_type(qkv))


def before_attention(x: Tensor, qkv: Tensor, gains: Tensor, rotation: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values of the slots: see `model.fused.before_attention`."""
    turns = torch.view_as_real(rotation)
    _any_number_of_slots(x, turns)
    query, key, value = _compiled(_before)(x, qkv, gains, turns)
    return query, key, value


def after_attention(x: Tensor, attended: Tensor, out: Tensor, up: Tensor, down: Tensor) -> Tensor:
    """The slots after both residual branches: see `model.fused.after_attention`."""
    _any_number_of_slots(x, attended)
    return _compiled(_after)(x, attended, out, up, down)


@cache
def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    # A program for each width, with and without gradients, and in each precision: more than the usual 8 in a study.
    return torch.compile(function, fullgraph=True, recompile_limit=64)  # type: ignore[call-overload] # not in its types


def _any_number_of_slots(*tensors: Tensor) -> None:
    from torch._dynamo import mark_dynamic  # it takes seconds to import

    for tensor in tensors:
        mark_dynamic(tensor, 0)


def _product_type(matrix: Tensor) -> torch.dtype:
    device = matrix.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else matrix.dtype


def _scaled(matrix: Tensor, factor: Tensor | float, dtype: torch.dtype) -> Tensor:
    return fused.scaled(matrix, factor).to(dtype)


def _scaled_in_pairs(qkv: Tensor, gain: Tensor, dtype: torch.dtype) -> Tensor:
    return fused.scaled_in_pairs(qkv, gain).to(dtype)


def _before(x: Tensor, qkv: Tensor, gains: Tensor, turns: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    projected = functional.linear(_Normalise.apply(x), qkv)
    return _NormaliseAndRotate.apply(projected.unflatten(1, (3, -1, HEAD_WIDTH)), gains, turns)


def _after(x: Tensor, attended: Tensor, out: Tensor, up: Tensor, down: Tensor) -> Tensor:
    x = x + functional.linear(attended, out)
    return x + functional.linear(functional.gelu(functional.linear(_Normalise.apply(x), up)), down)


def _inverse_rms(x: Tensor) -> Tensor:
    """1 / RMS over the last axis, float32."""
    return (x.float().square().mean(dim=-1, keepdim=True) + fused.EPSILON).rsqrt()


def _without_radial_part(grad: Tensor, normalised: Tensor, inverse: Tensor) -> Tensor:
    """The gradient in x of x / RMS(x)."""
    return (grad - normalised * (grad * normalised).mean(dim=-1, keepdim=True)) * inverse


def _rotate(x: Tensor, turns: Tensor, back: bool = False) -> Tensor:
    """x: float32 [..., 64], by the cosines and sines of its pairs, [..., 32, 2]. back: by the opposite angles."""
    pairs = x.unflatten(-1, (-1, 2))
    cosine, sine = turns[..., :1], turns[..., 1:]
    first = torch.arange(2, device=x.device) == int(back)
    return (pairs * cosine + pairs.flip(-1) * torch.where(first, -sine, sine)).flatten(-2)


class _Normalise(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, x: Tensor) -> Tensor:  # noqa: ANN401 torch's contexts take any attribute
        inverse = _inverse_rms(x)
        context.save_for_backward(x, inverse)
        return x * inverse

    @staticmethod
    def backward(context: Any, grad: Tensor) -> Tensor:  # noqa: ANN401
        x, inverse = context.saved_tensors
        return _without_radial_part(grad, x * inverse, inverse)


class _NormaliseAndRotate(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, qkv: Tensor, gains: Tensor, turns: Tensor) -> tuple[Tensor, ...]:  # noqa: ANN401
        pairs = qkv[:, :2]  # queries and keys
        inverse = _inverse_rms(pairs)
        context.save_for_backward(qkv, gains, turns, inverse)
        weighted = pairs * inverse * gains.unflatten(0, (2, -1, HEAD_WIDTH))
        rotated = _rotate(weighted, turns).to(qkv.dtype)
        return rotated[:, 0], rotated[:, 1], qkv[:, 2]

    @staticmethod
    def backward(context: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        qkv, gains, turns, inverse = context.saved_tensors
        normalised = qkv[:, :2] * inverse
        grad = _rotate(torch.stack(grads[:2], dim=1).float(), turns, back=True)
        of_gains = (grad * normalised).sum(dim=0).flatten()
        grad = grad * gains.unflatten(0, (2, -1, HEAD_WIDTH))
        of_pairs = _without_radial_part(grad, normalised, inverse).to(qkv.dtype)
        return torch.cat([of_pairs, grads[2][:, None]], dim=1), of_gains, None
