"""Clips drawn from a corpus: frames chosen, moved and changed at random; and steps drawn ahead."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from datasets.contours import raster
from datasets.loading import augment, clips
from datasets.loading.clips import ClipSettings
from datasets.loading.corpus import Corpus
from datasets.loading.random_numbers import ClipRng
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

    def draw(self, rows: np.ndarray, rng: ClipRng) -> tuple[np.ndarray, np.ndarray]:
        """A clip of each row, augmented, uint8 0/1 [n, frames, 64, 44], and the times of its frames, float32."""
        first, count = self.corpus.first_frames[rows], self.corpus.num_frames[rows]
        places = clips.sample_places(count, self.settings, rng)
        frames = first[:, None] + places % count[:, None]
        true = self.corpus.frame_numbers
        periods = true[first + count - 1] - true[first] + 1
        drawn = np.empty((*frames.shape, HEIGHT, WIDTH), dtype=np.uint8)
        movement, grids = augment.movement(rng, self.settings), self.corpus.grids[rows]
        for grid in np.unique(grids).tolist():
            for some in self._at_once(np.flatnonzero(~movement.moved & (grids == grid)), grid):
                _lay_out(self._as_stored(frames[some].ravel(), grid, movement.mirrored[some]), drawn, some)
            for some in self._at_once(np.flatnonzero(movement.moved & (grids == grid)), grid):
                _lay_out(self._moved(frames[some].ravel(), grid, movement.maps[some]), drawn, some)
        augment.augment_pixels(drawn, rng, self.settings)
        return drawn, clips.frame_times(places, true[frames], count, periods)

    def _at_once(self, members: np.ndarray, grid: int) -> list[np.ndarray]:
        """Clips in parts that are drawn together."""
        parts = -(-len(members) * self.settings.frames * grid**2 // _AT_ONCE)
        return np.array_split(members, parts) if parts else []

    def _as_stored(self, frames: np.ndarray, grid: int, mirrored: np.ndarray) -> np.ndarray:
        """Frames of clips or their mirror images, as rows [64, F, 44]. mirrored: bool, of each clip."""
        of_frames = np.repeat(mirrored, self.settings.frames) if mirrored.any() else None
        return downsample(raster.masks(self.corpus.coded.choose(frames, grid), of_frames))

    def _moved(self, frames: np.ndarray, grid: int, maps: np.ndarray) -> np.ndarray:
        """Frames of clips whose outlines are moved, as rows [64, F, 44]. maps: of each clip, see `Movement`."""
        outlines = raster.outlines(self.corpus.coded.choose(frames, grid))
        return downsample(raster.draw(outlines, augment.on_grid(maps, grid), grid))


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
