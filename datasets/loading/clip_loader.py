"""Load clips from the corpus: sample frames, rasterise their contours, augment them."""

from dataclasses import dataclass

import numpy as np

from datasets.contours import raster
from datasets.loading import augment, clips
from datasets.loading.clips import ClipSettings
from datasets.loading.corpus import Corpus
from datasets.loading.random_numbers import ClipRng
from datasets.preprocessing.encoder_input import downsample
from datasets.schema.rows import HEIGHT, WIDTH

_PIXELS_AT_ONCE = 1 << 21  # rasterised together: more do not fit the caches


@dataclass(frozen=True)
class ClipLoader:
    """Loads augmented clips of the sequences of a corpus."""

    corpus: Corpus
    settings: ClipSettings

    def load(self, rows: np.ndarray, rng: ClipRng) -> tuple[np.ndarray, np.ndarray]:
        """A clip of each row, uint8 0/1 [n, frames, 64, 44], and the times of its frames, float32 [n, frames]."""
        first, count = self.corpus.first_frames[rows], self.corpus.num_frames[rows]
        positions = clips.sample_positions(count, self.settings, rng)
        frames = first[:, None] + positions % count[:, None]
        numbers = self.corpus.frame_numbers
        periods = numbers[first + count - 1] - numbers[first] + 1
        loaded = np.empty((*frames.shape, HEIGHT, WIDTH), dtype=np.uint8)
        movement, grids = augment.movement(rng, self.settings), self.corpus.grids[rows]
        for grid in np.unique(grids).tolist():
            for some in self._chunks(np.flatnonzero(~movement.moved & (grids == grid)), grid):
                _scatter(self._rasterise(frames[some].ravel(), grid, movement.mirrored[some]), loaded, some)
            for some in self._chunks(np.flatnonzero(movement.moved & (grids == grid)), grid):
                _scatter(self._rasterise_moved(frames[some].ravel(), grid, movement.maps[some]), loaded, some)
        augment.augment_pixels(loaded, rng, self.settings)
        return loaded, clips.frame_times(positions, numbers[frames], count, periods)

    def _chunks(self, members: np.ndarray, grid: int) -> list[np.ndarray]:
        """Indices of clips, in chunks that are rasterised together."""
        count = -(-len(members) * self.settings.frames * grid**2 // _PIXELS_AT_ONCE)
        return np.array_split(members, count) if count else []

    def _rasterise(self, frames: np.ndarray, grid: int, mirrored: np.ndarray) -> np.ndarray:
        """Frames [F] of clips, or their mirror images, as masks [64, F, 44]. mirrored: bool, of each clip."""
        of_frames = np.repeat(mirrored, self.settings.frames) if mirrored.any() else None
        return downsample(raster.masks(self.corpus.coded.choose(frames, grid), of_frames))

    def _rasterise_moved(self, frames: np.ndarray, grid: int, maps: np.ndarray) -> np.ndarray:
        """Frames [F] of clips whose outlines are moved, as masks [64, F, 44]. maps: of each clip, see `Movement`."""
        outlines = raster.outlines(self.corpus.coded.choose(frames, grid))
        return downsample(raster.draw(outlines, augment.on_grid(maps, grid), grid))


def _scatter(masks: np.ndarray, loaded: np.ndarray, members: np.ndarray) -> None:
    """Copy the masks [64, F, 44] of some clips to their positions among all clips [n, frames, 64, 44]."""
    frames = loaded.shape[1]
    row = f"V{WIDTH}"  # NumPy copies a whole row of a frame as one item
    for index, member in enumerate(members.tolist()):
        of_clip = masks[:, index * frames : (index + 1) * frames].view(row)[..., 0]
        np.copyto(loaded[member].view(row)[..., 0], of_clip.T)
