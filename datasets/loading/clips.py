"""What a training clip is: which frames of a sequence it shows, when they were, and at what size.

Frame sampling is OpenGait's `fixed_ordered`: a random window of frames + skip consecutive frames, of which `frames` are
kept in order; short sequences wrap around. How clips are changed is in datasets/loading/augment.py.
"""

from dataclasses import dataclass

import numpy as np

from datasets.loading.random_numbers import ClipRng
from datasets.schema.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class ClipSettings:
    """How the clips of pretraining are drawn from a sequence; probabilities of the published recipe by default."""

    frames: int = 16  # of a clip; even, since tokens span two
    skip: int = 4  # frames that may be left out in between
    affine: float = 0.2  # probability of a random affine map
    perspective: float = 0.2  # probability of a random perspective map
    reach: int = 10  # pixels of 64 within which these two move a corner: more is stronger
    flip: float = 0.5  # probability of a mirror image
    dilate: float = 0.2  # probability that a horizontal band of the body is dilated
    blur: float = 0.2  # probability that a horizontal band is blurred and thresholded again
    # Beside the published recipe:
    erase: float = 0.0  # probability that a quarter of the rows, next to each other, is emptied
    coat: float = 0.0  # probability that the body wears a coat, from the shoulders to some row of the legs
    bag: float = 0.0  # probability that it carries something: an ellipse, somewhere at the trunk

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
        """Frames that a clip is chosen from."""
        return self.frames + self.skip


def sample_places(num_frames: np.ndarray, settings: ClipSettings, rng: ClipRng) -> np.ndarray:
    """Ascending places [n, frames] in sequences repeated end to end; place % num_frames is the frame.

    num_frames [n].
    """
    window = settings.window
    repeated = num_frames * -(-window // num_frames)
    start = (rng.uniform("start") * (repeated - window + 1)).astype(np.int64)
    kept = np.argpartition(rng.uniform("frames", window), settings.frames - 1, axis=1)[:, : settings.frames]
    return start[:, None] + np.sort(kept, axis=1)


def frame_times(places: np.ndarray, numbers: np.ndarray, num_frames: np.ndarray, periods: np.ndarray) -> np.ndarray:
    """When each place is, in frames from the first one: float32 [n, frames]; repeats of a sequence follow on.

    numbers [n, frames]: the true number of the frame at each place. periods [n]: true numbers from the first frame of
    the sequence to the last, both counted.
    """
    times = numbers + periods[:, None] * (places // num_frames[:, None])
    return (times - times[:, :1]).astype(np.float32)
