"""Activation checkpointing: a block recomputes its activations in the backward pass instead of keeping them.

Memory for time: only the input of each block is kept, and the whole costs about a third more work. Losses and gradients
are those of the block that keeps everything.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


def run_block(block: nn.Module, recompute: bool, *inputs: object) -> Any:  # noqa: ANN401 what the block returns
    """The output of a block. recompute: without keeping its activations, where there is a backward pass at all.

    Calls `forward` without hooks: ZeRO 3 would record one for each output, whose number differs between ranks.
    A block must have its weights in submodules, whose hooks gather them.
    """
    if not (recompute and torch.is_grad_enabled()):
        return block.forward(*inputs)
    contexts = lambda: (nullcontext(), _restored_buffers(block))  # noqa: E731
    # No block is random, so the state of the random numbers need not be kept.
    return checkpoint(block.forward, *inputs, use_reentrant=False, preserve_rng_state=False, context_fn=contexts)


@contextmanager
def _restored_buffers(block: nn.Module) -> Iterator[None]:
    """Restore buffers when the block ends: its norms must not count a batch twice in their running statistics."""
    before = [buffer.clone() for buffer in block.buffers()]
    yield
    for buffer, value in zip(block.buffers(), before, strict=True):
        buffer.copy_(value)
