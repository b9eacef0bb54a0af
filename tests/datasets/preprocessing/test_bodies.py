"""One body in a mask: pieces of it are kept, other bodies removed, and where it is unclear which is which refused."""

import cv2
import numpy as np
import pytest

from datasets.preprocessing.bodies import frames_of_several, main_body
from datasets.schema.errors import Unreadable


def person(scale: float, column: int, foot: int = 220) -> np.ndarray:
    mask = np.zeros((240, 320), np.uint8)
    height = int(160 * scale)
    cv2.ellipse(mask, (column, foot - height // 2), (int(22 * scale), height // 2), 0, 0, 360, 255, -1)
    return mask


ALONE = person(1, 150)


@pytest.mark.parametrize("other", [person(0.4, 60), person(0.6, 250), person(0.1, 20, foot=30)])
def test_what_is_no_piece_of_the_largest_body_is_removed(other: np.ndarray) -> None:
    found, is_smaller = main_body(ALONE | other)
    np.testing.assert_array_equal(found, ALONE)
    assert is_smaller and not frames_of_several((ALONE | other)[None])


@pytest.mark.parametrize("distance", [50, 60, 120])
def test_two_bodies_of_about_one_size_are_refused(distance: int) -> None:
    both = ALONE | person(0.85, 150 + distance)
    with pytest.raises(Unreadable, match=r"several bodies: two of them, one \d\d% as large as the other"):
        main_body(both)
    assert frames_of_several(np.stack([ALONE, both, ALONE * 0, both])) == [1, 3]


def test_a_body_in_pieces_is_one() -> None:
    for rows in (slice(90, 96), slice(130, 150), slice(180, 200)):
        cut = ALONE.copy()
        cut[rows] = 0
        np.testing.assert_array_equal(main_body(cut)[0], cut)
    legs = np.zeros((240, 320), np.uint8)
    cv2.line(legs, (140, 150), (120, 220), 255, 10)
    cv2.line(legs, (170, 150), (190, 220), 255, 10)
    trunk = person(0.6, 155, foot=140)
    assert not main_body(legs | trunk)[1]


def test_masks_without_a_body_or_with_one_come_back_as_they_are() -> None:
    for mask in (ALONE, ALONE * 0, ALONE | 255):
        found, is_smaller = main_body(mask)
        assert found is mask and not is_smaller


def test_real_masks_of_one_person_show_one(kth_masks) -> None:
    raw = np.unpackbits(np.load(kth_masks)["raw"], axis=-1)
    frames = raw.reshape(len(raw), 120, 160) * np.uint8(255)
    assert len(frames_of_several(frames)) < 0.1 * len(frames)
