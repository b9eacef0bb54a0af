"""One sequence to one clip: choose the frames, move the outlines, draw them once at the encoder's size.

Frame sampling is OpenGait's `fixed_ordered`: a random window of frames + skip consecutive frames, of which `frames` are
kept in order; short sequences wrap around. Augmentation is that of GaitSSB (Fan et al., TPAMI 2023) less its
perspective map: an affine map and a mirror image on the points, dilation and blur of a horizontal band on the pixels;
each step applies to all frames of a clip alike. Everything random comes from the generator that is handed in. Knows
contours, not where they are stored.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from datasets import contours
from datasets.contours import Contours
from datasets.schema import UsageError

HEIGHT, WIDTH = 64, 44  # the field's input size: 64 x 64 less ten columns on each side
_CORNER = 10  # how far, in pixels of a 64-pixel frame, a corner of the random affine map moves
_BAND_TOP, _BAND_BOTTOM = (9, 20), (39, 50)  # rows between which a band begins and ends, both included
_SHAPES = [(cv2.MORPH_RECT, size) for size in ((5, 3), (5, 5), (3, 5))]
_SHAPES += [(kind, size) for kind in (cv2.MORPH_CROSS, cv2.MORPH_ELLIPSE) for size in ((3, 3), (3, 5), (5, 3))]
_BLUR_KEPT = 0.2  # of the blurred value; above it a pixel is body


@dataclass(frozen=True, kw_only=True)
class ClipSettings:
    """How the clips of pretraining are drawn from a sequence; probabilities of the published recipe by default."""

    frames: int = 16  # of a clip; even, since tokens span two
    skip: int = 4  # frames that may be left out in between
    affine: float = 0.2  # probability of a random affine map
    flip: float = 0.5  # probability of a mirror image
    dilate: float = 0.2  # probability that a horizontal band of the body is dilated
    blur: float = 0.2  # probability that a horizontal band is blurred and thresholded again

    def __post_init__(self) -> None:
        if self.frames < 2 or self.frames % 2:
            raise UsageError(f"--clips.frames {self.frames} must be even and at least 2: a token spans two frames")
        if self.skip < 0:
            raise UsageError(f"--clips.skip {self.skip} must not be negative")
        for name in ("affine", "flip", "dilate", "blur"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"--clips.{name} {getattr(self, name)} is a probability: give 0 to 1")


def sample_frames(num_frames: int, settings: ClipSettings, rng: np.random.Generator) -> np.ndarray:
    """Ascending places [frames] in the sequence repeated end to end; place % num_frames is the frame."""
    window = settings.frames + settings.skip
    length = num_frames * -(-window // num_frames)
    start = rng.integers(0, length - window + 1)
    chosen = np.sort(rng.choice(window, settings.frames, replace=False))
    return start + chosen


def frame_times(places: np.ndarray, frame_numbers: np.ndarray) -> np.ndarray:
    """When each place is, in frames from the first one: float32, by the true frame numbers; repeats follow on."""
    count = len(frame_numbers)
    period = frame_numbers[-1] - frame_numbers[0] + 1
    times = frame_numbers[places % count] + period * (places // count)
    return (times - times[0]).astype(np.float32)


def random_clip(
    contour: Contours, frame_numbers: np.ndarray, settings: ClipSettings, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """One augmented clip of a sequence: uint8 0/1 [frames, 64, 44], and the times of its frames, float32 [frames]."""
    places = sample_frames(contour.num_frames, settings, rng)
    lines = contours.outlines(contour, places % contour.num_frames)
    frames = contours.draw(lines, _random_map(contour.grid, settings, rng))
    return _change_bands(to_input(frames), settings, rng), frame_times(places, frame_numbers)


def to_input(frames: np.ndarray) -> np.ndarray:
    """Canonical frames uint8 0/1 [T, G, G] at the encoder's size: uint8 0/1 [T, 64, 44]."""
    grid = frames.shape[1]
    if grid != HEIGHT:
        factor = grid // HEIGHT
        assert grid == factor * HEIGHT, f"grid {grid} is no multiple of {HEIGHT}"
        area = frames.reshape(len(frames), HEIGHT, factor, HEIGHT, factor).sum(axis=(2, 4), dtype=np.uint16)
        frames = (2 * area >= factor * factor).astype(np.uint8)
    margin = (HEIGHT - WIDTH) // 2
    return np.ascontiguousarray(frames[:, :, margin : margin + WIDTH])


def _random_map(grid: int, settings: ClipSettings, rng: np.random.Generator) -> np.ndarray | None:
    """A random affine map of pixel coordinates [2, 3], or None where nothing moves; draws are the same for any grid."""
    affine, flip = rng.random(2)
    matrix = np.eye(3)
    if affine < settings.affine:
        matrix = _corner_map(grid, rng)
    if flip < settings.flip:
        matrix = np.array([[-1.0, 0, grid - 1], [0, 1, 0], [0, 0, 1]]) @ matrix
    return None if np.array_equal(matrix, np.eye(3)) else matrix[:2]


def _corner_map(grid: int, rng: np.random.Generator) -> np.ndarray:
    """The affine map that takes three corners, each moved by up to ten pixels of 64, to three others; [3, 3]."""
    corners = np.array([[0, 0], [HEIGHT, 0], [0, HEIGHT]], dtype=np.float32)
    inwards = np.array([[1, 1], [-1, 1], [1, -1]], dtype=np.float32)
    source, target = (corners + inwards * rng.integers(0, _CORNER, size=(3, 2)) for _ in range(2))
    matrix = np.vstack([cv2.getAffineTransform(source.astype(np.float32), target.astype(np.float32)), [0, 0, 1]])
    scale = grid / HEIGHT
    to_64 = np.array([[1 / scale, 0, 0.5 / scale - 0.5], [0, 1 / scale, 0.5 / scale - 0.5], [0, 0, 1]])
    return np.linalg.inv(to_64) @ matrix @ to_64


def _change_bands(clip: np.ndarray, settings: ClipSettings, rng: np.random.Generator) -> np.ndarray:
    """Dilate a band of rows, then blur another, each or neither. The ends of a band count as borders."""
    dilate, blur = rng.random(2)
    if dilate < settings.dilate:
        band = _band(clip, rng)
        shape, size = _SHAPES[rng.integers(len(_SHAPES))]
        kernel = cv2.getStructuringElement(shape, size)
        _replace(band, cv2.dilate(_stacked(band), kernel))
    if blur < settings.blur:
        band = _band(clip, rng)
        blurred = cv2.GaussianBlur(_stacked(band).astype(np.float32), (3, 3), 0)
        _replace(band, blurred > _BLUR_KEPT)
    return clip


def _band(clip: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A random band of rows of all frames, as a view."""
    top, bottom = (rng.integers(low, high + 1) for low, high in (_BAND_TOP, _BAND_BOTTOM))
    return clip[:, top:bottom]


def _stacked(band: np.ndarray) -> np.ndarray:
    """Frames as channels, so that OpenCV treats them all at once: [rows, columns, T]."""
    return np.ascontiguousarray(band.transpose(1, 2, 0))


def _replace(band: np.ndarray, changed: np.ndarray) -> None:
    band[:] = changed.reshape(band.shape[1], band.shape[2], -1).transpose(2, 0, 1)
