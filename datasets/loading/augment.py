"""How clips are changed at random, after GaitSSB (Fan et al., TPAMI 2023): maps of the plane, and bands of rows.

Affine map, perspective map and mirror image are one homography, for outlines to be moved by
(datasets/contours/raster.py);
dilation and blur are on the pixels of a horizontal band. Beside them, and not in the published recipe: coats and bags,
since both clips of a pair show the same clothes, and nothing else says that clothes are not the person. Each applies to
all frames of a clip alike. Everything random is a function of numbers that are handed in
(datasets/loading/random_numbers.py).
"""

import cv2
import numpy as np

from datasets.loading import random_numbers
from datasets.loading.clips import ClipSettings
from datasets.schema.rows import HEIGHT, WIDTH

_BAND_TOP, _BAND_BOTTOM = (9, 20), (39, 50)  # rows between which a band begins and ends, both included
_SHAPES = [(cv2.MORPH_RECT, size) for size in ((5, 3), (5, 5), (3, 5))]
_SHAPES += [(kind, size) for kind in (cv2.MORPH_CROSS, cv2.MORPH_ELLIPSE) for size in ((3, 3), (3, 5), (5, 3))]
_BLUR_KEPT = 0.2  # of the blurred value; above it a pixel is body
_ERASED = HEIGHT // 4  # rows
_COLLAR, _HEM = (9, 13), (30, 52)  # rows between which a coat begins and ends, both included
_FILLED, _WIDENED = (1, 5), (1, 3)  # pixels: half of the gaps that a coat closes, and what it adds on each side
_BAG_ROWS, _BAG_OFF = (14, 46), 13  # where the middle of a bag is, and how far from the middle column at most
_BAG_WIDE, _BAG_HIGH = (2, 6), (3, 10)  # its half axes in pixels

_CORNERS = np.array([[0, 0], [HEIGHT, 0], [HEIGHT, HEIGHT], [0, HEIGHT]], dtype=np.float32)  # clockwise
_INWARDS = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]], dtype=np.float32)
_THREE = [0, 1, 3]  # of the corners, which an affine map moves
_MIRROR = np.array([[-1.0, 0, HEIGHT - 1], [0, 1, 0], [0, 0, 1]])


def is_moved(numbers: np.ndarray, settings: ClipSettings) -> np.ndarray:
    """Whether the outlines of clips are moved by more than a mirror image: bool [n]. numbers [n, columns]."""
    affine = numbers[:, random_numbers.AFFINE] < settings.affine
    return affine | (numbers[:, random_numbers.PERSPECTIVE] < settings.perspective)


def is_mirrored(numbers: np.ndarray, settings: ClipSettings) -> np.ndarray:
    """Whether clips are mirror images: bool [n]. numbers [n, columns]."""
    return numbers[:, random_numbers.FLIP] < settings.flip


def homography(numbers: np.ndarray, settings: ClipSettings, grid: int) -> np.ndarray:
    """The map of one clip's pixels, [3, 3]; on any grid it is the same map of the picture. numbers [columns]."""
    matrix = np.eye(3)
    if numbers[random_numbers.AFFINE] < settings.affine:
        matrix = _affine(numbers[random_numbers.CORNERS], settings.reach)
    if numbers[random_numbers.PERSPECTIVE] < settings.perspective:
        matrix = _perspective(numbers[random_numbers.QUAD], settings.reach) @ matrix
    if numbers[random_numbers.FLIP] < settings.flip:
        matrix = _MIRROR @ matrix
    to_64 = _to_64(grid)
    return np.linalg.inv(to_64) @ matrix @ to_64


def _affine(numbers: np.ndarray, reach: int) -> np.ndarray:
    """Takes three corners, each moved inwards, to three others: pixels of 64 x 64, [3, 3]. numbers [12]."""
    inwards = (numbers.reshape(2, 3, 2) * reach).astype(np.int64) * _INWARDS[_THREE]
    source, target = (_CORNERS[_THREE] + inwards).astype(np.float32)
    return np.vstack([cv2.getAffineTransform(source, target), [0, 0, 1]])


def _perspective(numbers: np.ndarray, reach: int) -> np.ndarray:
    """Takes a trapezoid as high as the picture to the whole picture: pixels of 64 x 64, [3, 3]. numbers [4]."""
    source = _CORNERS.copy()
    inwards = (numbers * reach).astype(np.int64)
    source[:, 0] += np.where(_INWARDS[:, 0] > 0, inwards, -1 - inwards)  # the last column is 63
    return cv2.getPerspectiveTransform(source, _CORNERS)


def _to_64(grid: int) -> np.ndarray:
    """From pixels of a grid to those of 64 x 64; a pixel is a square, and its coordinates are those of its middle."""
    scale = HEIGHT / grid
    return np.array([[scale, 0, scale / 2 - 0.5], [0, scale, scale / 2 - 0.5], [0, 0, 1]])


def augment_pixels(clip: np.ndarray, numbers: np.ndarray, settings: ClipSettings) -> None:
    """Coat and bag; then dilate a band of rows, blur another, empty a third, each or none, in place.

    The ends of a band are borders. clip: uint8 0/1 [T, 64, 44]. numbers [columns].
    """
    if numbers[random_numbers.COAT] < settings.coat:
        _put_on_coat(clip, numbers[random_numbers.WORN])
    if numbers[random_numbers.BAG] < settings.bag:
        _hang_bag(clip, numbers[random_numbers.CARRIED])
    if numbers[random_numbers.DILATE] < settings.dilate:
        band = _band(clip, numbers[random_numbers.DILATED])
        shape, size = _SHAPES[int(numbers[random_numbers.DILATED][2] * len(_SHAPES))]
        _replace(band, cv2.dilate(_stacked(band), cv2.getStructuringElement(shape, size)))
    if numbers[random_numbers.BLUR] < settings.blur:
        band = _band(clip, numbers[random_numbers.BLURRED])
        blurred = cv2.GaussianBlur(_stacked(band).astype(np.float32), (3, 3), 0)
        _replace(band, blurred > _BLUR_KEPT)
    if numbers[random_numbers.ERASE] < settings.erase:
        top = int(numbers[random_numbers.ERASED][0] * (HEIGHT - _ERASED + 1))
        clip[:, top : top + _ERASED] = 0


def _put_on_coat(clip: np.ndarray, numbers: np.ndarray) -> None:
    """Arms and legs grow together between collar and hem, and the body wider. numbers [4]."""
    limits = (_COLLAR, _HEM, _FILLED, _WIDENED)
    collar, hem, filled, widened = (_within(*pair) for pair in zip(numbers, limits, strict=True))
    band = clip[:, collar:hem]
    gaps = cv2.getStructuringElement(cv2.MORPH_RECT, (2 * filled + 1, 1))
    wider = cv2.getStructuringElement(cv2.MORPH_RECT, (2 * widened + 1, 1))
    _replace(band, cv2.dilate(cv2.morphologyEx(_stacked(band), cv2.MORPH_CLOSE, gaps), wider))


def _hang_bag(clip: np.ndarray, numbers: np.ndarray) -> None:
    """An ellipse of body beside or before the trunk, at the same place in all frames. numbers [4]."""
    row, wide, high = (_within(*pair) for pair in zip(numbers[1:], (_BAG_ROWS, _BAG_WIDE, _BAG_HIGH), strict=True))
    column = WIDTH // 2 + int((2 * numbers[0] - 1) * _BAG_OFF)
    bag = np.zeros(clip.shape[1:], np.uint8)
    cv2.ellipse(bag, (column, row), (wide, high), 0, 0, 360, 1, cv2.FILLED)
    np.maximum(clip, bag, out=clip)


def _within(number: float, limits: tuple[int, int]) -> int:
    """A number in [0, 1) as one of the integers between two limits, both included."""
    low, high = limits
    return low + int(number * (high + 1 - low))


def _band(clip: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """A random band of rows of all frames, as a view."""
    top, bottom = (_within(*pair) for pair in zip(numbers, (_BAND_TOP, _BAND_BOTTOM), strict=False))
    return clip[:, top:bottom]


def _stacked(band: np.ndarray) -> np.ndarray:
    """Frames as channels, so that OpenCV treats them all at once: [rows, columns, T]."""
    return np.ascontiguousarray(band.transpose(1, 2, 0))


def _replace(band: np.ndarray, changed: np.ndarray) -> None:
    band[:] = changed.reshape(band.shape[1], band.shape[2], -1).transpose(2, 0, 1)
