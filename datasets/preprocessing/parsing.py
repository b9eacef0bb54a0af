"""Parsing maps to the canonical grid: the body, cut where two of its parts meet, so that contours show the parts.

A parsing map gives each pixel the number, or the colour, of a part of the body, 0 outside of it. Which part has which
number differs between releases and makes no difference here. The body is cropped, scaled and centred as a silhouette is
(datasets/preprocessing/silhouettes.py), so that both have the same outline.
"""

from collections.abc import Sequence
from functools import reduce

import cv2
import numpy as np

from datasets.preprocessing import silhouettes
from datasets.preprocessing.silhouettes import Aligned, Crop, Normalised, is_aligned
from datasets.schema.rows import HEIGHT

GRID = HEIGHT  # the encoder's height: a cut of one pixel in a finer grid would be lost on the way to the encoder
MAX_PARTS = 64  # of a map: maps in use have 7 to 25, a photograph has hundreds of values


def to_labels(image: np.ndarray) -> np.ndarray:
    """An image [H, W] or [H, W, C] as a map, int32 [H, W]; several channels are a colour. ValueError for others."""
    if image.dtype.kind not in "buif" or (image.dtype.kind == "f" and not _are_whole(image)):
        raise ValueError(f"values of type {image.dtype} that are not numbers of parts")
    if image.min(initial=0) < 0 or image.max(initial=0) > 65535:
        raise ValueError("numbers of parts below 0 or above 65535")
    labels = image.astype(np.int32)
    if labels.ndim == 2:
        return labels
    if labels.ndim != 3 or not 1 <= labels.shape[2] <= 4:
        raise ValueError(f"an image of shape {image.shape}")
    colours = labels[..., : 3 if labels.shape[2] > 2 else 1]  # without an alpha channel
    return reduce(np.add, [colours[..., channel] << (8 * channel) for channel in range(colours.shape[2])])


def normalise(image: np.ndarray) -> Normalised:
    """One raw map as uint8 0/1 [GRID, GRID], or None with the reason and a detail why the frame is dropped.

    A frame that shows one part alone is dropped, since it may be a silhouette. ValueError where it is not a map.
    """
    labels = to_labels(image)
    size = f"{labels.shape[1]}x{labels.shape[0]} pixels"
    window, found, reason = crop(labels, GRID)
    if found is None:
        return Normalised(None, reason, size)
    if _count(window) < 2:
        return Normalised(None, "one part alone", size)
    return Normalised(found.mask & ~_borders(_spread(window, found.mask)[None])[0])


def crop(labels: np.ndarray, grid: int) -> tuple[np.ndarray, Crop | None, str]:
    """A map [H, W] on the grid, [grid, grid], with the crop of its silhouette; or zeros, None and the reason."""
    window = np.zeros((grid, grid), labels.dtype)
    found, reason = silhouettes.crop((labels != 0).astype(np.uint8) * 255, grid)
    if found is not None:
        body = cv2.resize(labels[found.rows], (found.width, grid), interpolation=cv2.INTER_NEAREST_EXACT)
        first, last = max(found.left, 0), min(found.left + grid, found.width)
        window[:, first - found.left : last - found.left] = body[:, first:last]
    return window, found, reason


def aligned_masks(maps: Sequence[np.ndarray]) -> Aligned:
    """Maps that their owners aligned, [H, W] or [H, W, C] of one size, on a grid of GRID; no frame is dropped.

    ValueError for sizes that `silhouettes.aligned_masks` refuses, and where no frame shows two parts: the frames may be
    silhouettes.
    """
    labels = np.stack([to_labels(one) for one in maps])
    _, height, width = labels.shape
    if not is_aligned((height, width)):
        raise ValueError(f"frames of {height}x{width} pixels, not of an aligned release")
    margin, step = (height - width) // 2, height // GRID
    labels = np.pad(labels, ((0, 0), (0, 0), (margin, margin)))[:, ::step, ::step]
    if len(labels) and max(map(_count, labels)) < 2:
        raise ValueError("no frame with more than one part: silhouettes?")
    return Aligned((labels != 0).astype(np.uint8) & ~_borders(labels))


def _spread(window: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """A map in which every pixel of the mask has a part: the mask's outline is smoother, and could bridge a cut."""
    parts, indices = np.unique(window, return_inverse=True)
    codes = indices.reshape(window.shape).astype(np.uint8)
    near = cv2.dilate(codes, np.ones((3, 3), np.uint8))
    return parts[np.where((codes == 0) & (mask > 0), near, codes)]


def _are_whole(values: np.ndarray) -> bool:
    return bool(np.isfinite(values).all() and (values == np.rint(values)).all())


def _count(labels: np.ndarray) -> int:
    """The number of parts in a map; ValueError for too many."""
    parts = int(np.count_nonzero(np.unique(labels)))
    if parts > MAX_PARTS:
        raise ValueError(f"{parts} different values: more than a body has parts")
    return parts


def _borders(labels: np.ndarray) -> np.ndarray:
    """Pixels whose right or lower neighbour is of another part, in maps [T, H, W]: uint8 0/1, 1 pixel wide."""
    cut = np.zeros(labels.shape, np.uint8)
    for here, neighbour, out in (
        (labels[:, :, :-1], labels[:, :, 1:], cut[:, :, :-1]),
        (labels[:, :-1], labels[:, 1:], cut[:, :-1]),
    ):
        out |= ((here != neighbour) & (here != 0) & (neighbour != 0)).view(np.uint8)
    return cut
