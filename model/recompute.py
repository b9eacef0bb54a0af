"""Activation checkpointing: a block whose activations are made again in the backward pass instead of being kept.

Memory for time: what is kept is the input of each block, and the whole costs about a third more work. Numbers are those
of the block that keeps everything. Knows no block, and not when it is worth it.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def call(block: nn.Module, recompute: bool, *inputs: object) -> Tensor:
    """The block's output. recompute: without keeping its activations, where there will be a backward pass at all."""
    if not (recompute and torch.is_grad_enabled()):
        return block(*inputs)
    contexts = lambda: (nullcontext(), _undisturbed(block))  # noqa: E731
    return checkpoint(block, *inputs, use_reentrant=False, preserve_rng_state=False, context_fn=contexts)


@contextmanager
def _undisturbed(block: nn.Module) -> Iterator[None]:
    """Buffers are as before when the block ends: norms must not remember the second time what they saw the first."""
    before = [buffer.clone() for buffer in block.buffers()]
    yield
    for buffer, value in zip(block.buffers(), before, strict=True):
        buffer.copy_(value)
