"""Refuses masks whose outline is not that of a walking body: boxes with a hole, unfilled outlines, lying bodies.

On 33,626 aligned frames of CASIA-B the body had 0.24 to 0.82 of the area of its bounding box and 0.48 of this box's
border at most, and it was never wider than high.
"""

from collections.abc import Iterable

import cv2
import numpy as np

NO_BODY = "not a walking body"
_BOXED = 0.7  # of the bounding box's border is filled, as of a detector's box, or of a bright background inside a frame
_HOLE = 0.015  # of a box at least is a hole in the shape of a body
_THIN, _HOLLOW = 0.4, 2.0  # of its bounding box an outline fills less, and what it encloses is this much larger
_LYING = 1.5  # times wider than high
_LEAST = 8  # pixels of a side: smaller masks are not judged


def what_else(mask: np.ndarray) -> str:
    """What a mask [H, W], uint8 and nonzero on the body, shows in its place; an empty text where it may be a body."""
    left, top, width, height = cv2.boundingRect(mask)
    if min(width, height) < _LEAST:
        return ""
    inside = mask[top : top + height, left : left + width]
    if width > _LYING * height:
        return f"a body {width} pixels wide and {height} high: turned by 90 degrees?"
    if _fills_border(inside):
        holes = cv2.connectedComponentsWithStats((inside == 0).view(np.uint8), connectivity=4)[2][1:, cv2.CC_STAT_AREA]
        is_holed = len(holes) > 0 and holes.max() > _HOLE * width * height
        return "a box with a hole: a bright background inside a dark frame?" if is_holed else ""
    area = cv2.countNonZero(inside)
    if area < _THIN * width * height:
        contours, _ = cv2.findContours(inside, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        if sum(map(cv2.contourArea, contours)) > _HOLLOW * area:
            return "an outline that is not filled"
    return ""


def is_box(mask: np.ndarray) -> bool:
    """Whether a mask [H, W] is a filled box, as a detector gives it: doubtful, but a drawn body may be one."""
    left, top, width, height = cv2.boundingRect(mask)
    return min(width, height) >= _LEAST and _fills_border(mask[top : top + height, left : left + width])


def _fills_border(inside: np.ndarray) -> bool:
    """Whether a mask that is cut to its bounding box fills most of this box's border."""
    sides = (inside[0], inside[-1], inside[1:-1, 0], inside[1:-1, -1])
    return sum(map(np.count_nonzero, sides)) > _BOXED * sum(map(len, sides))


def most_show(masks: Iterable[np.ndarray]) -> str:
    """What most of the masks of a walk show in place of a body; an empty text where it is no one thing."""
    found = [what_else(mask) for mask in masks]
    wrong = [what for what in found if what]
    return wrong[0] if len(wrong) > len(found) / 2 else ""
