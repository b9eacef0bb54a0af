"""The random numbers of training clips, and the version of the order in which training sees its data.

A decision about clips draws its numbers by its name. Names are part of the order: a renamed decision draws other
numbers.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from datasets.random_streams import stream

# The version of the function from (seed, step) to training data. Raise it with every change to a sampler, to the name
# of a decision or to what is made of its numbers: a run must not be resumed on other data than it began with
# (orchestration/run/checkpoint.py). 1: decisions shared streams. 2: each decision has a stream of its own.
ORDER_VERSION = 2


@dataclass(frozen=True)
class ClipRng:
    """Random numbers of the clips at positions first..first+count-1 of a step's global batch.

    A number depends on the purpose, the seed, the step, the clip's position, the branch (0 query, 1 key) and the name
    of the decision alone. So a rank draws its slice without the others', and a setting changes no decision but its own.
    """

    purpose: Literal["pairs", "labelled", "bank"]
    seed: int
    step: int
    first: int
    count: int
    branch: int = 0

    def uniform(self, decision: str, width: int | None = None) -> NDArray[np.float64]:
        """The numbers of a decision, uniform in [0, 1): [count], or [count, width] where it takes several a clip."""
        each = 1 if width is None else width
        rng = stream(self.seed, f"{self.purpose}/{decision}", self.step, self.branch, skip=self.first * each)
        return rng.random(self.count if width is None else (self.count, width))
