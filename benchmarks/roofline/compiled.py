"""The bytes of a training step whose blocks are compiled: kernels in the place of operations one by one."""

from collections.abc import Callable, Sequence
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from benchmarks.roofline.counts import Counter, as_on_a_gpu, fake_objective
from benchmarks.roofline.kernels import Input, bytes_of
from datasets.loading.pairs import PairBatch
from model import compiled

_OF_SLOTS = (compiled._before, compiled._after)


def count_compiled_bytes(size: str, batch: PairBatch) -> int:
    """The elementwise bytes of a training step of a size whose blocks are compiled (`--cluster.compile`)."""
    with as_on_a_gpu():
        module = fake_objective(size)
        module.compile_blocks()
        counter = Counter()
        parts = _Parts(counter)
        with patch.object(compiled, "_compiled", parts.of), counter:
            with torch.autocast("cpu", dtype=torch.bfloat16):
                found = module(*module.tensors(batch, torch.device("cpu")))
            found["loss"].backward()
    return counter.elementwise_bytes + round(sum(map(_bytes_of_call, parts.calls)))


class _Parts:
    """Stands in for the compiled parts of blocks: notes their calls, and lets a counter leave out their operations."""

    def __init__(self, counter: Counter) -> None:
        self.calls: list[tuple[Callable[..., Any], Sequence[Any], bool]] = []
        self._counter = counter

    def of(self, part: Callable[..., Any]) -> Callable[..., Any]:
        """What runs in the place of a compiled part."""

        def run(*inputs: Any) -> Any:  # noqa: ANN401 what the part takes and returns
            train = torch.is_grad_enabled()
            self.calls.append((part, [_described(one) for one in inputs], train))
            return _Uncounted.apply(part, self._counter, train, *inputs)

        return run


def _described(value: Any) -> Any:  # noqa: ANN401 what a part takes
    return Input(tuple(value.shape), value.dtype, value.requires_grad) if isinstance(value, Tensor) else value


def _bytes_of_call(call: tuple[Callable[..., Any], Sequence[Any], bool]) -> float:
    part, inputs, train = call
    slots = inputs[0].shape[0] if part in _OF_SLOTS else -1
    any_number = tuple(one.of_any(slots) if isinstance(one, Input) else one for one in inputs)
    of_slot, of_weights = bytes_of(part, any_number, train)
    return of_weights + of_slot * max(slots, 0)


class _Uncounted(torch.autograd.Function):
    """A function whose elementwise operations a counter leaves out, forward and backward."""

    @staticmethod
    def forward(context: Any, part: Callable[..., Any], counter: Counter, train: bool, *inputs: Any) -> Any:  # noqa: ANN401
        context.counter = counter
        context.inputs = [
            one.detach().requires_grad_(one.requires_grad) if isinstance(one, Tensor) else one for one in inputs
        ]
        with counter.products_alone(), torch.set_grad_enabled(train):
            found = part(*context.inputs)
        context.outputs = found if isinstance(found, tuple) else (found,)
        detached = tuple(one.detach() for one in context.outputs)
        return detached if isinstance(found, tuple) else detached[0]

    @staticmethod
    def backward(context: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        trained = [isinstance(one, Tensor) and one.requires_grad for one in context.inputs]
        inputs = [one for one, wanted in zip(context.inputs, trained, strict=True) if wanted]
        with context.counter.products_alone():
            found = iter(torch.autograd.grad(context.outputs, inputs, grads))
        return None, None, None, *(next(found) if wanted else None for wanted in trained)
