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


def broadcast(value: Tensor, device: torch.device) -> Tensor:
    """The value of rank 0, on the device that its process group communicates on. Ranks give tensors of one shape."""
    sent = value.to(device).contiguous()
    dist.broadcast(sent, src=0)
    return sent


class _Gather(torch.autograd.Function):
    """all_gather with a backward pass, which torch.distributed's own has not.

    The loss of each rank depends on the tensors of all. Its gradient in this rank's tensor is therefore a sum over the
    losses of all ranks.
    """

    @staticmethod
    def forward(context: Any, local: Tensor) -> Tensor:  # noqa: ANN401, ARG004 as torch calls it
        everyone = [torch.empty_like(local) for _ in range(dist.get_world_size())]
        dist.all_gather(everyone, local.contiguous())
        return torch.cat(everyone)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:  # noqa: ANN401, ARG004
        local = torch.empty_like(gradient[: len(gradient) // dist.get_world_size()])
        dist.reduce_scatter_single(local, gradient.contiguous())
        return local
