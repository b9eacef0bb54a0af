"""Masks to the canonical grid: cropped to the body's rows, scaled to the grid's height, centred on the body's mass.

The rules are those of OpenGait's `pretreatment.py` (Fan et al., CVPR 2023), so that numbers compare with the field's;
the result is thresholded, since the store is binary. Masks of aligned releases pass through `aligned_masks` instead: a
second normalisation would move and blur them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from datasets.preprocessing import binary
from datasets.preprocessing.binary import THRESHOLD
from datasets.preprocessing.bodies import SEVERAL, frames_of_several, main_body
from datasets.preprocessing.shapes import NO_BODY, is_box, most_show, what_else
from datasets.schema.errors import Unreadable
from datasets.schema.reading import BODIES, NOTHING, Notes

RAW_GRID = 128  # what raw masks are normalised to; aligned releases keep their own height
ALIGNED_GRIDS = (64, 128)
_LOW = 0.75  # of its frame's height a body has less if nobody aligned it; those of CASIA-B have 0.95 and more
MIN_MASS = 10_000  # grey levels summed over the picture, 39 white pixels: with less the frame shows no person
_MAX_WIDTH = 1 << 16  # columns after scaling: a body one row high in a wide picture would fill any memory


@dataclass(frozen=True, eq=False)
class Normalised:
    """One frame on the canonical grid: a mask uint8 0/1 [G, G], or None with a reason and a detail."""

    mask: np.ndarray | None
    reason: str = ""
    detail: str = ""
    notes: Notes = NOTHING


@dataclass(frozen=True, eq=False)
class Aligned:
    """All frames of an aligned sequence. masks: uint8 0/1 [T, G, G]."""

    masks: np.ndarray
    notes: Notes = NOTHING


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


def normalise(grey: np.ndarray, grid: int = RAW_GRID) -> tuple[np.ndarray | None, str]:
    """A raw mask uint8 [H, W] in 0..255 as uint8 0/1 [grid, grid], or None and the reason why the frame is dropped.

    The mask is thresholded before it is measured: OpenGait measures grey values, so that the ringing of a JPEG around
    the head moves its crop. On masks of 0 and 255 the two are the same.
    """
    found, reason = crop(grey, grid)
    return (None if found is None else found.mask), reason


def normalise_frame(frame: np.ndarray, inverted: bool = False) -> Normalised:
    """A raw frame as it was read, [H, W] or [H, W, C], on a grid of RAW_GRID, its main body alone.

    inverted: the body is darker than the background. ValueError where it is not a mask.
    """
    size = f"{frame.shape[1]}x{frame.shape[0]} pixels"
    try:
        found = binary.from_image(frame, inverted)
        alone, is_smaller = main_body(found.mask)
    except Unreadable as error:
        return Normalised(None, error.reason, f"{size}: {error.detail}")
    if what := what_else(alone):
        return Normalised(None, NO_BODY, f"{size}: {what}")
    mask, reason = normalise(alone)
    notes = found.notes | ({(BODIES, "others removed")} if is_smaller else NOTHING)
    notes |= {(BODIES, "filled boxes")} if is_box(alone) else NOTHING
    return Normalised(mask, reason, size, notes)


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


def aligned_masks(frames: Sequence[np.ndarray], inverted: bool = False) -> Aligned:
    """Frames that their owners aligned, [H, W] or [H, W, C] of one size, on a grid of their height, without a change.

    H must be one of ALIGNED_GRIDS and W at most H; narrower releases (64 x 44) are centred between empty columns.
    ValueError for other sizes and for values that are not a mask. Unreadable where body and background seem exchanged,
    and where most of the frames show several bodies, or none.
    """
    height, width = frames[0].shape[:2]
    if not is_aligned((height, width)):
        raise ValueError(f"frames of {height}x{width} pixels, not of an aligned release")
    if all(frame.ndim == 2 for frame in frames):
        found = binary.from_values(np.stack(frames), inverted)  # together, so that all frames have the same values
    else:
        each = [binary.from_image(frame, inverted) for frame in frames]
        notes = NOTHING.union(*(one.notes for one in each))
        found = binary.Binary(np.stack([one.mask for one in each]), notes)
    margin = (height - width) // 2
    out = np.zeros((len(frames), height, height), dtype=np.uint8)
    np.greater(found.mask, 0, out=out[:, :, margin : margin + width].view(bool))
    if what := most_show(out):
        raise Unreadable(NO_BODY, f"most of {len(out)} frames show {what}")
    several = len(frames_of_several(out))
    if several > len(out) / 2:
        raise Unreadable(SEVERAL, f"{several} of {len(out)} frames have two: which is the walker?")
    return Aligned(out, found.notes | ({(BODIES, "several in some frames")} if several else NOTHING))


def is_aligned(size: tuple[int, ...]) -> bool:
    """Whether frames of a size (height, width) can be those of an aligned release."""
    height, width = size
    return height in ALIGNED_GRIDS and width <= height and (height - width) % 2 == 0


def fill_their_height(masks: np.ndarray) -> bool:
    """Whether most bodies are about as high as their frames, as aligned ones are; masks: [T, G, G], not 0 on bodies."""
    rows = np.asarray(masks.any(axis=2))
    seen = rows[rows.any(axis=1)]
    heights = seen.shape[1] - seen.argmax(axis=1) - seen[:, ::-1].argmax(axis=1)
    return not len(seen) or bool(np.median(heights) >= _LOW * seen.shape[1])
