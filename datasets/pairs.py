"""The query-key pairs of a step: a rank's slice of the global batch, the same for any number of ranks.

What is random about a clip hangs on the seed, the step, its place in the global batch and the branch alone, so that
workers, restarts and prefetching change nothing. Joins corpus, order, clips and augmentation; knows nothing of tensors
or of a cluster.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import numpy as np

from datasets import augment, clips, draws, raster
from datasets.clips import HEIGHT, WIDTH, ClipSettings
from datasets.corpus import Corpus
from datasets.order import GlobalOrder

Positives = Literal["clip", "walk"]
PREFETCH = 2  # steps drawn ahead of the one in training
_AT_ONCE = 1 << 21  # pixels that are drawn together: more do not fit the caches


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
    order: GlobalOrder
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
        numbers = draws.of_pairs(self.seed, step, mine.start, share, self.settings.window)
        partners = self.corpus.partners(rows, numbers[:, 1, draws.PARTNER]) if self.positives == "walk" else rows
        query, query_times = self._clips(rows, numbers[:, 0])
        key, key_times = self._clips(partners, numbers[:, 1])
        names = tuple(self.order.names[collection] for collection in visit.collections[mine])
        epoch = float(visit.epochs.mean())
        return PairBatch(step, epoch, names, self.corpus.walks[rows], query, query_times, key, key_times)

    def _clips(self, rows: np.ndarray, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """A clip of each row, augmented, and the times of its frames."""
        first, count = self.corpus.first_frames[rows], self.corpus.num_frames[rows]
        places = clips.sample_places(count, self.settings, numbers)
        frames = first[:, None] + places % count[:, None]
        true = self.corpus.frame_numbers
        periods = true[first + count - 1] - true[first] + 1
        drawn = np.empty((*frames.shape, HEIGHT, WIDTH), dtype=np.uint8)
        moved, grids = augment.is_moved(numbers, self.settings), self.corpus.grids[rows]
        for grid in np.unique(grids).tolist():
            for alike, draw in ((~moved, self._as_stored), (moved, self._moved)):
                members = np.flatnonzero(alike & (grids == grid))
                for some in np.array_split(members, -(-len(members) * self.settings.frames * grid**2 // _AT_ONCE) or 1):
                    if len(some):
                        _lay_out(draw(frames[some].ravel(), grid, numbers[some]), drawn, some)
        for clip, its in zip(drawn, numbers, strict=True):
            augment.change_bands(clip, its, self.settings)
        return drawn, clips.frame_times(places, true[frames], count, periods)

    def _as_stored(self, frames: np.ndarray, grid: int, numbers: np.ndarray) -> np.ndarray:
        """Frames of clips or their mirror images, as rows [64, F, 44]."""
        mirrored = np.repeat(augment.is_mirrored(numbers, self.settings), self.settings.frames)
        chains = self.corpus.coded.choose(frames, grid)
        return clips.shrunk(raster.masks(chains, mirrored if mirrored.any() else None))

    def _moved(self, frames: np.ndarray, grid: int, numbers: np.ndarray) -> np.ndarray:
        """Frames of clips whose outlines are moved, as rows [64, F, 44]."""
        maps = np.stack([augment.homography(its, self.settings, grid) for its in numbers])
        return clips.shrunk(raster.draw(raster.outlines(self.corpus.coded.choose(frames, grid)), maps, grid))

    def steps(self, start: int, stop: int) -> Iterator[PairBatch]:
        """The pairs of steps start..stop-1, drawn ahead in a thread beside the training."""
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="pairs") as pool:
            ahead = [pool.submit(self.at, step) for step in range(start, min(start + PREFETCH, stop))]
            for step in range(start, stop):
                if step + PREFETCH < stop:
                    ahead.append(pool.submit(self.at, step + PREFETCH))
                yield ahead.pop(0).result()


def _lay_out(rows: np.ndarray, clips_of_all: np.ndarray, members: np.ndarray) -> None:
    """Rows [64, F, 44] of some clips into their places among all clips [n, frames, 64, 44]."""
    frames = clips_of_all.shape[1]
    row = f"V{WIDTH}"  # NumPy copies a whole row of a frame as one item
    for place, member in enumerate(members.tolist()):
        its_rows = rows[:, place * frames : (place + 1) * frames].view(row)[..., 0]
        np.copyto(clips_of_all[member].view(row)[..., 0], its_rows.T)
