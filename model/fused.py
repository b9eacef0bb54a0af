"""Elementwise operations of a Transformer block with backward passes written out, to pass over memory less often.

On CPU a step spends as much time on elementwise operations as on matrix products, and on GPUs more. Composed of torch's
operations, each of these keeps several tensors of the size of its input, and reads and writes them many times.

Shapes: M slots, D width, K heads of width 64.
"""

from typing import Any

import torch
from torch import Tensor

EPSILON = torch.finfo(torch.float32).eps  # as in torch.nn.RMSNorm


def normalise(x: Tensor) -> Tensor:
    """x / RMS(x) over the last axis, without weights, which the next matrix product contains. x: float32 [M, D]."""
    return _Normalise.apply(x)


def queries_keys_values(qkv: Tensor, weight: Tensor, rotation: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Queries and keys, normalised per head, weighted, and rotated by position; and values. Each [M, K, 64].

    Args:
        qkv: [M, 3, K, 64]; the features of queries and keys that are rotated together are next to each other.
        weight: float32 [2 * K * 64], of the norms of queries and keys.
        rotation: complex64 [M, 1, 1, 32], by which each pair is multiplied as a complex number: one pass over memory,
            where sines and cosines take four over halves of a head.
    """
    query, key, value = _NormaliseAndRotate.apply(qkv, weight, rotation)
    return query, key, value


def _inverse_rms(x: Tensor) -> Tensor:
    """1 / RMS over the last axis, float32."""
    norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
    return norm.square_().div_(x.shape[-1]).add_(EPSILON).rsqrt_()


def _rotate(x: Tensor, rotation: Tensor) -> Tensor:
    """x: float32 [..., 64], as complex pairs."""
    return torch.view_as_real(torch.view_as_complex(x.unflatten(-1, (-1, 2))) * rotation).flatten(-2)


class _Normalise(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, x: Tensor) -> Tensor:  # noqa: ANN401 torch's contexts take any attribute
        inverse = _inverse_rms(x)
        normalised = x * inverse
        context.save_for_backward(normalised, inverse)
        return normalised

    @staticmethod
    def backward(context: Any, grad: Tensor) -> Tensor:  # noqa: ANN401
        normalised, inverse = context.saved_tensors
        mean = (grad * normalised).mean(dim=-1, keepdim=True)
        return torch.addcmul(grad, normalised, mean, value=-1).mul_(inverse)


class _NormaliseAndRotate(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, qkv: Tensor, weight: Tensor, rotation: Tensor) -> tuple[Tensor, ...]:  # noqa: ANN401
        pairs = qkv[:, :2]  # queries and keys
        inverse = _inverse_rms(pairs)
        weighted = pairs * inverse
        weighted.flatten(1).mul_(weight)
        rotated = _rotate(weighted, rotation).to(qkv.dtype)
        context.save_for_backward(qkv, weight, rotation, inverse)
        return rotated[:, 0], rotated[:, 1], qkv[:, 2]

    @staticmethod
    def backward(context: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        qkv, weight, rotation, inverse = context.saved_tensors
        normalised = qkv[:, :2] * inverse
        back = rotation[:, 0].conj().resolve_conj()
        grad = torch.stack(
            [_rotate(one.float().contiguous(), back) for one in grads[:2]], dim=1
        )  # in the weighted pairs
        product = grad * normalised
        of_weight = product.new_ones(len(product)) @ product.flatten(1)  # as a product: sums over rows are slow on CPU
        product.flatten(1).mul_(weight)
        grad.flatten(1).mul_(weight)
        grad.addcmul_(normalised, product.mean(dim=-1, keepdim=True), value=-1)
        of_qkv = torch.empty_like(qkv)
        torch.mul(grad, inverse, out=grad)
        of_qkv[:, :2] = grad
        of_qkv[:, 2] = grads[2]
        return of_qkv, of_weight, None
