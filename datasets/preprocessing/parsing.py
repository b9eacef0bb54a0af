"""Parsing maps to the canonical grid: the body, cut where two of its parts meet, so that contours show the parts.

A parsing map gives each pixel the number, or the colour, of a part of the body, 0 outside of it. Which part has which
number does not matter here, and differs between releases. The body is cropped, scaled and centred as a silhouette is
(datasets/preprocessing/silhouettes.py), so that the outlines of both are the same. Arrays in, arrays or a reason out:
nothing here knows files or collections.
"""

import cv2
import numpy as np

from datasets.preprocessing import silhouettes
from datasets.preprocessing.silhouettes import Normalised, Placed

GRID = 64  # at which an encoder sees it: a cut of one pixel would not be left of a finer grid
MAX_PARTS = 64  # that a map may have: those in use have 7 to 25, a photograph has hundreds of values


def one_label(image: np.ndarray) -> np.ndarray:
    """The map in an image [H, W] or [H, W, C], int32 [H, W]: several channels are a colour. ValueError for others."""
    if image.dtype.kind not in "buif" or (image.dtype.kind == "f" and not _are_whole(image)):
        raise ValueError(f"values of type {image.dtype} that are no numbers of parts")
    if image.min(initial=0) < 0 or image.max(initial=0) > 65535:
        raise ValueError("numbers of parts below 0 or above 65535")
    labels = image.astype(np.int32)
    if labels.ndim == 2:
        return labels
    if labels.ndim != 3 or not 1 <= labels.shape[2] <= 4:
        raise ValueError(f"an image of shape {image.shape}")
    colours = labels[..., : 3 if labels.shape[2] > 2 else 1]  # without an alpha channel
    return sum(colours[..., place] << (8 * place) for place in range(colours.shape[2]))


def normalise(image: np.ndarray) -> Normalised:
    """One raw map as uint8 0/1 [64, 64], or None with a reason and a detail why the frame is dropped.

    ValueError where it is no map. A frame that shows one part alone is dropped: it may be a silhouette.
    """
    labels = one_label(image)
    size = f"{labels.shape[1]}x{labels.shape[0]} pixels"
    window, placed, reason = place(labels, GRID)
    if placed is None:
        return None, reason, size
    if _count(window) < 2:
        return None, "one part alone", size
    return placed.mask & ~_borders(_spread(window, placed.mask)[None])[0], None, ""


def place(labels: np.ndarray, grid: int) -> tuple[np.ndarray, Placed | None, str | None]:
    """A map [H, W] on the grid, [grid, grid], with where its silhouette lies there; or no place, and the reason."""
    window = np.zeros((grid, grid), labels.dtype)
    placed, reason = silhouettes.place((labels != 0).astype(np.uint8) * 255, grid)
    if placed is not None:
        body = cv2.resize(labels[placed.rows], (placed.width, grid), interpolation=cv2.INTER_NEAREST_EXACT)
        first, last = max(placed.left, 0), min(placed.left + grid, placed.width)
        window[:, first - placed.left : last - placed.left] = body[:, first:last]
    return window, placed, reason


def aligned(labels: np.ndarray) -> np.ndarray:
    """Maps that their owners aligned, int32 [T, H, W] with H 64 or 128, as uint8 0/1 [T, 64, 64].

    No frame is dropped. ValueError for other sizes, and where no frame shows two parts: it may be silhouettes.
    """
    body = silhouettes.aligned_masks(labels != 0)
    margin = (body.shape[2] - labels.shape[2]) // 2
    step = body.shape[1] // GRID
    labels = np.pad(labels, ((0, 0), (0, 0), (margin, margin)))[:, ::step, ::step]
    if len(labels) and max(map(_count, labels)) < 2:
        raise ValueError("no frame with more than one part: silhouettes?")
    return (labels != 0).astype(np.uint8) & ~_borders(labels)


def _spread(window: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """A map in which all of the body has a part: the outline of a mask is smoother, and could bridge a cut."""
    parts, places = np.unique(window, return_inverse=True)
    codes = places.reshape(window.shape).astype(np.uint8)
    near = cv2.dilate(codes, np.ones((3, 3), np.uint8))
    return parts[np.where((codes == 0) & (mask > 0), near, codes)]


def _are_whole(values: np.ndarray) -> bool:
    return bool(np.isfinite(values).all() and (values == np.rint(values)).all())


def _count(labels: np.ndarray) -> int:
    """The number of parts in a map; ValueError for too many."""
    parts = np.count_nonzero(np.unique(labels))
    if parts > MAX_PARTS:
        raise ValueError(f"{parts} different values: more than a body has parts")
    return parts


def _borders(labels: np.ndarray) -> np.ndarray:
    """Pixels whose right or lower neighbour is of another part, in maps [T, H, W]: uint8 0/1, 1 pixel wide."""
    cut = np.zeros(labels.shape, np.uint8)
    for here, next_to_it, out in (
        (labels[:, :, :-1], labels[:, :, 1:], cut[:, :, :-1]),
        (labels[:, :-1], labels[:, 1:], cut[:, :-1]),
    ):
        out |= ((here != next_to_it) & (here != 0) & (next_to_it != 0)).view(np.uint8)
    return cut
