"""Which sequences each step of pretraining sees: a pure function of (seed, step), the same for any number of ranks.

Collections are drawn with p proportional to (discount * n)^(1/3), so that large ones do not dominate. Mixing by `step`
draws one collection for the whole global batch, so that negatives come from the same collection (the sampler of
FoundationGait); by `batch`, one for each item of it. Within a collection each epoch is a new permutation, cut into
whole steps: no sequence occurs twice in an epoch, and none twice in a batch, unless the batch has more items of a
collection than it has sequences. A rank takes its slice of the batch, and resuming needs one integer, the step.
"""

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from datasets.contours.chains import offsets
from datasets.random_streams import stream
from datasets.schema.errors import UsageError

Mixing = Literal["step", "batch"]


@dataclass(frozen=True)
class BatchIndices:
    """The sequences of a step's global batch: int64 [batch] each.

    collections: numbers of the collections in order of name. rows: of the sequences in their collection, 0..n-1.
    epochs: of that collection.
    """

    collections: np.ndarray
    rows: np.ndarray
    epochs: np.ndarray


class GlobalSampler:
    """Samples the global batch of any step.

    Args:
        sizes: sequences of each collection.
        discounts: weight of a sequence of a collection; 1 for collections that are not in it.
        batch: sequences a step over all ranks.
        seed: of the run.
        mixing: whether a step is of one collection, or each item of the batch.

    Raises:
        UsageError: a step is of one collection, and one of them has fewer sequences than a batch.
    """

    def __init__(
        self,
        sizes: Mapping[str, int],
        discounts: Mapping[str, float],
        batch: int,
        seed: int,
        mixing: Mixing = "step",
    ) -> None:
        for name, size in sizes.items():
            if mixing == "step" and size < batch:
                raise UsageError(
                    f"{name} has {size} sequences to train on, fewer than the global batch of {batch}: "
                    f"set --schedule.batch to at most {size}, leave {name} out with --data.collections, "
                    "or mix collections within a batch with --data.mixing batch"
                )
        self._sizes = dict(sorted(sizes.items()))
        mass = np.array([(size * discounts.get(name, 1.0)) ** (1 / 3) for name, size in self._sizes.items()])
        self._probabilities = mass / mass.sum()
        self._batch, self._seed, self._mixing = batch, seed, mixing
        self._visited = np.zeros((1, len(mass)), dtype=np.int64)  # sequences of each collection before each step
        self._epochs: list[list[int]] = [[0] for _ in mass]  # steps at which the epochs of each collection begin
        self._permutations: dict[int, tuple[int, np.ndarray]] = {}

    @property
    def names(self) -> list[str]:
        """The collections, in order of name."""
        return list(self._sizes)

    @property
    def shares(self) -> dict[str, float]:
        """The probability of each collection."""
        return dict(zip(self._sizes, self._probabilities.tolist(), strict=True))

    def at(self, step: int) -> BatchIndices:
        """The global batch of a step (0, 1, ...), whichever steps were sampled before."""
        if step + 1 >= len(self._visited):
            self._draw_collections(2 * step + 1024)
        taken = self._visited[step + 1] - self._visited[step]
        parts = [(choice, *self._take(choice, step, taken[choice])) for choice in np.flatnonzero(taken).tolist()]
        collections = np.concatenate([np.full(len(rows), choice) for choice, _, rows in parts])
        epochs = np.concatenate([np.full(len(rows), epoch) for _, epoch, rows in parts])
        rows = np.concatenate([rows for _, _, rows in parts]).astype(np.int64)
        if self._mixing == "batch":
            shuffled = stream(self._seed, "sampler/places", step).permutation(self._batch)  # each rank gets some of all
            collections, rows, epochs = collections[shuffled], rows[shuffled], epochs[shuffled]
        return BatchIndices(collections, rows, epochs)

    def _draw_collections(self, steps: int) -> None:
        """Count the sequences of each collection before each step; with more steps the counts start the same."""
        if self._mixing == "batch":
            shares = stream(self._seed, "sampler/shares")
            taken = shares.multinomial(self._batch, self._probabilities, size=steps)
        else:
            numbers = stream(self._seed, "sampler/collection").random(steps)
            choices = np.searchsorted(np.cumsum(self._probabilities), numbers, side="right")
            taken = self._batch * (np.minimum(choices, len(self._sizes) - 1)[:, None] == np.arange(len(self._sizes)))
        self._visited = np.stack([offsets(of_one) for of_one in taken.T], axis=1)

    def _take(self, choice: int, step: int, count: int) -> tuple[int, np.ndarray]:
        """The epoch of a collection at a step, and the step's rows: `count` of its permutation."""
        size = list(self._sizes.values())[choice]
        visited, begins = self._visited[:, choice], self._epochs[choice]
        while True:  # an epoch ends before the step that would exceed it, after one step at least
            fit = int(np.searchsorted(visited, visited[begins[-1]] + size, side="right")) - 1
            following = max(fit, begins[-1] + 1)
            if following > step:
                break
            begins.append(following)
        epoch = bisect_right(begins, step) - 1
        rows = self._permutation(choice, epoch)
        first = visited[step] - visited[begins[epoch]]
        return epoch, rows[first : first + count] if count <= size else np.resize(rows, count)

    def _permutation(self, choice: int, epoch: int) -> np.ndarray:
        """The permutation of a collection's epoch; the latest of each collection is kept."""
        if self._permutations.get(choice, (-1, None))[0] != epoch:
            name, size = list(self._sizes.items())[choice]
            rng = stream(self._seed, f"sampler/permutation/{name}", epoch)  # other collections do not move it
            self._permutations[choice] = (epoch, rng.permutation(size).astype(np.int32))
        return self._permutations[choice][1]
