"""Boxes with a hole, unfilled outlines and lying bodies are refused; bodies and filled boxes are kept."""

import cv2
import numpy as np
import pytest

from datasets.preprocessing.shapes import what_else
from datasets.preprocessing.silhouettes import fill_their_height, normalise_frame
from datasets.schema.reading import BODIES

BODY = np.zeros((240, 320), np.uint8)
cv2.ellipse(BODY, (160, 60), (12, 15), 0, 0, 360, 255, -1)
cv2.ellipse(BODY, (160, 110), (20, 38), 0, 0, 360, 255, -1)
for sign in (-1, 1):
    cv2.line(BODY, (160, 140), (160 + sign * 22, 205), 255, 12)


def boxed(mask: np.ndarray) -> np.ndarray:
    left, top, width, height = cv2.boundingRect(mask)
    return cv2.rectangle(np.zeros_like(mask), (left, top), (left + width, top + height), 255, cv2.FILLED)


@pytest.mark.parametrize(
    ("mask", "what"),
    [
        (BODY, ""),
        (boxed(BODY), ""),
        (np.pad(255 - BODY, 20), "a box with a hole"),  # a bright background inside a dark frame
        (BODY - cv2.erode(BODY, np.ones((3, 3))), "an outline"),
        (np.rot90(BODY), "turned by 90 degrees"),
        (BODY * 0, ""),
    ],
)
def test_another_shape_than_a_body_is_named_and_its_frame_dropped(mask: np.ndarray, what: str) -> None:
    mask = np.ascontiguousarray(mask)
    assert what in what_else(mask)
    assert what or not what_else(mask)
    if what:
        made = normalise_frame(mask)
        assert made.mask is None and made.reason == "not a walking body" and what in made.detail


def test_a_filled_box_is_kept_and_said_to_be_one() -> None:
    assert normalise_frame(boxed(BODY)).notes == {(BODIES, "filled boxes")}
    assert not normalise_frame(BODY).notes


def test_real_masks_are_bodies(kth_masks) -> None:
    raw = np.unpackbits(np.load(kth_masks)["raw"], axis=-1)
    frames = raw.reshape(len(raw), 120, 160) * np.uint8(255)
    assert sum(bool(what_else(frame)) for frame in frames) < 0.1 * len(frames)  # some show no more than a kerb


def test_bodies_that_fill_their_frames_are_told_from_others() -> None:
    aligned = np.zeros((9, 64, 64), np.uint8)
    aligned[:8, 1:63, 20:40] = 1  # the last one is empty
    assert fill_their_height(aligned)
    assert not fill_their_height(np.pad(aligned[:, ::2, ::2], ((0, 0), (16, 16), (16, 16))))
