"""Which pixels of a mask are the body, and what is refused since nobody can tell."""

import cv2
import numpy as np
import pytest

from datasets.preprocessing import binary
from datasets.schema.errors import Unreadable
from datasets.schema.reading import ALPHA, INVERTED, LINES, VALUES


def body(height: int = 240, width: int = 320) -> np.ndarray:
    """A mask uint8 0/255 of a head, a trunk and two legs."""
    mask = np.zeros((height, width), np.uint8)
    cv2.ellipse(mask, (160, 60), (12, 15), 0, 0, 360, 255, -1)
    cv2.ellipse(mask, (160, 110), (20, 38), 0, 0, 360, 255, -1)
    cv2.line(mask, (158, 140), (135, 205), 255, 12)
    cv2.line(mask, (162, 140), (186, 205), 255, 12)
    return mask


MASK = body()


@pytest.mark.parametrize(
    ("values", "aspect"),
    [
        (MASK // 255 * 2, VALUES),
        (MASK // 255 * 100, VALUES),
        ((MASK > 0).astype(np.uint16) * 1000, VALUES),
        (np.where(MASK > 0, 180, 30).astype(np.uint8), VALUES),
        (np.pad(MASK[3:-3, 3:-3] // 255, 3, constant_values=255), LINES),
        (np.pad(MASK[3:], ((0, 3), (0, 0)), constant_values=255), LINES),
        (np.dstack([MASK, MASK, MASK, np.where(MASK > 0, 255, 254).astype(np.uint8)]), ALPHA),
        (np.dstack([MASK * 0, MASK * 0, MASK * 0, MASK]), ALPHA),
        (np.dstack([255 - MASK, 255 - MASK, 255 - MASK, MASK]), ALPHA),
    ],
)
def test_masks_are_told_by_their_values_and_it_is_said(values: np.ndarray, aspect: str) -> None:
    found = binary.from_image(values)
    expected = np.pad(MASK[3:], ((0, 3), (0, 0))) if values.shape == MASK.shape and values[-1, 0] == 255 else MASK
    if values[0, 0].max() == 255 and aspect == LINES:
        expected = MASK
    np.testing.assert_array_equal(found.mask, expected)
    assert [one for one, _ in found.notes] == [aspect]


def test_a_bright_background_is_refused_unless_it_is_expected() -> None:
    for values in (255 - MASK, 1 - MASK // 255, np.dstack([255 - MASK] * 3)):
        with pytest.raises(
            Unreadable, match=r"seem exchanged: 100% of the border and 9.% of all is body: give --invert"
        ):
            binary.from_image(values)
        found = binary.from_image(values, inverted=True)
        np.testing.assert_array_equal(found.mask, MASK)
        assert found.notes == {(INVERTED, "yes")}
    with pytest.raises(Unreadable, match="leave out --invert"):
        binary.from_image(MASK, inverted=True)


def test_alpha_that_contradicts_the_colours_is_refused() -> None:
    with pytest.raises(Unreadable, match="alpha contradicts the colours: 100% of the body"):
        binary.from_image(np.dstack([MASK, MASK, MASK, 255 - MASK]))


def test_more_than_two_labels_are_named() -> None:
    labels = MASK // 255
    labels[20:50, 20:50] = 15
    with pytest.raises(ValueError, match=r"3 values, not body and background alone: 0 \(9.*, 1 \(.*, 15 \(1.2%\)"):
        binary.from_image(labels)
    ring = cv2.dilate(MASK, np.ones((5, 5), np.uint8)) // 255 * np.uint8(255)
    with pytest.raises(ValueError, match="3 values"):  # a void label around the body
        binary.from_image(np.where(MASK > 0, 1, ring).astype(np.uint8))


@pytest.mark.parametrize("scale", [0.3, 0.5, 2, 4])
@pytest.mark.parametrize("interpolation", [cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_CUBIC])
@pytest.mark.parametrize("top", [255, 100])
def test_grey_edges_are_no_photograph(scale: float, interpolation: int, top: int) -> None:
    grey = cv2.resize(MASK // 255 * np.uint8(top), None, fx=scale, fy=scale, interpolation=interpolation)
    found = binary.from_image(grey).mask
    clean = cv2.resize(MASK, grey.shape[::-1], interpolation=cv2.INTER_AREA) > 127
    assert ((found > 0) & clean).sum() / ((found > 0) | clean).sum() > 0.93
    jpeg = cv2.imdecode(cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_QUALITY, 60])[1], cv2.IMREAD_UNCHANGED)
    assert ((binary.from_image(jpeg).mask > 0) ^ clean).mean() < 0.02


def test_photographs_are_refused_with_the_number_of_their_values() -> None:
    noise = np.random.default_rng(0).integers(60, 200, (*MASK.shape, 3), np.uint8)
    smooth = cv2.resize(np.random.default_rng(1).integers(0, 255, (6, 8), np.uint8), (320, 240), interpolation=2)
    ramp = np.tile(np.linspace(0, 255, 320).astype(np.uint8), (240, 1))
    for picture in (np.where(MASK[..., None] > 0, np.uint8(230), noise), smooth, ramp):
        with pytest.raises(ValueError, match=r"\d+ grey values, a photograph\?"):
            binary.from_image(picture)


def test_frames_without_a_body_are_empty() -> None:
    for picture in (MASK * 0, np.full((64, 44), 7, np.uint8), np.zeros((0, 320), np.uint8)):
        assert not binary.from_image(picture).mask.any()


def test_frames_of_an_array_are_read_alike() -> None:
    frames = np.stack([np.roll(MASK, shift, axis=1) for shift in range(3)]) // 255 * 2
    np.testing.assert_array_equal(binary.from_values(frames).mask > 0, frames > 0)
