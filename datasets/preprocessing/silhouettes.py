"""Masks to the canonical grid: cropped to the body's rows, scaled to the grid's height, centred on the body's mass.

The rules are those of OpenGait's `pretreatment.py` (Fan et al., CVPR 2023), so that numbers compare with the field's;
the result is thresholded, since the store is binary. Masks of aligned releases pass through `aligned_masks` instead: a
second normalisation would move and blur them.
"""

from dataclasses import dataclass
from functools import reduce

import cv2
import numpy as np

RAW_GRID = 128  # what raw masks are normalised to; aligned releases keep their own height
ALIGNED_GRIDS = (64, 128)
MIN_MASS = 10_000  # grey levels summed over the picture, 39 white pixels: with less the frame shows no person
THRESHOLD = 127
_MAX_WIDTH = 1 << 16  # columns after scaling: a body one row high in a wide picture would fill any memory

Normalised = tuple[np.ndarray | None, str, str]  # a mask uint8 0/1 [G, G], or None with a reason and a detail


@dataclass(frozen=True, eq=False)
class Crop:
    """The part of a raw picture that the canonical grid shows.

    rows: those of the body in the picture. width: columns to which these rows are scaled, at the grid's height. left:
    column of the scaled rows at which the grid begins, negative where it begins outside. mask: uint8 0/1 [grid, grid].
    """

    rows: slice
    width: int
    left: int
    mask: np.ndarray


def to_grey(image: np.ndarray) -> np.ndarray:
    """Any mask image [H, W] or [H, W, C], bool, integer or float, as uint8 [H, W] in 0..255.

    Several channels become one by `one_channel`, and the range is told from the values by `to_full_range`. ValueError
    for an image that is not a mask.
    """
    return to_full_range(one_channel(image))


def one_channel(image: np.ndarray) -> np.ndarray:
    """The mask [H, W] in an image [H, W] or [H, W, C]; the last of 2 or 4 channels is alpha. ValueError for others.

    It is the maximum over the colours: most releases repeat the mask in each of them, but a body may have any colour (a
    palette's dark red has no blue). An alpha channel that is not constant is the mask instead: it cuts the body out.
    """
    if image.ndim == 2:
        return image
    if image.ndim != 3 or not 1 <= image.shape[2] <= 4:
        raise ValueError(f"an image of shape {image.shape}")
    channels = [image[..., channel] for channel in range(image.shape[2])]
    if len(channels) in (2, 4):
        alpha = channels.pop()
        if (alpha != alpha[:1, :1]).any():
            return alpha
    return reduce(np.maximum, channels)


def to_full_range(values: np.ndarray) -> np.ndarray:
    """Values of any range as uint8 in 0..255: a maximum of 1 means 0/1, a maximum above 255 means 16 bits.

    ValueError for values that are not a mask: NaN, infinite, negative, or above 65535.
    """
    if values.dtype == np.bool_:
        return values.astype(np.uint8) * 255
    if values.dtype.kind not in "uif":
        raise ValueError(f"values of type {values.dtype}")
    top = values.max(initial=0)
    if values.dtype == np.uint8 and top != 1:
        return values
    if not np.isfinite(top) or values.min(initial=0) < 0 or (values.dtype.kind == "f" and np.isnan(values).any()):
        raise ValueError("values that are NaN, infinite or negative")
    full = 1 if top <= 1 else 255 if top <= 255 else 65535
    if top > 65535:
        raise ValueError(f"values up to {top}")
    return np.rint(values.astype(np.float32) * (255 / full)).astype(np.uint8)


def normalise(grey: np.ndarray, grid: int = RAW_GRID) -> tuple[np.ndarray | None, str]:
    """A raw mask uint8 [H, W] in 0..255 as uint8 0/1 [grid, grid], or None and the reason why the frame is dropped.

    The mask is thresholded before it is measured: OpenGait measures grey values, so that the ringing of a JPEG around
    the head moves its crop. On masks of 0 and 255 the two are the same.
    """
    found, reason = crop(grey, grid)
    return (None if found is None else found.mask), reason


def normalise_frame(frame: np.ndarray) -> Normalised:
    """A raw frame as it was read, [H, W] or [H, W, C], on a grid of RAW_GRID. ValueError where it is not a mask."""
    mask, reason = normalise(to_grey(frame))
    return mask, reason, f"{frame.shape[1]}x{frame.shape[0]} pixels"


def crop(grey: np.ndarray, grid: int) -> tuple[Crop | None, str]:
    """`normalise`, with the crop that it takes: other pictures of the same frame can be cropped alike."""
    _, mask = cv2.threshold(grey, THRESHOLD, 255, cv2.THRESH_BINARY)
    if cv2.sumElems(mask)[0] <= MIN_MASS:
        return None, "nearly empty frame"
    rows = np.flatnonzero(cv2.reduce(mask, 1, cv2.REDUCE_SUM, dtype=cv2.CV_32S))
    span = slice(int(rows[0]), int(rows[-1]) + 1)
    body = mask[span]
    width = int(grid * (body.shape[1] / body.shape[0]))
    if width == 0:
        return None, "frame too narrow"
    if width > _MAX_WIDTH:
        return None, "frame too wide"
    body = cv2.resize(body, (width, grid), interpolation=cv2.INTER_CUBIC)
    centre = _median_column(body)
    if centre == 0:
        return None, "no centre of mass"
    left = centre - grid // 2
    return Crop(span, width, left, _window(body, left)), ""


def _median_column(body: np.ndarray) -> int:
    """The first column up to which, itself included, more than half of the mass lies."""
    mass = cv2.reduce(body, 0, cv2.REDUCE_SUM, dtype=cv2.CV_32S).cumsum()
    return int(mass.searchsorted(mass[-1] // 2, side="right"))


def _window(body: np.ndarray, left: int) -> np.ndarray:
    """The square of a body [grid, width] from column `left` on, thresholded to 0/1; 0 outside of the body's columns."""
    grid, width = body.shape
    mask = np.zeros((grid, grid), dtype=np.uint8)
    first, last = max(left, 0), min(left + grid, width)
    np.greater(body[:, first:last], THRESHOLD, out=mask[:, first - left : last - left].view(bool))
    return mask


def aligned_masks(frames: np.ndarray) -> np.ndarray:
    """Frames that their owners aligned, [T, H, W] of any mask type, as uint8 0/1 [T, H, H].

    H must be one of ALIGNED_GRIDS and W at most H; narrower releases (64 x 44) are centred between empty columns.
    ValueError for other shapes and for values that are not a mask.
    """
    if frames.ndim != 3:
        raise ValueError(f"an array of shape {frames.shape} instead of [frames, height, width]")
    count, height, width = frames.shape
    if height not in ALIGNED_GRIDS or width > height or (height - width) % 2:
        raise ValueError(f"frames of {height}x{width} pixels, not of an aligned release")
    binary = to_full_range(frames) > THRESHOLD
    margin = (height - width) // 2
    out = np.zeros((count, height, height), dtype=np.uint8)
    out[:, :, margin : margin + width] = binary
    return out
