"""Rasterises contours: as they were stored, bit for bit, or moved by a map of the plane.

Both fill by the even-odd rule: every crossing of a border on the way down a column is marked, and a pixel is the sum,
modulo two, of its own mark and those above it. A stored contour is a path over border pixels; between the step that
leads to a pixel and the one that leads on, it passes those of the pixel's four sides that face the background (after
Suzuki and Abe, 1985). The sides that face up and down are the crossings of a stored mask. The middles of all sides,
joined in order, are the outline that is moved: the line on which the mask, interpolated bilinearly, is one half.

Masks are made as rows [G, F, G]: one picture with all frames side by side.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from datasets.contours.chains import DX, DY, STAY, Chains, trace

_ROW = 1024  # of the points of outlines: more than twice the largest grid
_MIN_DEPTH = 1 / 16  # of a point under a homography, so that none lies at or beyond the horizon


def _sides(turn: int) -> list[int]:
    """The directions (0 right, 2 up, 4 left, 6 down) of the sides that a border passes at a turn, in order."""
    arriving, leaving = turn >> 4, turn & 15
    if arriving > STAY or leaving > STAY:
        return []
    if STAY in (arriving, leaving):
        return [0, 2, 4, 6]
    passed = [(arriving + 4 + step) % 8 for step in range(1, 8)]  # counter-clockwise from the pixel before
    passed = passed[: passed.index(leaving)] if leaving in passed else passed
    return [direction for direction in passed if direction % 2 == 0]


_SIDES = [_sides(turn) for turn in range(256)]
_UP, _DOWN = (np.array([side in sides for sides in _SIDES], dtype=np.uint8) for side in (2, 6))
_NUM_SIDES = np.array([len(sides) for sides in _SIDES], dtype=np.uint8)
_SIDE_STEPS = np.array(  # [4 * turn + n]: from a pixel to the middle of the n-th side, in half pixels
    [DY[side] * _ROW + DX[side] for sides in _SIDES for side in (sides + [0] * 4)[:4]], dtype=np.int32
)


def masks(chains: Chains, mirrored: np.ndarray | None = None) -> np.ndarray:
    """The masks of frames, exactly as encoded: rows uint8 0/1 [G, F, G]. mirrored: bool [F], for grids 2^n."""
    grid, frames = chains.grid, chains.num_frames
    row = grid * (frames + 1)  # one frame more: rows a power of two apart would evict each other from the caches
    marks = np.zeros((grid + 1) * row, dtype=np.uint8)  # one row more, for what ends with the last one
    if len(chains.starts):
        position, turn = trace(chains, row, grid)
        if mirrored is not None:
            assert grid & (grid - 1) == 0, f"grid {grid} is not a power of two"
            position ^= np.repeat(np.where(mirrored, grid - 1, 0).astype(np.int32)[chains.frame_of], chains.lengths)
        for side, lower in ((_UP, 0), (_DOWN, row)):
            passed = np.flatnonzero(cv2.LUT(turn, side).view(bool))  # ten times as fast as of integers
            marks[position[passed].astype(np.intp) + lower] = 1  # no two pixels share a side
    marks = marks.reshape(grid + 1, row)[:grid, : grid * frames]
    return _fill(marks).reshape(grid, frames, grid)


@dataclass(frozen=True, eq=False)
class Outlines:
    """Closed polygons around the bodies and holes of F frames.

    points int32 [M]: y * 1024 + x in half pixels. ends [C]: of each polygon, one past its last point. frame_of [C].
    """

    points: np.ndarray
    ends: np.ndarray
    frame_of: np.ndarray
    num_frames: int


def outlines(chains: Chains) -> Outlines:
    """The outlines of frames, through the middles of the sides that part body from background."""
    if not len(chains.starts):
        return Outlines(np.zeros(0, np.int32), np.zeros(0, np.int64), chains.frame_of, chains.num_frames)
    position, turn = trace(chains, _ROW, 0)
    sides = _NUM_SIDES[turn]
    ends = np.cumsum(sides, dtype=np.int64)
    pixel = np.repeat(np.arange(len(turn)), sides)
    nth = np.arange(len(pixel)) - (ends - sides)[pixel]
    points = 2 * position[pixel] + _SIDE_STEPS[4 * turn[pixel].astype(np.intp) + nth]
    last = np.cumsum(chains.lengths) - 1
    return Outlines(points, ends[last], chains.frame_of, chains.num_frames)


def draw(lines: Outlines, maps: np.ndarray, size: int) -> np.ndarray:
    """Rasterises moved outlines: a pixel is body where its centre lies inside. Rows uint8 0/1 [size, F, size].

    maps [n, 3, 3]: homographies of pixel coordinates (x, y, 1); the first is for the first F / n frames, and so on.
    """
    frames = lines.num_frames
    marks = np.zeros((size + 1) * frames * size, dtype=np.uint8)
    if len(lines.points):
        x, y = _moved(lines, maps)
        following = np.arange(1, len(x) + 1)
        following[lines.ends - 1] = np.concatenate([[0], lines.ends[:-1]])
        edge, column = _crossings(x, following, size)
        x0, y0, x1, y1 = (along[at] for at in (edge, following[edge]) for along in (x, y))
        crossed = y0 + (column - x0) * ((y1 - y0) / (x1 - x0))
        below = np.clip(np.ceil(crossed), 0, size).astype(np.intp)
        frame = lines.frame_of[np.searchsorted(lines.ends, edge, side="right")]
        np.add.at(marks, (below * frames + frame) * size + column.astype(np.intp), np.uint8(1))
    return _fill(marks.reshape(size + 1, frames * size)[:size]).reshape(size, frames, size) & 1


def _moved(lines: Outlines, maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The points of outlines, mapped: x and y, float32 [M]."""
    down = (lines.points + 1) >> 10  # the least x is -1
    source = (lines.points - (down << 10)).astype(np.float32), down.astype(np.float32)
    x, y = np.empty_like(source[0]), np.empty_like(source[0])
    share = lines.num_frames // len(maps)
    polygons = np.searchsorted(lines.frame_of, share * np.arange(len(maps) + 1))
    bounds = np.concatenate([[0], lines.ends])[polygons]
    in_halves = (maps * np.array([0.5, 0.5, 1])).astype(np.float32)
    for (to_x, to_y, depth), begin, end in zip(in_halves, bounds[:-1], bounds[1:], strict=True):
        across, along = source[0][begin:end], source[1][begin:end]
        scale = 1 / np.maximum(depth[0] * across + depth[1] * along + depth[2], np.float32(_MIN_DEPTH))
        x[begin:end] = (to_x[0] * across + to_x[1] * along + to_x[2]) * scale
        y[begin:end] = (to_y[0] * across + to_y[1] * along + to_y[2]) * scale
    return x, y


def _crossings(x: np.ndarray, following: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Which edges cross which columns of pixel centres: int [K] and float32 [K]. An edge is named by its first point.

    An edge crosses the columns from its left end, included, to its right end, excluded: two edges that meet in a column
    cross it once.
    """
    begin = np.clip(np.ceil(x), 0, width)
    end = begin[following]
    edge = np.flatnonzero(begin != end)
    begin, end = begin[edge], end[edge]
    times = np.abs(end - begin).astype(np.int64)
    column = np.minimum(begin, end)
    if times.max(initial=1) > 1:
        before = np.cumsum(times) - times
        edge, column, before = (np.repeat(one, times) for one in (edge, column, before))
        column = column + (np.arange(len(edge)) - before).astype(np.float32)
    return edge, column


def _fill(marks: np.ndarray) -> np.ndarray:
    """Sums marks [height, n] down the columns, modulo two, in place."""
    for y in range(1, len(marks)):
        np.bitwise_xor(marks[y], marks[y - 1], out=marks[y])
    return marks
