"""The teacher: an exponential moving average of the student's weights (He et al., CVPR 2020).

It is what is evaluated and released, whatever the objective, since an average over steps is better than its last one.
"""

import copy
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn

ModuleT = TypeVar("ModuleT", bound=nn.Module)

# Maps a weight to the part of it that this process stores. With ZeRO 3 each rank stores a shard, and the average of
# shards is the shard of the average: nothing needs to be gathered.
LocalPart = Callable[[nn.Parameter], Tensor]


def whole_weight(weight: nn.Parameter) -> Tensor:
    """The local part of a weight that every process stores whole."""
    return weight


def teacher_from(student: ModuleT) -> ModuleT:
    """A copy of a student that takes no gradient."""
    return copy.deepcopy(student).requires_grad_(False)


@torch.no_grad()
def update(teacher: nn.Module, student: nn.Module, momentum: float, local: LocalPart = whole_weight) -> None:
    """Move the weights of a teacher towards those of a student that are trained.

    The average is kept in the teacher's own precision, fp32: bf16 has 8 bits, and a step of 1 - momentum = 0.01 times
    a small change would be rounded away. Momentum is constant, so that a run can be prolonged.
    """
    for average, trained in zip(teacher.parameters(), student.parameters(), strict=True):
        if trained.requires_grad:
            local(average).lerp_(local(trained).to(average.dtype), 1 - momentum)
