"""What differs between kinds of training, as one object that the loop of a rank gets: its objective and its data.

Pretraining and fine-tuning share everything else: the loop (orchestration/rank/loop.py), the engine, checkpoints, and
the driver. The two kinds are orchestration/rank/pretrain.py and orchestration/rank/finetune.py.
"""

from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar

from model.objectives.interface import Objective
from orchestration.run.settings import Run


class Batch(Protocol):
    """What a rank trains on at a step."""

    @property
    def step(self) -> int: ...
    @property
    def epoch(self) -> float:
        """How often the data was visited before."""
        ...


Rank = Callable[[dict[str, object]], None]  # runs on every rank, given its settings (orchestration/rank/entry.py)
BatchT = TypeVar("BatchT", bound=Batch)


class Work(Protocol[BatchT]):
    """One kind of training, as a rank does it."""

    @property
    def run(self) -> Run:
        """Its settings."""
        ...

    def objective(self) -> Objective[BatchT]:
        """The module that is trained, with random weights."""
        ...

    def batches(self, start: int) -> Iterator[BatchT]:
        """This rank's share of the steps from `start` to the last; every rank must call it."""
        ...
