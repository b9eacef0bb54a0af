"""Hazards of sequences of pictures: each function plants one in the folder of a sequence of synthetic walkers.

It changes the files of the folder in place. tests/hazards/table.py holds the expected outcome.
"""

import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np


def _frames(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix in (".png", ".jpg"))


def _rewrite(folder: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
    """Replaces every picture by the result of `change`."""
    for path in _frames(folder):
        cv2.imwrite(str(path), change(cv2.imread(str(path), cv2.IMREAD_UNCHANGED)))


def _png(width: int, height: int, depth: int, colour: int, rows: bytes, palette: bytes = b"") -> bytes:
    """A PNG of a kind that OpenCV does not write; `rows` with their filter bytes (ISO/IEC 15948, sections 5 and 11)."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n" + header,
            chunk(b"PLTE", palette) if palette else b"",
            chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""),
        ]
    )


def black_frames(folder: Path) -> None:
    """Frames without a person, as before one walks into view."""
    for path in _frames(folder)[2:4]:
        cv2.imwrite(str(path), np.zeros((240, 320), np.uint8))


def specks_alone(folder: Path) -> None:
    """A frame with a few pixels of noise and no person."""
    picture = np.zeros((240, 320), np.uint8)
    picture[5, 5:35] = 255
    cv2.imwrite(str(_frames(folder)[4]), picture)


def black_sequence(folder: Path) -> None:
    """No person in any frame."""
    _rewrite(folder, np.zeros_like)


def zero_one_masks(folder: Path) -> None:
    """0 and 1 instead of 0 and 255."""
    _rewrite(folder, lambda picture: picture // 255)


def sixteen_bits(folder: Path) -> None:
    """0 and 65535 instead of 0 and 255."""
    _rewrite(folder, lambda picture: picture.astype(np.uint16) * 257)


def three_channels(folder: Path) -> None:
    """The mask in each of three channels."""
    _rewrite(folder, lambda picture: cv2.merge([picture] * 3))


def opaque_alpha(folder: Path) -> None:
    """The mask in each of three channels, and an opaque alpha channel."""
    _rewrite(folder, lambda picture: cv2.merge([picture] * 3 + [np.full_like(picture, 255)]))


def grey_edges(folder: Path) -> None:
    """Grey outlines, as of a resized mask, that thresholding turns into the same masks."""

    def soften(picture: np.ndarray) -> np.ndarray:
        soft = cv2.GaussianBlur(picture, (3, 3), 0)
        return np.where(picture > 0, np.maximum(soft, 128), np.minimum(soft, 127))

    _rewrite(folder, soften)


def one_bit(folder: Path) -> None:
    """One bit per pixel."""
    for path in _frames(folder):
        mask = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        rows = np.pad(np.packbits(mask > 0, axis=1), ((0, 0), (1, 0)))
        path.write_bytes(_png(mask.shape[1], mask.shape[0], 1, 0, rows.tobytes()))


def palette(folder: Path) -> None:
    """One palette index per pixel, 0 for black and 1 for white."""
    for path in _frames(folder):
        mask = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        rows = np.pad(mask // 255, ((0, 0), (1, 0)))
        path.write_bytes(_png(mask.shape[1], mask.shape[0], 8, 3, rows.tobytes(), b"\0\0\0\xff\xff\xff"))


def jpeg_frames(folder: Path) -> None:
    """The frames as JPEGs."""
    for path in _frames(folder):
        cv2.imwrite(str(path.with_suffix(".jpg")), cv2.imread(str(path), cv2.IMREAD_UNCHANGED))
        path.unlink()


def jpeg_named_png(folder: Path) -> None:
    """The frames as JPEGs under the names of PNGs."""
    for path in _frames(folder):
        path.write_bytes(cv2.imencode(".jpg", cv2.imread(str(path), cv2.IMREAD_UNCHANGED))[1].tobytes())


def truncated_picture(folder: Path) -> None:
    """A frame whose end is missing, as after an interrupted copy."""
    path = _frames(folder)[3]
    path.write_bytes(path.read_bytes()[:-40])


def garbled_picture(folder: Path) -> None:
    """A frame with an altered byte among its pixels, so that its checksum is wrong."""
    path = _frames(folder)[3]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(bytes(content))


def empty_file(folder: Path) -> None:
    """A frame of no bytes."""
    _frames(folder)[3].write_bytes(b"")


def page_named_png(folder: Path) -> None:
    """A frame that is the error page of a download."""
    _frames(folder)[3].write_bytes(b"<!DOCTYPE html><title>403 Forbidden</title>" * 20)


def gif_named_png(folder: Path) -> None:
    """A frame of another type of image: the smallest GIF, one pixel."""
    parts = "47494638396101000100800000000000ffffff2c00000000010001000002024c01003b"
    _frames(folder)[3].write_bytes(bytes.fromhex(parts))


def finder_companion(folder: Path) -> None:
    """A file of metadata that macOS writes beside each file on other file systems, with a name of the same suffix."""
    path = _frames(folder)[3]
    path.with_name(f"._{path.name}").write_bytes(b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        " + bytes(64))


def picture_too_large(folder: Path) -> None:
    """A small file whose header announces 3.6 billion pixels."""
    _frames(folder)[3].write_bytes(_png(60_000, 60_000, 8, 0, bytes(1000)))


def frame_of_another_size(folder: Path) -> None:
    """One frame of an aligned sequence twice as large as the others."""
    path = _frames(folder)[3]
    cv2.imwrite(str(path), cv2.imread(str(path), cv2.IMREAD_UNCHANGED).repeat(2, axis=0).repeat(2, axis=1))


def frames_of_fifty(folder: Path) -> None:
    """An aligned sequence of 50x50 pixels, which no release has."""
    _rewrite(folder, lambda picture: cv2.resize(picture, (50, 50)))


def one_frame(folder: Path) -> None:
    """A walk of a single frame."""
    for path in _frames(folder)[1:]:
        path.unlink()


def unpadded_numbers(folder: Path) -> None:
    """Frame numbers without leading zeros, so that the order of names is not that of time."""
    for path in _frames(folder):
        start, _, number = path.stem.rpartition("-")
        path.rename(path.with_name(f"{start}-{int(number)}.png"))


def folder_named_like_a_frame(folder: Path) -> None:
    """A folder in place of a frame."""
    path = _frames(folder)[3]
    path.unlink()
    path.mkdir()


def dangling_link(folder: Path) -> None:
    """A frame that is a dangling link."""
    path = _frames(folder)[3]
    path.unlink()
    path.symlink_to("nowhere.png")


def link_to_itself(folder: Path) -> None:
    """A frame that is a link to itself."""
    path = _frames(folder)[3]
    path.unlink()
    path.symlink_to(path.name)


def link_to_a_pipe(folder: Path) -> None:
    """A frame that is a link to a pipe: opening it blocks for ever."""
    path = _frames(folder)[3]
    path.unlink()
    os.mkfifo(folder / "pipe")
    path.symlink_to("pipe")


def linked_frame(folder: Path) -> None:
    """A frame that is a link to a sound one."""
    path = _frames(folder)[3]
    path.symlink_to(path.rename(folder / "elsewhere.bin").name)


def name_not_utf8(folder: Path) -> None:
    """A sound frame with a name in Latin-1."""
    path = _frames(folder)[3]
    path.rename(path.with_name(os.fsdecode(b"m\xfcller-") + path.name))


def damaged_and_name_not_utf8(folder: Path) -> None:
    """A damaged frame with a name in Latin-1: the reject must name it nevertheless."""
    truncated_picture(folder)
    name_not_utf8(folder)
