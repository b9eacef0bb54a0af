"""The query-key pairs of a step: a rank's slice of the global batch, the same for any number of ranks.

What is random about a clip hangs on the seed, the step, its place in the global batch and the branch alone, so that
workers, restarts and prefetching change nothing. Joins order and clips (datasets/loading/clip_loader.py); knows
nothing of tensors or of a cluster.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from datasets.loading.clip_loader import ClipDrawer, prefetch
from datasets.loading.clips import ClipSettings
from datasets.loading.corpus import Corpus
from datasets.loading.random_numbers import ClipRng
from datasets.loading.sampler import GlobalSampler

Positives = Literal["clip", "walk"]


@dataclass(frozen=True)
class PairBatch:
    """Query and key clips uint8 0/1 [b, frames, 64, 44], with the times of their frames, float32 [b, frames].

    collections: of each pair. walks int64 [b]: the recorded walk of each pair; where two are equal, their clips show
    one person at one time and are no negatives of each other. epoch: the mean over the global batch.
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
    """Draws the pairs of one rank of `ranks`; the global batch must divide by `ranks`.

    positives: whether a key is another clip of the sequence (`clip`), or one of another camera's sequence of the same
    recorded walk (`walk`; of the same sequence where no other camera filmed it).
    """

    corpus: Corpus
    order: GlobalSampler
    settings: ClipSettings
    batch: int
    seed: int
    rank: int = 0
    ranks: int = 1
    positives: Positives = "clip"

    def at(self, step: int) -> PairBatch:
        """The pairs of a step."""
        visit = self.order.at(step)
        share = self.batch // self.ranks
        mine = slice(self.rank * share, (self.rank + 1) * share)
        sizes = self.corpus.sizes()
        first_row = np.cumsum([0, *(sizes[name] for name in self.order.names)])
        rows = (first_row[visit.collections] + visit.rows)[mine]
        of_query, of_key = (ClipRng("pairs", self.seed, step, mine.start, share, branch) for branch in (0, 1))
        partners = self.corpus.partners(rows, of_key.uniform("partner")) if self.positives == "walk" else rows
        drawer = ClipDrawer(self.corpus, self.settings)
        query, query_times = drawer.draw(rows, of_query)
        key, key_times = drawer.draw(partners, of_key)
        names = tuple(self.order.names[collection] for collection in visit.collections[mine])
        epoch = float(visit.epochs.mean())
        return PairBatch(step, epoch, names, self.corpus.walks[rows], query, query_times, key, key_times)

    def steps(self, start: int, stop: int) -> Iterator[PairBatch]:
        """The pairs of steps start..stop-1, drawn ahead in a thread beside the training."""
        return prefetch(self.at, start, stop)
