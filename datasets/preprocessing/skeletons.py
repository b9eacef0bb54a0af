"""Skeletons to the canonical grid: limbs are drawn as thick lines, the head as a disc.

So a skeleton has contours as a silhouette has, at about the same height and in the same columns. The joints are the 17
of COCO (Lin et al., Microsoft COCO, ECCV 2014) in their order: nose, then eyes, ears, shoulders, elbows, wrists, hips,
knees and ankles, the person's left one first.
"""

import cv2
import numpy as np

from datasets.formats.joints import as_joints
from datasets.preprocessing.silhouettes import RAW_GRID, Normalised

FACE, SHOULDERS, HIPS, ANKLES = slice(0, 5), slice(5, 7), slice(11, 13), slice(15, 17)
ARMS = ((5, 7), (7, 9), (6, 8), (8, 10))
TRUNK = ((5, 6), (5, 11), (6, 12), (11, 12))
LEGS = ((11, 13), (13, 15), (12, 14), (14, 16))
LIMBS = ARMS + TRUNK + LEGS

GRID = RAW_GRID
THICKNESS = 6  # pixels of the grid's 128, as thick as a forearm
HEAD = 0.065 * GRID  # radius in pixels: a head is 0.13 of the body's height (Drillis and Contini, 1966)
NECK = 0.39  # from the shoulders to the middle of the head, as a share of the way from the hips to them (the same)
MIN_CONFIDENCE = 0.3  # the threshold below which MMPose does not draw a joint
_SHIFT = 4  # fractional bits of the coordinates handed to OpenCV


def normalise(frame: np.ndarray) -> Normalised:
    """One skeleton as uint8 0/1 [GRID, GRID], or None with the reason and a detail why the frame is dropped.

    frame: joints of a shape that `as_joints` accepts; x to the right, y down, in any unit. Joints that are NaN, lie at
    (0, 0) or have a confidence below MIN_CONFIDENCE are left out with their limbs. The figure fills the grid's height
    from the crown to the ankles; the trunk is in the middle. Unreadable for another shape.
    """
    joints = as_joints(frame)
    seen = np.isfinite(joints).all(axis=1) & (joints[:, :2] != 0).any(axis=1)
    if joints.shape[1] == 3:
        seen &= joints[:, 2] >= MIN_CONFIDENCE
    needed = {"shoulder": SHOULDERS, "hip": HIPS, "ankle": ANKLES}
    if missing := [name for name, which in needed.items() if not seen[which].any()]:
        detail = f"{seen.sum()} of {len(seen)} joints, no {', no '.join(missing)}"
        return Normalised(None, "too few joints", detail)
    points = np.where(seen[:, None], joints[:, :2], np.nan)
    shoulders, hips = np.nanmean(points[SHOULDERS], axis=0), np.nanmean(points[HIPS], axis=0)
    face = points[FACE][seen[FACE]]
    head = face.mean(axis=0) if len(face) else shoulders + NECK * (shoulders - hips)
    bottom, top = np.nanmax(points[:, 1]), np.nanmin(points[:, 1])
    if bottom <= head[1]:
        return Normalised(None, "head below the feet", f"at {head[1]:.6g} and {bottom:.6g}")
    scale = min((GRID - HEAD - THICKNESS / 2) / (bottom - head[1]), (GRID - THICKNESS) / (bottom - top))
    middle = np.array([(shoulders[0] + hips[0]) / 2, bottom])
    to_grid = np.array([GRID / 2, GRID - THICKNESS / 2]) - 0.5  # pixels are counted by their middles
    return Normalised(_draw(*((one - middle) * scale + to_grid for one in (points, head, shoulders))))


def _draw(points: np.ndarray, head: np.ndarray, shoulders: np.ndarray) -> np.ndarray:
    """points: joints [17, 2], NaN where they are left out. head, shoulders: their middles [2]. All in pixels."""
    picture = np.zeros((GRID, GRID), np.uint8)
    for start, end in [*((points[a], points[b]) for a, b in LIMBS), (shoulders, head)]:
        if np.isfinite(start).all() and np.isfinite(end).all():
            cv2.line(picture, _fixed(start), _fixed(end), 1, THICKNESS, cv2.LINE_8, _SHIFT)
    cv2.circle(picture, _fixed(head), round(HEAD * (1 << _SHIFT)), 1, cv2.FILLED, cv2.LINE_8, _SHIFT)
    return picture


def _fixed(point: np.ndarray) -> tuple[int, int]:
    """A point in OpenCV's fixed-point numbers, clipped so that points far outside of the picture do not overflow."""
    x, y = np.clip(point, -8 * GRID, 8 * GRID)
    return round(x * (1 << _SHIFT)), round(y * (1 << _SHIFT))
