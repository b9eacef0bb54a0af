"""The order in which training visits sequences: a pure function of (seed, step), the same for any number of workers.

At each step one collection is drawn for the whole global batch, with p proportional to (discount * n)^(1/3), so that
negatives come from the same collection and no collection drowns the others (the sampler of FoundationGait). Within a
collection each epoch is a fresh permutation, cut into whole batches: no sequence occurs twice in a batch, and none
twice in an epoch. A rank takes its slice of the batch, and resuming needs one integer. Knows nothing of shards.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from datasets.schema import UsageError

_COLLECTIONS, _PERMUTATIONS = 0, 1  # what a stream of random numbers is for


@dataclass(frozen=True)
class Visit:
    """What one step visits: a collection, and rows of that collection, each in 0..n-1."""

    collection: str
    rows: np.ndarray
    epoch: int


class GlobalOrder:
    """The visit of every step.

    sizes: sequences of each collection. discounts: what a sequence of it counts (1 where absent). batch: sequences a
    step over all ranks. UsageError where a collection cannot fill one batch.
    """

    def __init__(self, sizes: Mapping[str, int], discounts: Mapping[str, float], batch: int, seed: int) -> None:
        for name, size in sizes.items():
            if size < batch:
                raise UsageError(
                    f"{name} has {size} sequences to train on, fewer than the global batch of {batch}: "
                    f"set --schedule.batch to at most {size}, or leave {name} out with --data.collections"
                )
        self._sizes = dict(sorted(sizes.items()))
        mass = np.array([(size * discounts.get(name, 1.0)) ** (1 / 3) for name, size in self._sizes.items()])
        self._edges = np.cumsum(mass / mass.sum())
        self._batch, self._seed = batch, seed
        self._choices = np.zeros(0, dtype=np.int64)
        self._visits = np.zeros(0, dtype=np.int64)
        self._permutations: dict[int, tuple[int, np.ndarray]] = {}

    @property
    def shares(self) -> dict[str, float]:
        """The probability of each collection at a step."""
        return dict(zip(self._sizes, np.diff(self._edges, prepend=0).tolist(), strict=True))

    def at(self, step: int) -> Visit:
        """The visit of a step (0, 1, ...), whatever was asked before."""
        if step >= len(self._choices):
            self._draw_choices(2 * step + 1024)
        choice, visit = int(self._choices[step]), int(self._visits[step])
        name = list(self._sizes)[choice]
        epoch, place = divmod(visit, self._sizes[name] // self._batch)
        rows = self._permutation(choice, epoch)[place * self._batch : (place + 1) * self._batch]
        return Visit(name, rows.astype(np.int64), epoch)

    def _draw_choices(self, steps: int) -> None:
        """The collection of each step, and how often that collection was visited before it."""
        draws = np.random.default_rng((self._seed, _COLLECTIONS)).random(steps)  # a longer stream starts the same
        self._choices = np.minimum(np.searchsorted(self._edges, draws, side="right"), len(self._edges) - 1)
        self._visits = np.zeros(steps, dtype=np.int64)
        for choice in range(len(self._sizes)):
            mine = self._choices == choice
            self._visits[mine] = np.arange(mine.sum())

    def _permutation(self, choice: int, epoch: int) -> np.ndarray:
        """The permutation of a collection's epoch; the latest of each collection is kept."""
        if self._permutations.get(choice, (-1, None))[0] != epoch:
            rng = np.random.default_rng((self._seed, _PERMUTATIONS, choice, epoch))
            size = list(self._sizes.values())[choice]
            self._permutations[choice] = (epoch, rng.permutation(size).astype(np.int32))
        return self._permutations[choice][1]
