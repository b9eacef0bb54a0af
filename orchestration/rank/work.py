"""What differs between kinds of training, as one object that is handed to the loop of a rank, and what it must offer.

Pretraining and fine-tuning share everything else: the loop (orchestration/rank/loop.py), the engine, checkpoints, and
the driver's eye on them. Interfaces alone; the two kinds are orchestration/rank/pretrain.py and finetune_work.py.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from model.objective import Gather
from orchestration.run.settings import Run


class Trained(Protocol):
    """A module that the engine trains: a student, and a teacher that follows it."""

    inputs: int  # how many tensors of a batch are embedded; the others are only compared
    student: nn.Module
    teacher: nn.Module

    def __call__(
        self, *batch: Tensor, step: int, gather: Gather, output_grads: Sequence[Tensor] | None
    ) -> dict[str, Tensor]:
        """The `loss` of a batch, whether it is `sound`, and what else is watched.

        With output_grads: a loss that has these gradients in what `embed_batch` gives for the batch.
        """
        ...

    def embed_batch(self, *inputs: Tensor, step: int) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
        """What is compared, and what is watched of it: no item has to do with another here."""
        ...

    def compare(self, *given: Tensor, step: int, gather: Gather) -> dict[str, Tensor]:
        """The loss of what was embedded, and of the rest of the batch."""
        ...

    def parameter_groups(self, weight_decay: float) -> list[dict[str, object]]:
        """What the optimizer steps, in groups with their `rate_share` of the learning rate."""
        ...

    def update_teacher(self, held: Callable[[nn.Parameter], Tensor]) -> None:
        """Move the teacher, after each step. held: what this process has of a weight."""
        ...


class Batch(Protocol):
    """What a rank trains on at a step."""

    step: int
    epoch: float  # how often the data was visited before


class Work(Protocol):
    """One kind of training, as a rank does it."""

    run: Run

    def module(self) -> Trained:
        """The module that is trained, with random weights."""
        ...

    def batches(self, start: int) -> Iterator[Batch]:
        """This rank's share of the steps from `start` to the last; every rank must call it."""
        ...

    def tensors(self, batch: Batch, device: torch.device) -> list[Tensor]:
        """A batch as the module takes it."""
        ...

    def guards(self, module: Trained, batch: Sequence[Tensor], step: int) -> dict[str, Tensor]:
        """Whether the embedding still tells anything, on some items of a batch."""
        ...

    def flops(self, step: int, kept: float) -> float:
        """Work of training on one item after so many steps; kept: the share of its tubelets that are tokens."""
        ...
