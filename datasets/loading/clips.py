"""The settings of training clips, the sampling of their frames, and the times of these.

Frame sampling is OpenGait's `fixed_ordered`: a random window of frames + skip consecutive frames, of which `frames` are
kept in order; short sequences are repeated.
"""

from dataclasses import dataclass

import numpy as np

from datasets.loading.random_numbers import ClipRng
from datasets.schema.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class ClipSettings:
    """How clips are sampled from sequences and augmented; by default with the probabilities of the published recipe."""

    frames: int = 16  # of a clip; even, since tokens span two
    skip: int = 4  # frames that may be left out in between
    affine: float = 0.2  # probability of a random affine map
    perspective: float = 0.2  # probability of a random perspective map
    reach: int = 10  # pixels of 64 within which these two move a corner: more is stronger
    flip: float = 0.5  # probability of a mirror image
    dilate: float = 0.2  # probability that a horizontal band of the body is dilated
    blur: float = 0.2  # probability that a horizontal band is blurred and thresholded again
    # Not in the published recipe:
    erase: float = 0.0  # probability that a quarter of the rows, one below the other, is set to background
    coat: float = 0.0  # probability of a coat: the body is widened from the shoulders to a row of the legs
    bag: float = 0.0  # probability of a bag: an ellipse at the trunk is added to the body

    def __post_init__(self) -> None:
        if self.frames < 2 or self.frames % 2:
            raise UsageError(f"--clips.frames {self.frames} must be even and at least 2: a token spans two frames")
        if self.skip < 0:
            raise UsageError(f"--clips.skip {self.skip} must not be negative")
        if not 1 <= self.reach <= 20:
            raise UsageError(f"--clips.reach {self.reach} must be 1 to 20 pixels of 64: more turns bodies inside out")
        for name in ("affine", "perspective", "flip", "dilate", "blur", "erase", "coat", "bag"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"--clips.{name} {getattr(self, name)} is a probability: give 0 to 1")

    @property
    def window(self) -> int:
        """Consecutive frames from which those of a clip are chosen."""
        return self.frames + self.skip


def sample_positions(num_frames: np.ndarray, settings: ClipSettings, rng: ClipRng) -> np.ndarray:
    """The frames of n clips, as ascending positions in sequences that are repeated end to end: int64 [n, frames].

    position % num_frames is the frame. num_frames: of each sequence, [n].
    """
    window = settings.window
    repeated = num_frames * -(-window // num_frames)
    start = (rng.uniform("start") * (repeated - window + 1)).astype(np.int64)
    kept = np.argpartition(rng.uniform("frames", window), settings.frames - 1, axis=1)[:, : settings.frames]
    return start[:, None] + np.sort(kept, axis=1)


def frame_times(positions: np.ndarray, numbers: np.ndarray, num_frames: np.ndarray, periods: np.ndarray) -> np.ndarray:
    """The times of the frames of clips, in frames since the first one of the clip: float32 [n, frames].

    Args:
        positions: int [n, frames], as from `sample_positions`.
        numbers: [n, frames], the number on disk of the frame at each position, which counts dropped frames too.
        num_frames: of each sequence, [n].
        periods: [n], frames from the first of a sequence to its last by their numbers: what a repetition adds.
    """
    times = numbers + periods[:, None] * (positions // num_frames[:, None])
    return (times - times[:, :1]).astype(np.float32)
