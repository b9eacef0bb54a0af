"""Clips drawn from a corpus: frames chosen, moved and changed by the numbers that are handed in; and steps drawn ahead.

What is random is a function of those numbers alone (datasets/loading/random_numbers.py). Joins corpus, clips and
augmentation; knows neither which sequences a step visits, nor what a clip is for.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from datasets.contours import raster
from datasets.loading import augment, clips
from datasets.loading.clips import ClipSettings
from datasets.loading.corpus import Corpus
from datasets.preprocessing.encoder_input import downsample
from datasets.schema.rows import HEIGHT, WIDTH

PREFETCH = 2  # steps drawn ahead of the one in training
_AT_ONCE = 1 << 21  # pixels that are drawn together: more do not fit the caches

Batch = TypeVar("Batch")


@dataclass(frozen=True)
class ClipDrawer:
    """Draws clips of the sequences of a corpus."""

    corpus: Corpus
    settings: ClipSettings

    def draw(self, rows: np.ndarray, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """A clip of each row, augmented, uint8 0/1 [n, frames, 64, 44], and the times of its frames, float32.

        numbers: [n, columns], see datasets/loading/random_numbers.py.
        """
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
            augment.augment_pixels(clip, its, self.settings)
        return drawn, clips.frame_times(places, true[frames], count, periods)

    def _as_stored(self, frames: np.ndarray, grid: int, numbers: np.ndarray) -> np.ndarray:
        """Frames of clips or their mirror images, as rows [64, F, 44]."""
        mirrored = np.repeat(augment.is_mirrored(numbers, self.settings), self.settings.frames)
        chains = self.corpus.coded.choose(frames, grid)
        return downsample(raster.masks(chains, mirrored if mirrored.any() else None))

    def _moved(self, frames: np.ndarray, grid: int, numbers: np.ndarray) -> np.ndarray:
        """Frames of clips whose outlines are moved, as rows [64, F, 44]."""
        maps = np.stack([augment.homography(its, self.settings, grid) for its in numbers])
        return downsample(raster.draw(raster.outlines(self.corpus.coded.choose(frames, grid)), maps, grid))


def prefetch(at: Callable[[int], Batch], start: int, stop: int) -> Iterator[Batch]:
    """What `at` gives for steps start..stop-1, drawn ahead in a thread beside the training."""
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="clips") as pool:
        drawn = [pool.submit(at, step) for step in range(start, min(start + PREFETCH, stop))]
        for step in range(start, stop):
            if step + PREFETCH < stop:
                drawn.append(pool.submit(at, step + PREFETCH))
            yield drawn.pop(0).result()


def _lay_out(rows: np.ndarray, clips_of_all: np.ndarray, members: np.ndarray) -> None:
    """Rows [64, F, 44] of some clips into their places among all clips [n, frames, 64, 44]."""
    frames = clips_of_all.shape[1]
    row = f"V{WIDTH}"  # NumPy copies a whole row of a frame as one item
    for place, member in enumerate(members.tolist()):
        its_rows = rows[:, place * frames : (place + 1) * frames].view(row)[..., 0]
        np.copyto(clips_of_all[member].view(row)[..., 0], its_rows.T)
