"""The query-key pairs of a step: a rank's slice of the global batch, the same for any number of ranks.

Every clip has a random stream of its own, keyed by (seed, step, place in the global batch, branch), so that workers,
restarts and prefetching change nothing. Joins corpus, order and clips; knows nothing of tensors or of a cluster.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from datasets.clips import ClipSettings, random_clip
from datasets.corpus import Corpus
from datasets.order import GlobalOrder

_CLIPS = 2  # what this stream of random numbers is for; datasets/order.py uses 0 and 1
PREFETCH = 2  # steps drawn ahead of the one in training


@dataclass(frozen=True)
class PairBatch:
    """Query and key clips uint8 0/1 [b, frames, 64, 44] of the same sequences, with the times of their frames."""

    step: int
    collection: str
    epoch: int
    query: np.ndarray
    query_times: np.ndarray
    key: np.ndarray
    key_times: np.ndarray


@dataclass(frozen=True)
class PairLoader:
    """Draws the pairs of one rank of `ranks`; the global batch must divide by `ranks`."""

    corpus: Corpus
    order: GlobalOrder
    settings: ClipSettings
    batch: int
    seed: int
    rank: int = 0
    ranks: int = 1

    def at(self, step: int) -> PairBatch:
        """The pairs of a step."""
        visit = self.order.at(step)
        first_row = _first_row(self.corpus.sizes(), visit.collection)
        share = self.batch // self.ranks
        places = range(self.rank * share, (self.rank + 1) * share)
        branches = [
            [self._clip(first_row + int(visit.rows[place]), step, place, branch) for place in places]
            for branch in (0, 1)
        ]
        (query, query_times), (key, key_times) = (map(np.stack, zip(*clips, strict=True)) for clips in branches)
        return PairBatch(step, visit.collection, visit.epoch, query, query_times, key, key_times)

    def _clip(self, row: int, step: int, place: int, branch: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng((self.seed, _CLIPS, step, place, branch))
        return random_clip(self.corpus.contours(row), self.corpus.frame_numbers(row), self.settings, rng)

    def steps(self, start: int, stop: int) -> Iterator[PairBatch]:
        """The pairs of steps start..stop-1, drawn ahead in a thread beside the training."""
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="pairs") as pool:
            ahead = [pool.submit(self.at, step) for step in range(start, min(start + PREFETCH, stop))]
            for step in range(start, stop):
                if step + PREFETCH < stop:
                    ahead.append(pool.submit(self.at, step + PREFETCH))
                yield ahead.pop(0).result()


def _first_row(sizes: dict[str, int], collection: str) -> int:
    """Where the rows of a collection begin."""
    before = 0
    for name, size in sizes.items():
        if name == collection:
            return before
        before += size
    raise KeyError(collection)
