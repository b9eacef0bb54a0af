"""Decodes a WebP of one picture from untrusted bytes.

Pillow reserves memory for the canvas as it opens a file, so the sizes are read here before, from each chunk that has
one. It gets the chunks that make pixels alone.
"""

import struct
from collections.abc import Iterator

import numpy as np
from PIL.WebPImagePlugin import WebPImageFile

from datasets.formats.pictures.pixels import MAX_PARTS, by_pillow, check_size, damaged, unsupported
from datasets.formats.pictures.tiff_fields import EXIF, orientation_of

_PIXELS = (b"VP8X", b"ALPH", b"VP8 ", b"VP8L")  # extended header, alpha, lossy and lossless pixels
_HAS_ALPHA = 0x10  # of the flags in the extended header


def decode(data: bytes) -> tuple[np.ndarray, int]:
    """Pixels as `images.Picture` has them, not yet turned, and the Exif orientation. Unreadable where it is damaged."""
    kept: dict[bytes, bytes] = {}
    orientation = 1
    for name, content in _chunks(data):
        if name in (b"ANIM", b"ANMF"):
            unsupported("an animation: save its frames as a picture each")
        if name == b"EXIF":
            orientation = orientation_of(content.removeprefix(EXIF))
        if name not in _PIXELS:
            continue
        if name in kept:
            damaged(f"a WebP with two chunks {name!a}")
        if name != b"ALPH":
            check_size(*_size(name, content))
        kept[name] = content
    if len(kept.keys() & {b"VP8 ", b"VP8L"}) != 1:
        damaged("a WebP without pixels, or with two kinds of them")
    if b"VP8X" in kept:
        kept[b"VP8X"] = bytes([kept[b"VP8X"][0] & _HAS_ALPHA]) + kept[b"VP8X"][1:]
    body = b"WEBP" + b"".join(_chunk(name, kept[name]) for name in _PIXELS if name in kept)
    return by_pillow(WebPImageFile, b"RIFF" + struct.pack("<I", len(body)) + body), orientation


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Name and content of each chunk. Unreadable where the file is cut off."""
    if len(data) < 12 or data[8:12] != b"WEBP":
        damaged("a RIFF file that is not a WebP")
    start, end = 12, 8 + int.from_bytes(data[4:8], "little")
    if end > len(data):
        damaged(f"a WebP that ends after {len(data)} of {end} bytes")
    for _ in range(MAX_PARTS):
        if start + 8 > end:
            return
        name, length = struct.unpack_from("<4sI", data, start)
        if start + 8 + length > end:
            damaged(f"a WebP that ends within its chunk {name!a}")
        yield name, data[start + 8 : start + 8 + length]
        start += 8 + length + length % 2
    damaged(f"a WebP of more than {MAX_PARTS} chunks")


def _chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)


def _size(name: bytes, content: bytes) -> tuple[int, int]:
    """Width and height in the header of a chunk (RFC 9649)."""
    if len(content) < (5 if name == b"VP8L" else 10):
        damaged(f"a WebP whose chunk {name!a} has no header")
    if name == b"VP8X":
        return int.from_bytes(content[4:7], "little") + 1, int.from_bytes(content[7:10], "little") + 1
    if name == b"VP8L":
        bits = int.from_bytes(content[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack_from("<HH", content, 6)
    return width & 0x3FFF, height & 0x3FFF
