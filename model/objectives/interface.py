"""What training asks of an objective: everything that the engine, the loop and the metrics of a rank call.

An objective is a module that holds a student, which the optimizer steps, and a teacher, which follows it and is what
is evaluated. To add one for pretraining, derive from model/objectives/pairs.py; a new kind of data needs a module that
satisfies `Objective`. Objectives import no process group: they get the collective that they need as a function.
"""

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from model.objectives.teacher import LocalPart
from model.transfer import ParameterGroup

# Maps a tensor of this rank, [B, ...], to those of all ranks, [G, ...], and to the offset of this rank's items in them.
# Its backward pass gives each rank the sum, over all ranks, of the gradients in its items. All ranks must call it in
# the same order.
Gather = Callable[[Tensor], tuple[Tensor, int]]


def no_gather(local: Tensor) -> tuple[Tensor, int]:
    """The gather of a single process."""
    return local, 0


BatchT = TypeVar("BatchT", contravariant=True)


class Objective(Protocol[BatchT]):
    """A module with a student and a teacher, trained on batches of a type.

    A batch is a sequence of tensors: first `num_inputs` of them that are embedded, then the targets that the
    embeddings are compared by. Both steps are apart so that a batch can be embedded in micro batches and still have the
    loss of the whole batch (orchestration/rank/engine.py).
    """

    num_inputs: int

    def tensors(self, batch: BatchT, device: torch.device) -> list[Tensor]:
        """The tensors of a batch: inputs, which stay on the host (`GaitNetwork.pool`), then targets on a device."""
        ...

    def __call__(
        self, *batch: Tensor, step: int, gather: Gather, output_grads: Sequence[Tensor] | None
    ) -> dict[str, Tensor]:
        """The scalar `loss` of a batch, `finite` (1 where all embeddings of this rank are finite, else 0), and metrics.

        output_grads: gradients of a loss in what `embed_batch` gives for the batch. The result then has a `loss` alone,
        whose backward pass carries these gradients on into the weights; its value means nothing.
        """
        ...

    def embed_batch(self, inputs: Sequence[Tensor], *, step: int) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
        """Embeddings of the inputs, and metrics with `finite`. No item of the batch may depend on another."""
        ...

    def compare(
        self, embedded: Sequence[Tensor], targets: Sequence[Tensor], *, step: int, gather: Gather
    ) -> dict[str, Tensor]:
        """The scalar `loss` of embeddings, and metrics."""
        ...

    def parameter_groups(self, weight_decay: float) -> list[ParameterGroup]:
        """The weights that the optimizer steps."""
        ...

    def update_teacher(self, local: LocalPart) -> None:
        """Move the teacher towards the student, after each step of the optimizer."""
        ...

    def set_recompute(self, enabled: bool) -> None:
        """Whether the student recomputes its activations in the backward pass."""
        ...

    def compile_blocks(self) -> None:
        """Compile the parts of the encoder's blocks that stand between attentions (model/compiled.py)."""
        ...

    def guards(self, batch: Sequence[Tensor], step: int) -> dict[str, Tensor]:
        """Metrics that reveal a collapse of the teacher's embedding, on the tensors of a batch."""
        ...

    def flops(self, step: int, frames: int, kept: float) -> float:
        """Work of training on one item at a step, in FLOP. kept: the share of its tubelets that are tokens."""
        ...
