"""The clips and labels of fine-tuning: which sequences a step samples, and a rank's slice of them.

A sampler is a pure function of (seed, step), so that the number of ranks and restarts change nothing.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from datasets.loading.clip_loader import ClipLoader
from datasets.loading.clips import ClipSettings
from datasets.loading.corpus import Corpus
from datasets.loading.prefetch import prefetch
from datasets.loading.random_numbers import ClipRng
from datasets.random_streams import stream
from datasets.schema.errors import UsageError


class RowSampler(Protocol):
    """Samples the global batch of any step."""

    def at(self, step: int) -> np.ndarray:
        """The rows of a step, int64 [batch], whichever steps were sampled before."""
        ...

    def epoch(self, step: int) -> float:
        """How often each row (or person) was sampled before a step, in the mean."""
        ...


class RoundRobinSampler:
    """Samples groups of rows in turn, each in permutations of its own, a new one each epoch.

    A single group of all rows samples them equally often; a group for each class balances the classes.
    """

    def __init__(self, groups: Sequence[np.ndarray], batch: int, seed: int) -> None:
        assert all(len(group) for group in groups), "a group without rows cannot be sampled"
        self._groups, self._batch, self._seed = groups, batch, seed

    def at(self, step: int) -> np.ndarray:
        """The rows of a step, int64 [batch]."""
        items = np.arange(step * self._batch, (step + 1) * self._batch)  # counted since step 0
        rows = np.empty(self._batch, dtype=np.int64)
        for number, group in enumerate(self._groups):
            mine = items % len(self._groups) == number
            epochs, within = np.divmod(items[mine] // len(self._groups), len(group))
            shuffled = {epoch: self._permutation(number, epoch) for epoch in np.unique(epochs).tolist()}
            rows[mine] = [group[shuffled[epoch][index]] for epoch, index in zip(epochs.tolist(), within, strict=True)]
        return rows

    def epoch(self, step: int) -> float:
        """How often each row was sampled before a step, in the mean."""
        return step * self._batch / sum(map(len, self._groups))

    def _permutation(self, group: int, epoch: int) -> np.ndarray:
        return stream(self._seed, "round-robin/permutation", group, epoch).permutation(len(self._groups[group]))


class PKSampler:
    """P people a step, K sequences of each (Hermans et al., arXiv 1703.07737); P x K is the batch.

    An epoch is a new permutation of the people, cut into whole steps. Sequences of people who have fewer than K are
    sampled more than once. UsageError if there are fewer than P people.
    """

    def __init__(self, people: np.ndarray, batch: int, each: int, seed: int) -> None:
        """people: int64 [n], the number of each row's person; rows with a negative one are left out."""
        self._rows = [np.flatnonzero(people == one) for one in np.unique(people[people >= 0])]
        self._count, self._each, self._seed = batch // each, each, seed
        if self._count > len(self._rows):
            raise UsageError(
                f"--schedule.batch {batch} is {self._count} people with --data.each {each} sequences, and there are "
                f"{len(self._rows)} to train on: set --schedule.batch to at most {len(self._rows) * each}"
            )

    def at(self, step: int) -> np.ndarray:
        """The rows of a step, int64 [P x K], person by person."""
        steps = len(self._rows) // self._count
        epoch, first = step // steps, step % steps * self._count
        order = stream(self._seed, "pk/people", epoch).permutation(len(self._rows))
        chosen = order[first : first + self._count].tolist()
        walks = [stream(self._seed, "pk/sequences", step, one).permutation(self._rows[one]) for one in chosen]
        return np.concatenate([np.resize(its, self._each) for its in walks])

    def epoch(self, step: int) -> float:
        """How often each person was sampled before a step."""
        return float(step // (len(self._rows) // self._count))


@dataclass(frozen=True)
class LabelledBatch:
    """Clips uint8 0/1 [b, frames, 64, 44], the times of their frames, float32 [b, frames], and labels, int64 [b, M]."""

    step: int
    epoch: float
    clips: np.ndarray
    times: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class LabelledLoader:
    """Loads the clips of one rank of `ranks`; the global batch must be divisible by `ranks`.

    labels: int64 [rows, M], classes of all rows of the corpus (datasets/loading/labels.py).
    """

    corpus: Corpus
    labels: np.ndarray
    sampler: RowSampler
    settings: ClipSettings
    batch: int
    seed: int
    rank: int = 0
    ranks: int = 1

    def at(self, step: int) -> LabelledBatch:
        """The clips of a step."""
        share = self.batch // self.ranks
        rows = self.sampler.at(step)[self.rank * share : (self.rank + 1) * share]
        rng = ClipRng("labelled", self.seed, step, self.rank * share, share)
        clips, times = ClipLoader(self.corpus, self.settings).load(rows, rng)
        return LabelledBatch(step, self.sampler.epoch(step), clips, times, self.labels[rows])

    def steps(self, start: int, stop: int, processes: int = 0) -> Iterator[LabelledBatch]:
        """The clips of steps start..stop-1, loaded ahead of training: see `prefetch`."""
        return prefetch(self, start, stop, processes)
