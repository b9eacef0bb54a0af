"""Decodes one PNG or JPEG from untrusted bytes.

Pillow reads the header, then the size is checked, then OpenCV decodes the pixels (a JPEG in half of Pillow's time).
Both libraries get only those parts of the file that make pixels: texts, colour profiles, Exif and animations are left
out. OpenCV can spend half a minute on a few texts, and Pillow, which unpacks them as it opens a file, refuses a sound
picture over a long one. That is why the chunks of a PNG and the segments of a JPEG are listed here.

What neither library checks is checked here too: that a file is whole to its last byte (Pillow ignores the end of a PNG
and all that follows the header of a JPEG, OpenCV fills up what is cut off), how many scans a JPEG has, and how far the
pixels of a PNG inflate.
"""

import io
import re
import struct
import zlib
from collections.abc import Iterator
from functools import lru_cache
from typing import NoReturn

import cv2
import numpy as np
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from datasets.schema.errors import Unreadable

MAX_BYTES = 2**26  # of a file
MAX_PIXELS = 2**24  # silhouettes have less than 2**21
MAX_SIDE = 2**16 - 1  # the limit of JPEG
MAX_PARTS = 2**15  # chunks of a PNG (a file of MAX_BYTES in chunks of 8 kB has 8,192) or segments of a JPEG
MAX_SCANS = 64  # of a progressive JPEG: encoders write about ten, and each walks over all pixels
TRUSTED_DEFLATE = 2**16  # bytes that inflate to 68 MB at most, in a tenth of a second

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_PIXELS = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})
_HEADER_CHUNK = 25  # bytes of IHDR with its length, name and checksum
_CHUNK, _CHECKSUM = struct.Struct(">I4s"), struct.Struct(">I")

EOI, SOS = 0xD9, 0xDA
JPEG_FRAMES = frozenset({0xC0, 0xC1, 0xC2})  # baseline, extended and progressive, in Huffman codes
JPEG_PIXELS = JPEG_FRAMES | {0xC4, EOI, SOS, 0xDB, 0xDD, 0xE0, 0xEE}  # and tables, JFIF, Adobe's colour transform
JPEG_PARTS = JPEG_PIXELS | frozenset(range(0xE0, 0xF0)) | {0xFE}  # and application data, comments
_EMPTY_SCAN = b"\xff\xda\x00\x02"
_MARKER = re.compile(rb"\xff+([^\x00\xff])")
_END_OF_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # neither a stuffed 0xff nor a restart

_BEGINNINGS = (  # for messages; Pillow knows no pages, archives or arrays, and would parse the file to name its type
    (b"GIF8", "a GIF"),
    (b"BM", "a BMP"),
    (b"II*\0", "a TIFF"),
    (b"MM\0*", "a TIFF"),
    (b"RIFF", "a WebP or another RIFF file"),
    (b"#?R", "a Radiance HDR"),
    (b"v/1\x01", "an OpenEXR"),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000"),
    (b"\xffO\xffQ", "a JPEG 2000"),
    (b"%PDF", "a PDF"),
    (b"PK\x03\x04", "a zip archive"),
    (b"\x1f\x8b", "a gzip file"),
    (b"\x93NUMPY", "a numpy file"),
    (b"\x80", "a pickle"),
    (b"<", "HTML or XML"),
    (bytes(8), "nothing known: they begin with zeros"),
)


def decode(data: bytes) -> np.ndarray:
    """The pixels of a PNG or JPEG: [H, W] or [H, W, C], uint8 or uint16, channels in OpenCV's order (BGR, BGRA).

    Palettes become colours. Grey values of 1, 2 and 4 bits are spread over 0..255, but 0/1 in 2 or 4 bits stays 0/1.
    Raises Unreadable: `empty file`, `file too large`, `not a PNG or JPEG`, `picture too large` or `damaged image`. A
    JPEG has no checksum: altered bytes within its scans are decoded as they are.
    """
    if not data:
        raise Unreadable("empty file", "0 bytes")
    if len(data) > MAX_BYTES:
        raise Unreadable("file too large", f"more than {MAX_BYTES} bytes")
    if data.startswith(PNG_SIGNATURE[:4]):
        return _decode_png(data)
    if data.startswith(b"\xff\xd8"):
        return _decode_jpeg(data)
    raise Unreadable("not a PNG or JPEG", f"{len(data)} bytes that look like {_guess(data)}")


def _guess(data: bytes) -> str:
    for beginning, name in _BEGINNINGS:
        if data.startswith(beginning):
            return name
    if data[4:8] == b"ftyp":
        return "an AVIF, a HEIC or a video"
    if data[:64].isascii() and all(byte >= 0x20 or byte in b"\t\n\r" for byte in data[:64]):
        return "text"
    return f"nothing known: {data[:8].hex(' ')}"


def _damaged(detail: str) -> NoReturn:
    raise Unreadable("damaged image", detail)


@lru_cache(maxsize=64)  # the frames of a walk have one header; each of them alone would cost ingest 4%
def _check_header(image_file: type[PngImageFile | JpegImageFile], data: bytes) -> tuple[int, int, str]:
    """Width, height and raw mode by a header without pixels; Unreadable for a size that is not decoded.

    The raw mode is Pillow's name for pixels in a file: a letter a channel, then `;` and their bits unless these are 8.
    """
    try:
        image = image_file(io.BytesIO(data))
    except (SyntaxError, ValueError, OSError) as error:
        raise Unreadable("damaged image", f"a header that Pillow cannot read: {error}") from error
    width, height = image.size
    if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        raise Unreadable("picture too large", f"{width}x{height} pixels")
    (tile,) = image.tile
    return width, height, tile.args if isinstance(tile.args, str) else image.mode


def _bits(raw_mode: str) -> int:
    """Bits of a pixel."""
    channels, _, depth = raw_mode.partition(";")
    return 1 if channels == "1" else len(channels) * int(depth.rstrip("B") or 8)


def _decode_png(data: bytes) -> np.ndarray:
    chunks = _png_chunks(data)
    _, start, end = next(chunks)
    if end - start != _HEADER_CHUNK:
        _damaged("a PNG whose header has another length")
    width, height, raw_mode = _check_header(PngImageFile, data[:end] + _CHUNK.pack(0, b"IDAT"))
    kept, is_whole, deflated = [slice(0, end)], True, 0
    for name, start, end in chunks:
        if name in PNG_PIXELS:
            kept.append(slice(start, end))
            deflated += end - start - 12 if name == b"IDAT" else 0
        elif name[0] & 0x20:  # a lower-case letter: the pixels are the same without it
            is_whole = False
        else:
            _damaged(f"a PNG with an unknown chunk {name!a}")
    if deflated > TRUSTED_DEFLATE:
        _check_inflated(data, kept, height * (1 + (width * _bits(raw_mode) + 7) // 8))
    image = _decode_parts(data, kept, is_whole)
    if raw_mode in ("L;2", "L;4"):
        one = np.uint8(255 // (2 ** _bits(raw_mode) - 1))
        return image // one if image.max() == one else image
    return image


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and end of each chunk, from IHDR to IEND. Unreadable where one is cut off or fails its checksum."""
    if not data.startswith(PNG_SIGNATURE):
        _damaged("a PNG whose first bytes are not those of a PNG")
    start = len(PNG_SIGNATURE)
    for index in range(MAX_PARTS):
        if start + 12 > len(data):
            _damaged(f"a PNG that ends after {len(data)} bytes, before its last chunk")
        length, name = _CHUNK.unpack_from(data, start)
        end = start + 12 + length
        if end > len(data):
            _damaged(f"a PNG that ends after {len(data)} bytes, within its chunk {name!a}")
        if zlib.crc32(data[start + 4 : end - 4]) != _CHECKSUM.unpack_from(data, end - 4)[0]:
            _damaged(f"a PNG whose chunk {name!a} fails its checksum")
        if (name == b"IHDR") != (index == 0):
            _damaged("a PNG without a header at its beginning, or with two")
        yield name, start, end
        if name == b"IEND":
            return
        start = end
    _damaged(f"a PNG of more than {MAX_PARTS} chunks")


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
                    _damaged("a PNG that inflates to more than its pixels")
                if inflater.eof:
                    return
    except zlib.error as error:
        raise Unreadable("damaged image", f"a PNG whose pixels cannot be inflated: {error}") from error


def _decode_jpeg(data: bytes) -> np.ndarray:
    kept, is_whole, scans, is_sized = [slice(0, 2)], True, 0, False
    for marker, start, end in _jpeg_segments(data):
        if marker not in JPEG_PIXELS:
            is_whole = False
            continue
        kept.append(slice(start, end))
        if marker in JPEG_FRAMES:
            if is_sized:
                _damaged("a JPEG with two headers")
            _check_header(JpegImageFile, data[:2] + data[start:end] + _EMPTY_SCAN)
            is_sized = True
        scans += marker == SOS
    if scans > MAX_SCANS:
        _damaged(f"a JPEG of {scans} scans")
    if not is_sized:
        _damaged("a JPEG without a header")
    return _decode_parts(data, kept, is_whole)


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, start and end of each segment up to EOI; the pixels of a scan belong to its segment."""
    start = 2
    for _ in range(MAX_PARTS):
        found = _MARKER.match(data, start)
        if found is None:
            _damaged(f"a JPEG that ends or breaks off after {start} bytes")
        marker, body = found[1][0], found.end()
        if marker == EOI:
            yield marker, start, body
            return
        if marker not in JPEG_PARTS:
            _damaged(f"a JPEG with an unknown segment {marker:#x}")
        length = int.from_bytes(data[body : body + 2], "big")
        end = body + length
        if length < 2 or end > len(data):
            _damaged(f"a JPEG that ends after {len(data)} bytes, or has a segment of a wrong length")
        if marker == SOS:
            found = _END_OF_SCAN.search(data, end)
            if found is None:
                _damaged(f"a JPEG that ends after {len(data)} bytes, within its pixels")
            end = found.start()
        yield marker, start, end
        start = end
    _damaged(f"a JPEG of more than {MAX_PARTS} segments")


def _decode_parts(data: bytes, kept: list[slice], is_whole: bool) -> np.ndarray:
    """The pixels that OpenCV decodes from these parts of the data; is_whole: nothing between them is left out."""
    if not is_whole:
        data = b"".join([data[part] for part in kept])
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        image = None
    if image is None:
        _damaged(f"{len(data)} bytes that OpenCV cannot decode")
    return image
