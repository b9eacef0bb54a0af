"""Chain codes of chosen frames, traced: where every point of every contour lies, and how the border turns there.

The frames may be of one sequence or of many. All of them are traced at once, since a call of NumPy takes longer than
the contour of a frame.
"""

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

# Freeman's eight directions, counter-clockwise from +x, with y pointing down as in images; and no step at all.
DX = np.array([1, 1, 0, -1, -1, -1, 0, 1, 0], dtype=np.int32)
DY = np.array([0, -1, -1, -1, 0, 1, 1, 1, 0], dtype=np.int32)
STAY = 8
CODE_OF_STEP = np.array([3, 2, 1, 4, STAY, 0, 5, 6, 7], dtype=np.uint8)  # [3 * (dy + 1) + dx + 1]

_BYTE = np.arange(256, dtype=np.uint8)
_HALVES = np.stack([_BYTE & 15, _BYTE >> 4], axis=1).view(np.uint16)[:, 0]  # the two codes of a byte, as two bytes


@dataclass(frozen=True, eq=False)
class Chains:
    """The C contours of F frames, as stored; int64 but for the codes.

    counts [F]: contours of each frame. starts [C]: first point, y * grid + x. lengths [C]: points of each contour.
    codes: bytes of two codes, low half first; of each frame those from its first code to its last. begins [F]: the
    index, among the 2 * len(codes) codes, of the first of each frame. A contour has one code less than points, since
    the step that closes it is not stored.
    """

    grid: int
    counts: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray
    codes: np.ndarray
    begins: np.ndarray

    @property
    def num_frames(self) -> int:
        return len(self.counts)

    @property
    def frame_of(self) -> np.ndarray:
        """The frame of each contour, [C]."""
        return np.repeat(np.arange(len(self.counts)), self.counts)


@dataclass(frozen=True, eq=False)
class CodedFrames:
    """The contours of N frames one after the other, of one sequence or of a whole corpus.

    contours [N + 1], codes [N + 1]: where those of each frame begin, and where those of the last one end. The codes of
    a sequence begin with a whole byte: a code that pads the byte before belongs to no frame.
    """

    contours: np.ndarray
    codes: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray
    chain: np.ndarray

    def choose(self, frames: np.ndarray, grid: int) -> Chains:
        """Some frames, in the order and with the repeats of `frames`. It reads no byte of other frames."""
        first = self.contours[frames]
        counts = self.contours[frames + 1] - first
        which = ranges(first, counts)
        begin, end = self.codes[frames], self.codes[frames + 1]
        first_byte, end_byte = begin >> 1, (end + 1) >> 1
        chain = self.chain.data  # slices of a memoryview take half the time of slices of an array
        pieces = [chain[here:there] for here, there in zip(first_byte.tolist(), end_byte.tolist(), strict=True)]
        sizes = end_byte - first_byte
        return Chains(
            grid=grid,
            counts=counts,
            starts=self.starts[which].astype(np.int64),
            lengths=self.lengths[which].astype(np.int64),
            codes=np.frombuffer(b"".join(pieces), dtype=np.uint8),
            begins=2 * (np.cumsum(sizes) - sizes) + (begin & 1),
        )


def offsets(sizes: np.ndarray) -> np.ndarray:
    """Where each of n runs of these sizes begins, and where the last one ends: int64 [n + 1]."""
    return np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])


def trace(chains: Chains, row: int, frame: int) -> tuple[np.ndarray, np.ndarray]:
    """Every point of every contour, in order: where it lies, int32 [P], and how the border turns there, uint8 [P].

    A point (x, y) of frame f lies at y * row + f * frame + x; row is at least 4. Its turn is 16 times the code of the
    step that leads to it plus that of the step that leads on; both are STAY where the contour is a single point.
    """
    lengths = chains.lengths
    last = np.cumsum(lengths) - 1
    first = last - lengths + 1
    onwards = _stored_steps(chains, last)
    position = np.zeros(len(onwards), dtype=np.int32)
    np.cumsum(_look_up(onwards, _step_table(row))[:-1], dtype=np.int32, out=position[1:])
    closing = _closing(position[first] - position[last], row)
    onwards[last] = closing
    origin = chains.starts // chains.grid * row + chains.frame_of * frame + chains.starts % chains.grid
    position += np.repeat((origin - position[first]).astype(np.int32), lengths)
    turn = np.empty_like(onwards)
    turn[1:] = onwards[:-1]
    turn[first] = closing
    turn <<= 4
    turn |= onwards
    return position, turn


def ranges(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """start, start + 1, ... for each pair (start, length), one after the other."""
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    return np.arange(total) + np.repeat(starts - (ends - lengths), lengths)


def _stored_steps(chains: Chains, last: np.ndarray) -> np.ndarray:
    """The code of the step that leads on from each point, uint8 [P]; STAY at the last point of a contour."""
    ends = chains.begins + np.diff(offsets(chains.lengths - 1)[offsets(chains.counts)])
    codes = _look_up(chains.codes, _HALVES).view(np.uint8)
    used = np.ones(len(codes), dtype=bool)  # all but the half bytes that belong to a neighbouring frame
    used[(chains.begins - 1)[chains.begins % 2 == 1]] = False
    used[ends[ends % 2 == 1]] = False
    moving = np.ones(last[-1] + 1, dtype=bool)
    moving[last] = False
    onwards = np.full(len(moving), STAY, dtype=np.uint8)
    onwards[moving] = codes[used]
    return onwards


def _closing(difference: np.ndarray, row: int) -> np.ndarray:
    """The codes of the steps between neighbouring points, from the differences of their positions."""
    dy = np.rint(difference / row).astype(np.int64)
    return CODE_OF_STEP[3 * dy + (difference - dy * row) + 4]


@cache
def _step_table(row: int) -> np.ndarray:
    """The difference of positions along each code, int32 [256]."""
    return (DY * row + DX)[np.minimum(_BYTE, STAY)]


def _look_up(values: np.ndarray, table: np.ndarray) -> np.ndarray:
    """table[values] for bytes, by OpenCV in half of NumPy's time."""
    return cv2.LUT(values, table).ravel() if len(values) else table[:0]
