"""Decodes a PNG from untrusted bytes.

Texts, colour profiles and animations are left out: OpenCV can spend half a minute on a few texts, and Pillow, which
unpacks them as it opens a file, refuses a sound picture over a long one. That is why the chunks are listed here. What
neither library checks is checked here too: that a file is whole to its last byte (Pillow ignores the end of a PNG,
OpenCV fills up what is cut off), and how far the pixels inflate.
"""

import struct
import zlib
from collections.abc import Iterator

import numpy as np
from PIL.PngImagePlugin import PngImageFile

from datasets.formats.pictures.pixels import MAX_PARTS, by_opencv, check_header, damaged
from datasets.formats.pictures.tiff_fields import orientation_of
from datasets.schema.errors import Unreadable

TRUSTED_DEFLATE = 2**16  # bytes that inflate to 68 MB at most, in a tenth of a second
SIGNATURE = b"\x89PNG\r\n\x1a\n"
PIXELS = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})  # the chunks that make pixels
_HEADER_CHUNK = 25  # bytes of IHDR with its length, name and checksum
_CHUNK, _CHECKSUM = struct.Struct(">I4s"), struct.Struct(">I")


def decode(data: bytes) -> tuple[np.ndarray, int]:
    """Pixels as `images.Picture` has them, not yet turned, and the Exif orientation. Unreadable where it is damaged.

    Grey values of 1, 2 and 4 bits are spread over 0..255, but 0/1 in 2 or 4 bits stays 0/1.
    """
    chunks = _chunks(data)
    _, start, end = next(chunks)
    if end - start != _HEADER_CHUNK:
        damaged("a PNG whose header has another length")
    width, height, raw_mode = check_header(PngImageFile, data[:end] + _CHUNK.pack(0, b"IDAT"))
    kept, is_whole, deflated, exif = [slice(0, end)], True, 0, b""
    for name, start, end in chunks:
        if name in PIXELS:
            kept.append(slice(start, end))
            deflated += end - start - 12 if name == b"IDAT" else 0
        elif name[0] & 0x20:  # a lower-case letter: the pixels are the same without it
            is_whole = False
            exif = data[start + 8 : end - 4] if name == b"eXIf" else exif
        else:
            damaged(f"a PNG with an unknown chunk {name!a}")
    if deflated > TRUSTED_DEFLATE:
        _check_inflated(data, kept, height * (1 + (width * _bits(raw_mode) + 7) // 8))
    image = by_opencv(data if is_whole else b"".join([data[part] for part in kept]))
    if raw_mode in ("L;2", "L;4"):
        one = np.uint8(255 // (2 ** _bits(raw_mode) - 1))
        image = image // one if image.max() == one else image
    return image, orientation_of(exif)


def _bits(raw_mode: str) -> int:
    """Bits of a pixel."""
    channels, _, depth = raw_mode.partition(";")
    return 1 if channels == "1" else len(channels) * int(depth.rstrip("B") or 8)


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and end of each chunk, from IHDR to IEND. Unreadable where one is cut off or fails its checksum."""
    if not data.startswith(SIGNATURE):
        damaged("a PNG whose first bytes are not those of a PNG")
    start = len(SIGNATURE)
    for index in range(MAX_PARTS):
        if start + 12 > len(data):
            damaged(f"a PNG that ends after {len(data)} bytes, before its last chunk")
        length, name = _CHUNK.unpack_from(data, start)
        end = start + 12 + length
        if end > len(data):
            damaged(f"a PNG that ends after {len(data)} bytes, within its chunk {name!a}")
        if zlib.crc32(data[start + 4 : end - 4]) != _CHECKSUM.unpack_from(data, end - 4)[0]:
            damaged(f"a PNG whose chunk {name!a} fails its checksum")
        if (name == b"IHDR") != (index == 0):
            damaged("a PNG without a header at its beginning, or with two")
        yield name, start, end
        if name == b"IEND":
            return
        start = end
    damaged(f"a PNG of more than {MAX_PARTS} chunks")


def _check_inflated(data: bytes, chunks: list[slice], expected: int) -> None:
    """Raises Unreadable for pixels that inflate to far more than the picture holds: libpng would inflate them all.

    expected: bytes of the rows, each with its filter byte; interlaced pictures need up to twice as many.
    """
    inflater, left = zlib.decompressobj(), 2 * expected + TRUSTED_DEFLATE
    try:
        for chunk in chunks:
            if data[chunk.start + 4 : chunk.start + 8] != b"IDAT":
                continue
            for start in range(chunk.start + 8, chunk.stop - 4, 2**14):
                left -= len(inflater.decompress(data[start : min(start + 2**14, chunk.stop - 4)]))
                if left < 0:
                    damaged("a PNG that inflates to more than its pixels")
                if inflater.eof:
                    return
    except zlib.error as error:
        raise Unreadable("damaged image", f"a PNG whose pixels cannot be inflated: {error}") from error
