"""The query-key pairs of pretraining: a rank's slice of each global batch, the same for any number of ranks.

What is random about a clip depends on the seed, the step, its position in the global batch and the branch alone, so
that the number of ranks, restarts and prefetching change nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from datasets.loading.clip_loader import ClipLoader
from datasets.loading.clips import ClipSettings
from datasets.loading.corpus import Corpus
from datasets.loading.prefetch import prefetch
from datasets.loading.random_numbers import ClipRng
from datasets.loading.sampler import GlobalSampler

Positives = Literal["clip", "walk"]


@dataclass(frozen=True)
class PairBatch:
    """Query and key clips uint8 0/1 [b, frames, 64, 44], with the times of their frames, float32 [b, frames].

    collections: of each pair. walks: int64 [b], the recorded walk of each pair; clips of one walk show one person at
    one time, and are not negatives of each other. epoch: the mean over the global batch.
    """

    step: int
    epoch: float
    collections: tuple[str, ...]
    walks: np.ndarray
    query: np.ndarray
    query_times: np.ndarray
    key: np.ndarray
    key_times: np.ndarray


@dataclass(frozen=True)
class PairLoader:
    """Loads the pairs of one rank of `ranks`; the global batch must be divisible by `ranks`.

    positives: whether a key is another clip of the sequence (`clip`), or a clip of another camera's sequence of the
    same recorded walk (`walk`; of the same sequence if no other camera filmed it).
    """

    corpus: Corpus
    sampler: GlobalSampler
    settings: ClipSettings
    batch: int
    seed: int
    rank: int = 0
    ranks: int = 1
    positives: Positives = "clip"

    def at(self, step: int) -> PairBatch:
        """The pairs of a step."""
        indices = self.sampler.at(step)
        share = self.batch // self.ranks
        mine = slice(self.rank * share, (self.rank + 1) * share)
        sizes = self.corpus.sizes()
        first_row = np.cumsum([0, *(sizes[name] for name in self.sampler.names)])
        rows = (first_row[indices.collections] + indices.rows)[mine]
        of_query, of_key = (ClipRng("pairs", self.seed, step, mine.start, share, branch) for branch in (0, 1))
        partners = self.corpus.partners(rows, of_key.uniform("partner")) if self.positives == "walk" else rows
        clips = ClipLoader(self.corpus, self.settings)
        query, query_times = clips.load(rows, of_query)
        key, key_times = clips.load(partners, of_key)
        names = tuple(self.sampler.names[collection] for collection in indices.collections[mine])
        epoch = float(indices.epochs.mean())
        return PairBatch(step, epoch, names, self.corpus.walks[rows], query, query_times, key, key_times)

    def steps(self, start: int, stop: int, processes: int = 0) -> Iterator[PairBatch]:
        """The pairs of steps start..stop-1, loaded ahead of training: see `prefetch`."""
        return prefetch(self, start, stop, processes)
