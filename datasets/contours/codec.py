"""Masks to contours and back, bit for bit: outlines are stored as chain codes and drawn again.

    masks [T, G, G]  --encode-->  Contours  --decode-->  the same masks

A contour is the closed 8-connected path over the border pixels of a body or of a hole (OpenCV's RETR_CCOMP); even-odd
filling of all contours of a frame, borders included, gives the frame back. Chain codes after Freeman (1961), two steps
a byte. All frames of a sequence are stacked into one tall picture, so that OpenCV is called once a sequence and not
once a frame.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from datasets.contours import raster
from datasets.contours.chains import CODE_OF_STEP, CodedFrames, offsets

MAX_GRID = 256  # a start point y * grid + x must fit 16 bits
_CHUNK = 512  # frames that are decoded together: more do not fit the caches


@dataclass(frozen=True, eq=False)
class Contours:
    """The contours of one sequence of T frames, in the columns of the row (datasets/schema/rows.py).

    counts [T]: contours of each frame. starts [C]: first point, y * grid + x. lengths [C]: points of each contour.
    chain [ceil(sum(lengths - 1) / 2)]: steps from point to point, low half of the byte first; the step that closes a
    contour is not stored.
    """

    grid: int
    counts: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray
    chain: np.ndarray

    @property
    def num_frames(self) -> int:
        return len(self.counts)


def encode(masks: np.ndarray) -> Contours:
    """Contours of a sequence. masks: [T, G, G], non-zero = body; G at most 256."""
    frames, height, width = masks.shape
    assert height == width <= MAX_GRID, f"masks must be square, at most {MAX_GRID} pixels: {masks.shape}"
    tall = np.zeros((frames, height + 1, width), dtype=np.uint8)  # one empty row keeps neighbouring frames apart
    np.not_equal(masks, 0, out=tall[:, :height].view(bool))
    found, _ = cv2.findContours(tall.reshape(-1, width), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    if not found:
        empty = np.zeros(0, dtype=np.uint16)
        return Contours(height, np.zeros(frames, np.uint16), empty, empty.astype(np.uint32), np.zeros(0, np.uint8))
    found = found[::-1]  # OpenCV lists them from the last row up; a stable sort below puts frames in order
    lengths = np.fromiter(map(len, found), dtype=np.int64, count=len(found))
    frame_of = np.fromiter((c[0, 0, 1] for c in found), dtype=np.int64, count=len(found)) // (height + 1)
    order = np.argsort(frame_of, kind="stable")
    lengths, frame_of = lengths[order], frame_of[order]
    xy = np.concatenate([found[index] for index in order])[:, 0]
    first = np.cumsum(lengths) - lengths
    within = np.ones(len(xy) - 1, dtype=bool)
    within[first[1:] - 1] = False  # not a step but the jump from one contour to the next
    step = np.diff(3 * xy[:, 1] + xy[:, 0])[within]  # 3 * dy + dx, one number a step
    starts = (xy[first, 1] - frame_of * (height + 1)) * width + xy[first, 0]
    return Contours(
        grid=height,
        counts=np.bincount(frame_of, minlength=frames).astype(np.uint16),
        starts=starts.astype(np.uint16),
        lengths=lengths.astype(np.uint32),
        chain=_pack(CODE_OF_STEP.take(step + 4)),
    )


def decode(contours: Contours, frames: np.ndarray | None = None) -> np.ndarray:
    """The masks of some frames (all where None), in their order, as encoded: uint8 0/1 [frames, G, G]."""
    frames = np.arange(contours.num_frames) if frames is None else np.asarray(frames, dtype=np.int64)
    masks = np.empty((len(frames), contours.grid, contours.grid), dtype=np.uint8)
    coded = coded_frames(contours)
    for start in range(0, len(frames), _CHUNK):
        chains = coded.choose(frames[start : start + _CHUNK], contours.grid)
        masks[start : start + _CHUNK] = raster.masks(chains).transpose(1, 0, 2)
    return masks


def coded_frames(contours: Contours) -> CodedFrames:
    """The contours of a sequence, with an index of where those of each frame begin."""
    first = offsets(contours.counts)
    codes = offsets(contours.lengths.astype(np.int64) - 1)[first]
    return CodedFrames(first, codes, contours.starts, contours.lengths, contours.chain)


def use_one_thread() -> None:
    """Keep OpenCV to one thread in this process, where other processes have the other cores."""
    cv2.setNumThreads(1)


def _pack(codes: np.ndarray) -> np.ndarray:
    """Two codes a byte, low half first; an odd tail is padded with 0."""
    codes = np.pad(codes, (0, len(codes) % 2))
    return codes[::2] | (codes[1::2] << 4)


def contours_of(row: Mapping[str, Any]) -> Contours:
    """The contours in one row of a store, whose values are plain Python or NumPy."""
    return Contours(
        grid=int(row["grid"]),
        counts=np.asarray(row["contour_counts"], dtype=np.uint16),
        starts=np.asarray(row["contour_starts"], dtype=np.uint16),
        lengths=np.asarray(row["contour_lengths"], dtype=np.uint32),
        chain=np.frombuffer(row["chain_codes"], dtype=np.uint8),
    )
