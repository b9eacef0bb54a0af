"""Masks to contours and back, exactly: outlines as chain codes, drawn again bit for bit.

    masks [T, G, G]  --encode-->  Contours  --decode-->  the same masks
                                     |
                                     +--outlines-->  points, to be moved (rotation, scale, ...) and drawn once

A contour is the closed 8-connected path over the border pixels of a body or of a hole (OpenCV's RETR_CCOMP); even-odd
filling of all contours of a frame, borders included, gives the frame back. Chain codes after Freeman (1961), two steps
a byte. All frames of a sequence are stacked into one tall picture, so that OpenCV is called once a sequence and not
once a frame. This file knows nothing of files, collections or training.
"""

from dataclasses import dataclass

import cv2
import numpy as np

# Freeman's eight directions, counter-clockwise from +x, with y pointing down as in images.
DX = np.array([1, 1, 0, -1, -1, -1, 0, 1], dtype=np.int32)
DY = np.array([0, -1, -1, -1, 0, 1, 1, 1], dtype=np.int32)
_CODE_OF_STEP = np.array([3, 2, 1, 4, 0, 0, 5, 6, 7], dtype=np.uint8)  # [3 * (dy + 1) + dx + 1]; (0, 0) never occurs

MAX_GRID = 256  # a start point y * grid + x must fit 16 bits


@dataclass(frozen=True, eq=False)
class Contours:
    """The contours of one sequence of T frames, in the columns of the row (datasets/schema.py).

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


@dataclass(frozen=True, eq=False)
class Outlines:
    """Contours of some frames as points: xy int32 [P, 2] in pixels, points [C] per contour, frame [C] of a contour."""

    xy: np.ndarray
    points: np.ndarray
    frame: np.ndarray
    num_frames: int
    grid: int


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
    within[first[1:] - 1] = False  # the jump from one contour to the next is no step
    step = np.diff(3 * xy[:, 1] + xy[:, 0])[within]  # 3 * dy + dx, one number a step
    starts = (xy[first, 1] - frame_of * (height + 1)) * width + xy[first, 0]
    return Contours(
        grid=height,
        counts=np.bincount(frame_of, minlength=frames).astype(np.uint16),
        starts=starts.astype(np.uint16),
        lengths=lengths.astype(np.uint32),
        chain=_pack(_CODE_OF_STEP.take(step + 4)),
    )


def outlines(contours: Contours, frames: np.ndarray | None = None) -> Outlines:
    """The points of some frames (all of them where `frames` is None), in the order and with the repeats asked for."""
    counts = contours.counts.astype(np.int64)
    frames = np.arange(len(counts)) if frames is None else np.asarray(frames, dtype=np.int64)
    which = _ranges((np.cumsum(counts) - counts)[frames], counts[frames])
    all_lengths = contours.lengths.astype(np.int64)
    code_start = (np.cumsum(all_lengths - 1) - (all_lengths - 1))[which]
    lengths = all_lengths[which]
    index = _ranges(code_start, lengths - 1)
    codes = (contours.chain[index >> 1] >> ((index & 1) << 2).astype(np.uint8)) & 7
    first = np.cumsum(lengths) - lengths
    is_step = np.ones(int(lengths.sum()), dtype=bool)
    is_step[first] = False
    xy = np.zeros((len(is_step), 2), dtype=np.int32)
    xy[is_step, 0], xy[is_step, 1] = DX[codes], DY[codes]
    np.cumsum(xy, axis=0, out=xy)
    start = contours.starts[which].astype(np.int32)
    origin = np.stack([start % contours.grid, start // contours.grid], axis=1) - xy[first]
    xy += np.repeat(origin, lengths, axis=0)
    return Outlines(xy, lengths, np.repeat(np.arange(len(frames)), counts[frames]), len(frames), contours.grid)


def draw(lines: Outlines, affine: np.ndarray | None = None) -> np.ndarray:
    """Fill outlines: uint8 0/1 [frames, G, G]. affine: [2, 3] map of pixel coordinates (x, y), or None for none."""
    size = lines.grid
    stride = size + 2  # a moved outline is cut off one row above and below its frame, in rows that are thrown away
    picture = np.zeros((lines.num_frames * stride, size), dtype=np.uint8)
    if len(lines.points):
        shift = 0
        xy = lines.xy
        if affine is not None:
            shift = 4  # sixteenths of a pixel
            moved = xy @ affine[:, :2].T + affine[:, 2]
            moved[:, 1] = np.clip(moved[:, 1], -1, size)
            xy = np.rint(moved * (1 << shift)).astype(np.int32)
        offset = np.repeat(lines.frame * stride + 1, lines.points).astype(np.int32) << shift
        xy = np.ascontiguousarray(np.stack([xy[:, 0], xy[:, 1] + offset], axis=1))
        polygons = np.split(xy, np.cumsum(lines.points)[:-1])
        cv2.fillPoly(picture, polygons, 1, shift=shift)
    return picture.reshape(lines.num_frames, stride, size)[:, 1 : size + 1]


def decode(contours: Contours, frames: np.ndarray | None = None) -> np.ndarray:
    """The masks of some frames, exactly as encoded: uint8 0/1 [frames, G, G]."""
    return draw(outlines(contours, frames))


def use_one_thread() -> None:
    """Keep OpenCV to one thread in this process, where other processes have the other cores."""
    cv2.setNumThreads(1)


def _ranges(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """start, start + 1, ... for each pair (start, length), one after the other."""
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    return np.arange(total) + np.repeat(starts - (ends - lengths), lengths)


def _pack(codes: np.ndarray) -> np.ndarray:
    """Two codes a byte, low half first; an odd tail is padded with 0."""
    codes = np.pad(codes, (0, len(codes) % 2))
    return codes[::2] | (codes[1::2] << 4)
