"""What the science asks of the other ranks, as functions to be handed to it: to gather, and to sum.

All ranks must call them in the same order. Knows torch's process group, and nothing of what is exchanged.
"""

import torch
import torch.distributed as dist
from torch import Tensor


def gather(mine: Tensor) -> tuple[Tensor, int]:
    """The tensors of all ranks [G, ...] in order of rank, of shares of equal size, and where that of this rank begins.

    Gradients come back: to each rank, the sum over all ranks of theirs with respect to its share.
    """
    return _Gather.apply(mine), dist.get_rank() * len(mine)


def total(mine: Tensor) -> Tensor:
    """The sum over all ranks, in place."""
    dist.all_reduce(mine)
    return mine


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(context: torch.autograd.function.FunctionCtx, mine: Tensor) -> Tensor:
        context.share = slice(dist.get_rank() * len(mine), (dist.get_rank() + 1) * len(mine))
        everyone = [torch.empty_like(mine) for _ in range(dist.get_world_size())]
        dist.all_gather(everyone, mine.contiguous())
        return torch.cat(everyone)

    @staticmethod
    def backward(context: torch.autograd.function.FunctionCtx, gradient: Tensor) -> Tensor:
        return total(gradient.clone())[context.share]
