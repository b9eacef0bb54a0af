"""Elementwise operations of a Transformer block with backward passes written out, to pass over memory less often.

On CPU a step spends as much time on elementwise operations as on matrix products, and on GPUs more. Composed of torch's
operations, each of these keeps several tensors of the size of its input, and reads and writes them many times.

Shapes: M slots, D width, K heads of width 64.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from model.sizes import HEAD_WIDTH

EPSILON = torch.finfo(torch.float32).eps  # as in torch.nn.RMSNorm


def scaled(matrix: Tensor, factor: Tensor | float) -> Tensor:
    """A matrix [outputs, inputs] times a norm's gain [inputs] before it, or times the scale of a branch."""
    return matrix * factor


def scaled_in_pairs(qkv: Tensor, gain: Tensor) -> Tensor:
    """The matrix [3 * D, D] of queries, keys and values times the gain [D] of the norm before it.

    The features of queries and keys that are rotated together are next to each other in the result, not in the matrix.
    """
    query, key, value = scaled(qkv, gain).unflatten(0, (3, -1, HEAD_WIDTH))
    return torch.stack([in_pairs(query), in_pairs(key), value]).flatten(0, 2)


def in_pairs(features: Tensor) -> Tensor:
    """Features of heads [..., 64, D], or [64], with i and i + 32, which are rotated together, next to each other."""
    dim = max(features.dim() - 2, 0)
    return features.unflatten(dim, (2, -1)).transpose(dim, dim + 1).flatten(dim, dim + 1)


def before_attention(x: Tensor, qkv: Tensor, gains: Tensor, rotation: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Queries and keys of the slots, normalised per head, weighted, and rotated by position; and values. [M, K, 64].

    Args:
        x: float32 [M, D].
        qkv: [3 * D, D], as `scaled_in_pairs` makes it.
        gains, rotation: as `queries_keys_values` takes them.
    """
    projected = functional.linear(normalise(x), qkv)
    return queries_keys_values(projected.unflatten(1, (3, -1, HEAD_WIDTH)), gains, rotation)


def after_attention(x: Tensor, attended: Tensor, out: Tensor, up: Tensor, down: Tensor) -> Tensor:
    """The slots after the residual branches of attention and of the feed-forward layer, float32 [M, D].

    x: the slots before the block; attended: [M, D]; out [D, D], up [4 * D, D] and down [D, 4 * D] contain the gain of
    the norm and the scale of the branches.
    """
    x = x + functional.linear(attended, out)
    return x + functional.linear(functional.gelu(functional.linear(normalise(x), up)), down)


def normalise(x: Tensor) -> Tensor:
    """x / RMS(x) over the last axis, without weights, which the next matrix product contains. x: float32 [M, D]."""
    return _Normalise.apply(x)


def queries_keys_values(qkv: Tensor, gains: Tensor, rotation: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Queries and keys, normalised per head, weighted, and rotated by position; and values. Each [M, K, 64].

    Args:
        qkv: [M, 3, K, 64]; the features of queries and keys that are rotated together are next to each other.
        gains: float32 [2 * K * 64], of the norms of queries and keys.
        rotation: complex64 [M, 1, 1, 32], by which each pair is multiplied as a complex number: one pass over memory,
            where sines and cosines take four over halves of a head.
    """
    query, key, value = _NormaliseAndRotate.apply(qkv, gains, rotation)
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
