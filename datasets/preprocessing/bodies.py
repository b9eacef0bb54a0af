"""The one body in a mask: other people, and what lies far from the body, are removed where it is clear which is which.

A body may be in pieces (a belt or a shadow cuts it), so what lies above, below or close to the largest piece belongs to
it. Another body stands beside it and is about as tall.
"""

import cv2
import numpy as np

from datasets.schema.errors import Unreadable

SEVERAL = "several bodies"
_AS_LARGE = 0.5  # of the largest body's area: another one of this size may be the person that is meant
_AS_TALL = 0.5  # of the largest piece's height: a piece of a body beside it is shorter
_BESIDE = 0.3  # another body shares fewer of the columns, and more of the rows, with the largest piece
_NEAR, _STACKED = 0.25, 1.0  # of the body's height: gaps within it, to the side and up or down
_LEFT, _TOP, _WIDTH, _HEIGHT, _AREA = range(5)


def main_body(mask: np.ndarray) -> tuple[np.ndarray, bool]:
    """A mask uint8 0/255 [H, W] with its largest body alone, and whether anything was removed.

    Unreadable, `several bodies`, where another body is at least half as large.
    """
    left, top, width, height = cv2.boundingRect(mask)  # the smaller picture takes a fifth of the time
    if not width:
        return mask, False
    inside = mask[top : top + height, left : left + width]
    count, labels, stats, _ = cv2.connectedComponentsWithStats(inside, connectivity=8)
    if count <= 2:
        return mask, False
    others = _others(stats[1:])
    if not others.any():
        return mask, False
    kept = np.concatenate([[False], ~others])
    alone = np.zeros_like(mask)
    alone[top : top + height, left : left + width] = np.where(kept[labels], inside, np.uint8(0))
    return alone, True


def frames_of_several(masks: np.ndarray) -> list[int]:
    """The frames that show another body at least half as large as the largest, of masks [T, H, W], nonzero on bodies.

    Bodies that share columns are not seen: frames with a gap between columns alone are looked at, for speed.
    """
    filled = np.pad(masks.any(axis=1), ((0, 0), (1, 0)))
    in_pieces = np.count_nonzero(filled[:, 1:] & ~filled[:, :-1], axis=1) > 1
    return [int(frame) for frame in np.flatnonzero(in_pieces) if _has_several(masks[frame])]


def _has_several(mask: np.ndarray) -> bool:
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    try:
        _others(stats[1:])
    except Unreadable:
        return True
    return False


def _others(pieces: np.ndarray) -> np.ndarray:
    """Which pieces are not of the main body, bool [n]; pieces: left, top, width, height and area of each.

    The body grows by what is near it, from the largest piece on.
    """
    largest = pieces[pieces[:, _AREA].argmax()]
    box, others = _box(largest), np.zeros(len(pieces), bool)
    for one in sorted(range(len(pieces)), key=lambda one: sum(_gaps(box, _box(pieces[one])))):
        piece = pieces[one]
        across, along = _gaps(box, _box(piece))
        beside = _shared(largest, piece, _LEFT, _WIDTH) < _BESIDE
        upright = _shared(largest, piece, _TOP, _HEIGHT) > _BESIDE
        is_body = beside and upright and piece[_HEIGHT] >= _AS_TALL * largest[_HEIGHT]
        height = box[3] - box[1]
        is_far = across > _NEAR * height or along > (_NEAR if beside else _STACKED) * height
        if not (is_body or is_far):
            box = _union(box, _box(piece))
            continue
        others[one] = True
        if piece[_AREA] >= _AS_LARGE * largest[_AREA]:
            share = piece[_AREA] / largest[_AREA]
            raise Unreadable(SEVERAL, f"two of them, one {share:.0%} as large as the other: which is the walker?")
    return others


Box = tuple[int, int, int, int]  # left, top, right, bottom


def _box(piece: np.ndarray) -> Box:
    left, top, width, height = (int(piece[one]) for one in (_LEFT, _TOP, _WIDTH, _HEIGHT))
    return left, top, left + width, top + height


def _union(a: Box, b: Box) -> Box:
    return min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])


def _gaps(a: Box, b: Box) -> tuple[int, int]:
    """Empty columns and rows between two boxes."""
    return max(a[0] - b[2], b[0] - a[2], 0), max(a[1] - b[3], b[1] - a[3], 0)


def _shared(a: np.ndarray, b: np.ndarray, start: int, length: int) -> float:
    """Columns (or rows) that both have, over those of the narrower (or shorter) one."""
    shared = min(a[start] + a[length], b[start] + b[length]) - max(a[start], b[start])
    return max(float(shared), 0.0) / float(min(a[length], b[length]))
