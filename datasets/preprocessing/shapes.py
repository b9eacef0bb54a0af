"""What is no walking body, by its outline alone: a filled box, the outline of something, a body that lies.

On 33,626 aligned frames of CASIA-B the body had 0.24 to 0.82 of the area of its bounding box and 0.48 of this box's
border at most, and it was never wider than high.
"""

from collections.abc import Iterable

import cv2
import numpy as np

NO_BODY = "not a walking body"
_BOXED = 0.7  # of the bounding box's border is filled, as of a detector's box, or of a bright background inside a frame
_THIN, _HOLLOW = 0.4, 2.0  # of its bounding box an outline fills less, and what it encloses is this much larger
_LYING = 1.5  # times wider than high
_LEAST = 8  # pixels of a side, in which a shape can be told


def what_else(mask: np.ndarray) -> str:
    """What a mask [H, W], uint8 and nonzero on the body, shows in its place; an empty text where it may be a body."""
    left, top, width, height = cv2.boundingRect(mask)
    if min(width, height) < _LEAST:
        return ""
    inside = mask[top : top + height, left : left + width]
    sides = (inside[0], inside[-1], inside[1:-1, 0], inside[1:-1, -1])
    if sum(map(np.count_nonzero, sides)) > _BOXED * sum(map(len, sides)):
        return "a filled box: a detector's box, or a bright background inside a dark frame?"
    if width > _LYING * height:
        return f"a body {width} pixels wide and {height} high: turned by 90 degrees?"
    area = cv2.countNonZero(inside)
    if area < _THIN * width * height:
        contours, _ = cv2.findContours(inside, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        if sum(map(cv2.contourArea, contours)) > _HOLLOW * area:
            return "an outline that is not filled"
    return ""


def most_show(masks: Iterable[np.ndarray]) -> str:
    """What most of the masks of a walk show in place of a body; an empty text where it is no one thing."""
    found = [what_else(mask) for mask in masks]
    wrong = [what for what in found if what]
    return wrong[0] if len(wrong) > len(found) / 2 else ""
