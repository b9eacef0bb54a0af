"""Collectives with gradients, which the model gets as functions: to gather over ranks, and to sum over them.

All ranks must call them in the same order, with tensors of one shape.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def gather(local: Tensor) -> tuple[Tensor, int]:
    """The tensors of all ranks [G, ...] in order of rank, and the offset of this rank's tensor [B, ...] in them.

    The backward pass gives each rank the sum, over all ranks, of the gradients in its tensor.
    """
    return _Gather.apply(local), dist.get_rank() * len(local)


def all_reduce(local: Tensor) -> Tensor:
    """The sum over all ranks, in place."""
    dist.all_reduce(local)
    return local


class _Gather(torch.autograd.Function):
    """all_gather with a backward pass, which torch.distributed's own has not.

    The loss of each rank depends on the tensors of all. Its gradient in this rank's tensor is therefore a sum over the
    losses of all ranks: an all_reduce, of which each rank keeps its slice. torch.distributed.nn.functional.all_gather
    does the same by reduce_scatter, which gloo lacks.
    """

    @staticmethod
    def forward(context: Any, local: Tensor) -> Tensor:  # noqa: ANN401 torch's contexts take any attribute
        context.local = slice(dist.get_rank() * len(local), (dist.get_rank() + 1) * len(local))
        everyone = [torch.empty_like(local) for _ in range(dist.get_world_size())]
        dist.all_gather(everyone, local.contiguous())
        return torch.cat(everyone)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:  # noqa: ANN401
        return all_reduce(gradient.clone())[context.local]
