"""The orientation of a picture: turned as viewers turn it, and no turn for Exif that is not sound."""

import io
import struct

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from datasets.formats import images
from datasets.formats.pictures.tiff_fields import orientation_of

FRAME = np.zeros((40, 64), np.uint8)
FRAME[4:30, 6:20], FRAME[30:36, 6:50] = 255, 128  # no symmetry, so that each turn gives another picture


def saved(kind: str, orientation: int, **settings: object) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    Image.fromarray(FRAME).save(file, kind, exif=exif, **settings)
    return file.getvalue()


def directory(*entries: tuple[int, int, int, int], order: str = "<", next_start: bytes = bytes(4)) -> bytes:
    """Exif with these entries: tag, type, count, value."""
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, len(entries))
    return head + b"".join(struct.pack(f"{order}HHII", *one) for one in entries) + next_start


def jpeg_with(exif: bytes) -> bytes:
    data = cv2.imencode(".jpg", FRAME)[1].tobytes()
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 8) + b"Exif\0\0" + exif + data[2:]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("kind", "settings"), [("PNG", {}), ("JPEG", {"quality": 95}), ("WEBP", {"lossless": True})])
def test_a_picture_is_turned_as_viewers_turn_it(kind: str, settings: dict, orientation: int) -> None:
    data = saved(kind, orientation, **settings)
    shown = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("L")).astype(int)
    picture = images.decode(data)
    got = picture.pixels if picture.pixels.ndim == 2 else picture.pixels[..., 0]
    assert picture.orientation == orientation
    assert got.shape == shown.shape and picture.pixels.flags.c_contiguous
    assert np.abs(got - shown).max() <= (2 if kind == "JPEG" else 0)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
def test_a_tiff_is_turned_by_its_own_tag(compression: str | None, orientation: int) -> None:
    file = io.BytesIO()
    Image.fromarray(FRAME).save(file, "TIFF", compression=compression, tiffinfo={0x0112: orientation})
    picture = images.decode(file.getvalue())
    assert picture.orientation == orientation
    np.testing.assert_array_equal(picture.pixels, np.asarray(ImageOps.exif_transpose(Image.open(file))))


def test_both_byte_orders_are_read_and_the_first_exif_counts() -> None:
    little, big = directory((0x0112, 3, 1, 6)), directory((0x0112, 3, 1, 3 << 16), order=">")
    assert (orientation_of(little), orientation_of(big)) == (6, 3)
    first = jpeg_with(big)
    segment = first[2 : 4 + int.from_bytes(first[4:6], "big")]
    data = jpeg_with(little)
    assert images.decode(data[:2] + segment + data[2:]).orientation == 3


@pytest.mark.parametrize(
    "exif",
    [
        b"",
        b"II*\0",
        b"XX*\0" + bytes(20),
        b"II*\0\xff\xff\xff\xff",
        b"II*\0" + struct.pack("<IH", 8, 65_535),
        directory((0x0112, 3, 1, 0)),
        directory((0x0112, 3, 1, 9)),
        directory((0x0112, 3, 2, 6)),
        directory((0x0112, 4, 1, 6)),
        directory((0x0112, 3, 0xFFFFFFFF, 6)),
        directory((0x0112, 99, 1, 6)),
        directory((0x0112, 3, 1, 6), (0x0112, 3, 1, 3)),
        directory((0x0112, 3, 1, 6))[:-10],
        directory((0x0110, 2, 4, 6)),
    ],
)
def test_malformed_exif_means_no_turn(exif: bytes) -> None:
    picture = images.decode(jpeg_with(exif))
    assert picture.orientation == 1 and picture.pixels.shape == FRAME.shape
