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
from PIL import Image


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


def white_background(folder: Path) -> None:
    """The body black on white."""
    _rewrite(folder, lambda picture: 255 - picture)


def nearly_opaque_alpha(folder: Path) -> None:
    """An alpha channel of 255 on the body and 254 elsewhere."""
    _rewrite(folder, lambda picture: cv2.merge([picture] * 3 + [np.where(picture > 0, 255, 254).astype(np.uint8)]))


def alpha_of_one_pixel(folder: Path) -> None:
    """An alpha channel that is opaque but for one pixel."""

    def dress(picture: np.ndarray) -> np.ndarray:
        alpha = np.full_like(picture, 255)
        alpha[0, 0] = 0
        return cv2.merge([picture] * 3 + [alpha])

    _rewrite(folder, dress)


def alpha_against_the_colours(folder: Path) -> None:
    """An alpha channel that is transparent on the body."""
    _rewrite(folder, lambda picture: cv2.merge([picture] * 3 + [255 - picture]))


def cut_out_photograph(folder: Path) -> None:
    """A photograph that an alpha channel cuts the body out of."""
    noise = np.random.default_rng(0).integers(60, 200, (240, 320, 3), np.uint8)
    _rewrite(folder, lambda picture: np.dstack([noise[: len(picture), : picture.shape[1]], picture]))


def turned_by_exif(folder: Path) -> None:
    """JPEGs that are stored lying, with the Exif that makes viewers turn them."""
    exif = Image.Exif()
    exif[0x0112] = 6
    for path in _frames(folder):
        Image.open(path).transpose(Image.Transpose.ROTATE_90).save(path.with_suffix(".jpg"), exif=exif, quality=95)
        path.unlink()


def labels_zero_and_two(folder: Path) -> None:
    """0 and 2 instead of 0 and 255."""
    _rewrite(folder, lambda picture: picture // 255 * 2)


def labels_zero_and_a_hundred(folder: Path) -> None:
    """0 and 100 instead of 0 and 255."""
    _rewrite(folder, lambda picture: picture // 255 * 100)


def a_thousand_in_sixteen_bits(folder: Path) -> None:
    """0 and 1,000 in 16 bits."""
    _rewrite(folder, lambda picture: (picture > 0).astype(np.uint16) * 1000)


def void_at_the_border(folder: Path) -> None:
    """0 and 1 with a border of 255."""

    def frame(picture: np.ndarray) -> np.ndarray:
        return cv2.copyMakeBorder(picture[2:-2, 2:-2] // 255, 2, 2, 2, 2, cv2.BORDER_CONSTANT, value=255)

    _rewrite(folder, frame)


def line_at_one_side(folder: Path) -> None:
    """A white line along the bottom, as cut frames of a video have it."""

    def line(picture: np.ndarray) -> np.ndarray:
        picture[-3:] = 255
        return picture

    _rewrite(folder, line)


def third_label(folder: Path) -> None:
    """0, 1 and an object of 15."""

    def label(picture: np.ndarray) -> np.ndarray:
        picture = picture // 255
        picture[20:60, 20:60] = 15
        return picture

    _rewrite(folder, label)


def dark_palette(folder: Path) -> None:
    """A palette in which the body is a dark colour that is no brighter than the background in any channel."""
    for path in _frames(folder):
        mask = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        rows = np.pad(mask // 255, ((0, 0), (1, 0)))
        path.write_bytes(_png(mask.shape[1], mask.shape[0], 8, 3, rows.tobytes(), b"\x3c\0\0\x3c\x3c\0"))


def over_a_photograph(folder: Path) -> None:
    """The mask, white, laid over a photograph."""
    noise = np.random.default_rng(0).integers(60, 200, (240, 320, 3), np.uint8)

    def lay(picture: np.ndarray) -> np.ndarray:
        return np.where(picture[..., None] > 0, np.uint8(230), noise[: len(picture), : picture.shape[1]])

    _rewrite(folder, lay)


def photographs(folder: Path) -> None:
    """Pictures of smooth grey values instead of masks."""
    coarse = np.random.default_rng(0).integers(0, 255, (12, 16), np.uint8)
    _rewrite(folder, lambda picture: cv2.resize(coarse, picture.shape[::-1], interpolation=cv2.INTER_CUBIC))


def _rename(folder: Path, name: Callable[[int, str], str]) -> None:
    for index, path in enumerate(_frames(folder)):
        path.rename(path.with_name(name(index, path.stem) + path.suffix))


def confidence_in_the_name(folder: Path) -> None:
    """A confidence behind the number of each frame."""
    digits = np.random.default_rng(0).permutation(9000) + 1000
    _rename(folder, lambda index, stem: f"frame{stem}_conf0.{digits[index]}")


def box_in_the_name(folder: Path) -> None:
    """A box behind the number of each frame."""
    rng = np.random.default_rng(0)
    _rename(folder, lambda _, stem: f"{stem}_x{rng.integers(50)}_w{rng.integers(35, 50)}")


def box_before_the_number(folder: Path) -> None:
    """A box, whose left side moves as the person does, before the number of each frame."""
    rng = np.random.default_rng(0)
    _rename(folder, lambda index, stem: f"x{100 + 9 * index + rng.integers(8)}_y40_{stem}")


def copy_of_a_frame(folder: Path) -> None:
    """A copy that a file manager made."""
    path = _frames(folder)[3]
    path.with_name(f"{path.stem} (1){path.suffix}").write_bytes(path.read_bytes())


def copy_as_jpeg(folder: Path) -> None:
    """A frame in two formats."""
    path = _frames(folder)[3]
    cv2.imwrite(str(path.with_suffix(".jpg")), cv2.imread(str(path), cv2.IMREAD_UNCHANGED))


def another_frame_of_one_number(folder: Path) -> None:
    """Two different frames that have one number, with and without a zero before it."""
    path = _frames(folder)[3]
    path.with_name(f"0{path.name}").write_bytes(_frames(folder)[4].read_bytes())


def somebody_far_away(folder: Path) -> None:
    """Another person, a third as large."""

    def add(picture: np.ndarray) -> np.ndarray:
        small = cv2.resize(picture, None, fx=0.33, fy=0.33, interpolation=cv2.INTER_NEAREST)
        picture[: len(small), : small.shape[1]] = np.maximum(picture[: len(small), : small.shape[1]], small)
        return picture

    _rewrite(folder, add)


def somebody_beside(folder: Path) -> None:
    """Another person of the same size beside the first one."""

    def add(picture: np.ndarray) -> np.ndarray:
        columns = np.flatnonzero(picture.any(axis=0))
        if not len(columns):
            return picture
        width = columns[-1] - columns[0] + 8
        return np.maximum(np.roll(picture, width // 2, axis=1), np.roll(picture, -(width - width // 2), axis=1))

    _rewrite(folder, add)


def white_inside_a_dark_frame(folder: Path) -> None:
    """Bodies of 0 on 255, with a wide dark frame around them."""
    _rewrite(folder, lambda picture: np.pad(255 - picture, 24))


def outlines(folder: Path) -> None:
    """The outlines of bodies."""
    _rewrite(folder, lambda picture: picture - cv2.erode(picture, np.ones((3, 3), np.uint8)))


def lying(folder: Path) -> None:
    """Pictures turned by 90 degrees, without an Exif that says so."""
    _rewrite(folder, lambda picture: np.ascontiguousarray(np.rot90(picture)))
