"""Bytes that the compiled parts of blocks read and write: those of the kernels that torch.compile makes of them.

The parts are compiled for this processor, at two numbers of slots, and the compiler's own plan is read: which
operations share a kernel, and what each kernel reads and writes. It fuses by the same rules for GPUs, and splits some
sums there that it does not split here.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import torch
from torch import Tensor

_SLOTS = (128, 256)


@dataclass(frozen=True)
class Input:
    """A tensor that a part takes; its first dimension is -1 where it is the number of slots."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    trained: bool  # whether it has a gradient

    def of_any(self, slots: int) -> "Input":
        """The input for any number of slots, where it is for so many."""
        first, *rest = self.shape
        return replace(self, shape=(-1 if first == slots else first, *rest))

    def make(self, slots: int) -> Tensor:
        """Such a tensor."""
        shape = [slots if size < 0 else size for size in self.shape]
        return torch.randn(shape).to(self.dtype).requires_grad_(self.trained)


@cache
def bytes_of(part: Callable[..., Any], inputs: tuple[Input | Any, ...], train: bool) -> tuple[float, float]:
    """The bytes of a compiled part of a block, without those of matrix products: for each slot, and for the weights.

    inputs: tensors, and others as they are. train: forward and backward, else forward alone.
    """
    few, many = (_count(part, inputs, slots, train) for slots in _SLOTS)
    of_slot = (many - few) / (_SLOTS[1] - _SLOTS[0])
    return of_slot, few - of_slot * _SLOTS[0]


def _count(part: Callable[..., Any], inputs: Sequence[Input | Any], slots: int, train: bool) -> int:
    from torch._inductor import metrics
    from torch._inductor.scheduler import ExternKernelSchedulerNode

    torch.compiler.reset()
    with _counting(), torch.autocast("cpu", torch.bfloat16), torch.set_grad_enabled(train):
        given = [one.make(slots) if isinstance(one, Input) else one for one in inputs]
        found = torch.compile(part, dynamic=False, fullgraph=True)(*given)
        outputs = found if isinstance(found, tuple) else (found,)
        if train:
            torch.autograd.backward(outputs, [torch.ones_like(one) for one in outputs])
        elements = [
            number for node, number in metrics.nodes_num_elem if not isinstance(node, ExternKernelSchedulerNode)
        ]
    return 4 * sum(elements)  # the compiler divides bytes by 4


@contextmanager
def _counting() -> Iterator[None]:
    """Let the compiler count, which it does where it logs its metrics, and compile anew what it has compiled before."""
    from torch._functorch import config as autograd_config
    from torch._inductor import config, metrics
    from torch._inductor.compile_fx import inductor_metrics_log

    level, propagate = inductor_metrics_log.level, inductor_metrics_log.propagate
    inductor_metrics_log.setLevel(logging.INFO)
    inductor_metrics_log.propagate = False
    metrics.reset()
    try:
        with config.patch(fx_graph_cache=False), autograd_config.patch(enable_autograd_cache=False):
            yield
    finally:
        inductor_metrics_log.setLevel(level)
        inductor_metrics_log.propagate = propagate
