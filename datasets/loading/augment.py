"""Random augmentations of clips, after GaitSSB (Fan et al., TPAMI 2023); each applies to all frames of a clip alike.

Affine map, perspective map and mirror image are one homography, which moves outlines (datasets/contours/raster.py), so
that nothing is interpolated. Dilation, blur, erasing, coats and bags change pixels; the last three are not in the
published recipe. Coats and bags are there because both clips of a pair show the same clothes: without them nothing
teaches the network that clothes are not the person.

To add an augmentation of pixels, add its probability to ClipSettings, a function here, and its row to
`_PIXEL_AUGMENTATIONS`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from datasets.loading.clips import ClipSettings
from datasets.loading.random_numbers import ClipRng
from datasets.schema.rows import HEIGHT, WIDTH

_BAND_TOP, _BAND_BOTTOM = (9, 20), (39, 50)  # rows between which a band begins and ends, both included
_KERNELS = [(cv2.MORPH_RECT, size) for size in ((5, 3), (5, 5), (3, 5))]
_KERNELS += [(shape, size) for shape in (cv2.MORPH_CROSS, cv2.MORPH_ELLIPSE) for size in ((3, 3), (3, 5), (5, 3))]
_BLUR_THRESHOLD = 0.2  # above it a blurred pixel is body
_ERASED = HEIGHT // 4  # rows
_COLLAR, _HEM = (9, 13), (30, 52)  # rows between which a coat begins and ends, both included
_FILLED, _WIDENED = (1, 5), (1, 3)  # pixels: half of the gaps that a coat closes, and its thickness on each side
_BAG_ROWS, _BAG_OFFSET = (14, 46), 13  # row of a bag's centre, and its largest distance from the middle column
_BAG_WIDE, _BAG_HIGH = (2, 6), (3, 10)  # half axes of a bag in pixels

_CORNERS = np.array([[0, 0], [HEIGHT, 0], [HEIGHT, HEIGHT], [0, HEIGHT]], dtype=np.float32)  # clockwise
_INWARDS = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]], dtype=np.float32)
_THREE = [0, 1, 3]  # of the corners, which an affine map moves
_MIRROR = np.array([[-1.0, 0, HEIGHT - 1], [0, 1, 0], [0, 0, 1]])


@dataclass(frozen=True)
class Movement:
    """The homographies of n clips.

    maps: float [n, 3, 3], in pixels of 64 x 64; see `on_grid`. moved: bool [n], clips whose outlines are moved by more
    than a mirror image. mirrored: bool [n]; clips that are only mirrored are rasterised without their outlines, which
    is faster.
    """

    maps: NDArray[np.float64]
    moved: NDArray[np.bool_]
    mirrored: NDArray[np.bool_]


def movement(rng: ClipRng, settings: ClipSettings) -> Movement:
    """Draw the homography of each clip: affine map, perspective map and mirror image, each with its probability."""
    maps = np.tile(np.eye(3), (rng.count, 1, 1))
    affine, perspective, mirrored = (chosen(rng, settings, name) for name in ("affine", "perspective", "flip"))
    if affine.any():
        corners = rng.uniform("affine/corners", 12)
        maps[affine] = [_affine(one, settings.reach) for one in corners[affine]]
    if perspective.any():
        edges = rng.uniform("perspective/edges", 4)
        maps[perspective] = [_perspective(one, settings.reach) for one in edges[perspective]] @ maps[perspective]
    maps[mirrored] = _MIRROR @ maps[mirrored]
    return Movement(maps, affine | perspective, mirrored)


def chosen(rng: ClipRng, settings: ClipSettings, name: str) -> NDArray[np.bool_]:
    """The clips that an augmentation is drawn for, by its probability in the settings: bool [n]."""
    probability = getattr(settings, name)
    return rng.uniform(name) < probability if probability else np.zeros(rng.count, dtype=np.bool_)


def on_grid(maps: NDArray[np.float64], grid: int) -> NDArray[np.float64]:
    """Homographies in pixels of 64 x 64 as the same ones in pixels of grid x grid: float [n, 3, 3]."""
    to_64 = _to_64(grid)
    return np.linalg.inv(to_64) @ maps @ to_64


def _affine(numbers: np.ndarray, reach: int) -> np.ndarray:
    """The map from three corners, each moved inwards, to three others: pixels of 64 x 64, [3, 3]. numbers [12]."""
    inwards = (numbers.reshape(2, 3, 2) * reach).astype(np.int64) * _INWARDS[_THREE]
    source, target = (_CORNERS[_THREE] + inwards).astype(np.float32)
    return np.vstack([cv2.getAffineTransform(source, target), [0, 0, 1]])


def _perspective(numbers: np.ndarray, reach: int) -> np.ndarray:
    """The map from a trapezoid as high as the picture to the whole picture: pixels of 64 x 64, [3, 3]. numbers [4]."""
    source = _CORNERS.copy()
    inwards = (numbers * reach).astype(np.int64)
    source[:, 0] += np.where(_INWARDS[:, 0] > 0, inwards, -1 - inwards)  # the last column is 63
    return cv2.getPerspectiveTransform(source, _CORNERS)


def _to_64(grid: int) -> np.ndarray:
    """The map from pixels of a grid to those of 64 x 64; coordinates of a pixel are those of its centre: [3, 3]."""
    scale = HEIGHT / grid
    return np.array([[scale, 0, scale / 2 - 0.5], [0, scale, scale / 2 - 0.5], [0, 0, 1]])


def augment_pixels(clips: NDArray[np.uint8], rng: ClipRng, settings: ClipSettings) -> None:
    """Apply each pixel augmentation to the clips that it is drawn for, in place, in the order of the table below.

    clips: uint8 0/1 [n, T, 64, 44].
    """
    for name, width, apply in _PIXEL_AUGMENTATIONS:
        members = np.flatnonzero(chosen(rng, settings, name))
        if len(members):
            numbers = rng.uniform(f"{name}/how", width)
            for clip in members:
                apply(clips[clip], numbers[clip])


def _put_on_coat(clip: NDArray[np.uint8], numbers: NDArray[np.float64]) -> None:
    """Close the gaps between arms, legs and trunk from collar to hem, and widen the body there. numbers [4]."""
    limits = (_COLLAR, _HEM, _FILLED, _WIDENED)
    collar, hem, filled, widened = (_within(*pair) for pair in zip(numbers, limits, strict=True))
    band = clip[:, collar:hem]
    gaps = cv2.getStructuringElement(cv2.MORPH_RECT, (2 * filled + 1, 1))
    wider = cv2.getStructuringElement(cv2.MORPH_RECT, (2 * widened + 1, 1))
    _replace(band, cv2.dilate(cv2.morphologyEx(_stacked(band), cv2.MORPH_CLOSE, gaps), wider))


def _hang_bag(clip: NDArray[np.uint8], numbers: NDArray[np.float64]) -> None:
    """Add an ellipse at the trunk, the same in all frames. numbers [4]."""
    row, wide, high = (_within(*pair) for pair in zip(numbers[1:], (_BAG_ROWS, _BAG_WIDE, _BAG_HIGH), strict=True))
    column = WIDTH // 2 + int((2 * numbers[0] - 1) * _BAG_OFFSET)
    bag = np.zeros(clip.shape[1:], np.uint8)
    cv2.ellipse(bag, (column, row), (wide, high), 0, 0, 360, 1, cv2.FILLED)
    np.maximum(clip, bag, out=clip)


def _dilate(clip: NDArray[np.uint8], numbers: NDArray[np.float64]) -> None:
    """Dilate a band of rows on its own, as if nothing were above and below. numbers [3]."""
    band = _band(clip, numbers)
    shape, size = _KERNELS[int(numbers[2] * len(_KERNELS))]
    _replace(band, cv2.dilate(_stacked(band), cv2.getStructuringElement(shape, size)))


def _blur(clip: NDArray[np.uint8], numbers: NDArray[np.float64]) -> None:
    """Blur a band of rows on its own and threshold it again. numbers [2]."""
    band = _band(clip, numbers)
    blurred = cv2.GaussianBlur(_stacked(band).astype(np.float32), (3, 3), 0)
    _replace(band, blurred > _BLUR_THRESHOLD)


def _erase(clip: NDArray[np.uint8], numbers: NDArray[np.float64]) -> None:
    """Set a quarter of the rows to background. numbers [1]."""
    top = int(numbers[0] * (HEIGHT - _ERASED + 1))
    clip[:, top : top + _ERASED] = 0


# The field of ClipSettings with the probability, how many random numbers the function takes, and the function.
_PIXEL_AUGMENTATIONS: tuple[tuple[str, int, Callable[[NDArray[np.uint8], NDArray[np.float64]], None]], ...] = (
    ("coat", 4, _put_on_coat),
    ("bag", 4, _hang_bag),
    ("dilate", 3, _dilate),
    ("blur", 2, _blur),
    ("erase", 1, _erase),
)


def _within(number: float, limits: tuple[int, int]) -> int:
    """A number in [0, 1) as an integer between two limits, both included."""
    low, high = limits
    return low + int(number * (high + 1 - low))


def _band(clip: NDArray[np.uint8], numbers: NDArray[np.float64]) -> NDArray[np.uint8]:
    """A random band of rows of all frames, as a view."""
    top, bottom = (_within(*pair) for pair in zip(numbers, (_BAND_TOP, _BAND_BOTTOM), strict=False))
    return clip[:, top:bottom]


def _stacked(band: np.ndarray) -> np.ndarray:
    """Frames as channels, so that OpenCV filters all at once: [rows, columns, T]."""
    return np.ascontiguousarray(band.transpose(1, 2, 0))


def _replace(band: np.ndarray, changed: np.ndarray) -> None:
    band[:] = changed.reshape(band.shape[1], band.shape[2], -1).transpose(2, 0, 1)
