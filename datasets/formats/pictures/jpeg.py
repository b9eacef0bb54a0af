"""Decodes a JPEG from untrusted bytes.

Colour profiles, comments and Exif are left out. What neither Pillow nor OpenCV checks is checked here: that a file is
whole to its last byte (Pillow ignores all that follows the header of a JPEG, OpenCV fills up what is cut off), and how
many scans it has.
"""

import re
from collections.abc import Iterator

import numpy as np
from PIL.JpegImagePlugin import JpegImageFile

from datasets.formats.pictures.pixels import MAX_PARTS, by_opencv, check_header, damaged
from datasets.formats.pictures.tiff_fields import EXIF, orientation_of

MAX_SCANS = 64  # of a progressive JPEG: encoders write about ten, and each walks over all pixels
EOI, SOS, APP1 = 0xD9, 0xDA, 0xE1
FRAMES = frozenset({0xC0, 0xC1, 0xC2})  # baseline, extended and progressive, in Huffman codes
PIXELS = FRAMES | {0xC4, EOI, SOS, 0xDB, 0xDD, 0xE0, 0xEE}  # and tables, JFIF, Adobe's colour transform
PARTS = PIXELS | frozenset(range(0xE0, 0xF0)) | {0xFE}  # and application data, comments
_EMPTY_SCAN = b"\xff\xda\x00\x02"
_MARKER = re.compile(rb"\xff+([^\x00\xff])")
_END_OF_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # neither a stuffed 0xff nor a restart


def decode(data: bytes) -> tuple[np.ndarray, int]:
    """Pixels as `images.Picture` has them, not yet turned, and the Exif orientation. Unreadable where it is damaged.

    A JPEG has no checksum: altered bytes within its scans are decoded as they are.
    """
    kept, is_whole, scans, is_sized, exif = [slice(0, 2)], True, 0, False, b""
    for marker, start, end in _segments(data):
        if marker not in PIXELS:
            is_whole = False
            if marker == APP1 and not exif and data.startswith(EXIF, start + 4):
                exif = data[start + 4 + len(EXIF) : end]
            continue
        kept.append(slice(start, end))
        if marker in FRAMES:
            if is_sized:
                damaged("a JPEG with two headers")
            check_header(JpegImageFile, data[:2] + data[start:end] + _EMPTY_SCAN)
            is_sized = True
        scans += marker == SOS
    if scans > MAX_SCANS:
        damaged(f"a JPEG of {scans} scans")
    if not is_sized:
        damaged("a JPEG without a header")
    return by_opencv(data if is_whole else b"".join([data[part] for part in kept])), orientation_of(exif)


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, start and end of each segment up to EOI; the pixels of a scan belong to its segment."""
    start = 2
    for _ in range(MAX_PARTS):
        found = _MARKER.match(data, start)
        if found is None:
            damaged(f"a JPEG that ends or breaks off after {start} bytes")
        marker, body = found[1][0], found.end()
        if marker == EOI:
            yield marker, start, body
            return
        if marker not in PARTS:
            damaged(f"a JPEG with an unknown segment {marker:#x}")
        length = int.from_bytes(data[body : body + 2], "big")
        end = body + length
        if length < 2 or end > len(data):
            damaged(f"a JPEG that ends after {len(data)} bytes, or has a segment of a wrong length")
        if marker == SOS:
            found = _END_OF_SCAN.search(data, end)
            if found is None:
                damaged(f"a JPEG that ends after {len(data)} bytes, within its pixels")
            end = found.start()
        yield marker, start, end
        start = end
    damaged(f"a JPEG of more than {MAX_PARTS} segments")
