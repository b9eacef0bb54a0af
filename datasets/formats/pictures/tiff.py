"""Decodes a TIFF of one picture from untrusted bytes: without compression, or in LZW, Deflate or PackBits.

Pillow loads the values of every tag, and a tag may point to the whole file: 65,535 of them, in a file of 1 MB, take
65 GB. Its libtiff writes to the terminal over each damaged strip, and trusts the size of a tile. So the strips and
tiles are unpacked here, each up to the bytes of its rows, and Pillow gets another TIFF: the rows in one strip, and the
tags that say what a pixel is.
"""

import struct
from dataclasses import dataclass

import numpy as np
from PIL.TiffImagePlugin import TiffImageFile

from datasets.formats.pictures.pixels import by_pillow, check_size, damaged, unsupported
from datasets.formats.pictures.tiff_compression import LZW, unpacker
from datasets.formats.pictures.tiff_fields import LONG, Directory, orientation_of, read_directory
from datasets.schema.errors import Unreadable

WIDTH, HEIGHT, BITS, COMPRESSION, FILL_ORDER, SAMPLES = 256, 257, 258, 259, 266, 277
STRIPS, ROWS_OF_STRIP, STRIP_BYTES, PLANES, PREDICTOR = 273, 278, 279, 284, 317
TILE_WIDTH, TILE_HEIGHT, TILES, TILE_BYTES = 322, 323, 324, 325
KEPT = (BITS, 262, SAMPLES, 320, 338, 339)  # of a pixel: also what 0 means, palette, extra samples, format of samples
MAX_FIELD = 2**19  # bytes: the list of strips of a picture of MAX_SIDE rows takes 2**18
MAX_TILE = 2**11  # pixels of a side; usual are 64 to 1024
MAX_ROWS = 2**27  # bytes of all rows
MAX_LZW = 2**24  # bytes of a file: they take seconds


@dataclass(frozen=True)
class _Layout:
    """How a picture lies in its strips or tiles: their size in pixels, the bytes of a row of one, and their number."""

    width: int
    height: int
    samples: int  # values of a pixel
    bits: int  # of a value
    is_tiled: bool
    block_width: int
    block_height: int
    block_bytes: int
    across: int
    down: int


def decode(data: bytes) -> tuple[np.ndarray, int]:
    """Pixels as `images.Picture` has them, not yet turned, and the orientation. Unreadable where it is damaged."""
    if data[2:4] in (b"+\0", b"\0+"):
        unsupported("a BigTIFF: save it as a TIFF of less than 4 GB, or as PNG")
    try:
        directory = read_directory(data)
    except ValueError as error:
        damaged(f"a TIFF with {error}")
    if directory.next_start is None:
        damaged(f"a TIFF that ends after {len(data)} bytes, within its directory")
    if directory.next_start > 0:
        unsupported("several pictures in one TIFF: save a file for each")
    for tag in KEPT:
        _contents(directory, data, tag)
    layout = _layout(directory, data)
    rows = _rows(directory, data, layout)
    return by_pillow(TiffImageFile, _plain_tiff(directory, data, layout, rows)), orientation_of(data)


def _contents(directory: Directory, data: bytes, tag: int) -> bytes:
    """The bytes of a field's values, none where it is missing. Unreadable where they are too many, or cut off."""
    field = directory.fields.get(tag)
    if field is None:
        return b""
    if not 0 < field.nbytes <= MAX_FIELD or field.start + field.nbytes > len(data):
        damaged(f"a TIFF whose tag {tag} has {field.nbytes} bytes, or lies behind the end")
    return data[field.start : field.start + field.nbytes]


def _only(directory: Directory, data: bytes, tag: int, default: int) -> int:
    """The one number of a field, or the default where it is missing."""
    if not _contents(directory, data, tag):
        return default
    values = directory.numbers(data, tag)
    if len(values) != 1:
        damaged(f"a TIFF whose tag {tag} is not a number")
    return values[0]


def _layout(directory: Directory, data: bytes) -> _Layout:
    width, height = (_only(directory, data, tag, 0) for tag in (WIDTH, HEIGHT))
    check_size(width, height)
    samples, bits = _only(directory, data, SAMPLES, 1), set(directory.numbers(data, BITS)) or {1}
    if not 1 <= samples <= 4 or len(bits) > 1 or max(bits) not in (1, 2, 4, 8, 16, 32) or samples * max(bits) > 64:
        unsupported(f"a TIFF of {samples} values a pixel, of {max(bits)} bits each")
    if _only(directory, data, FILL_ORDER, 1) != 1 or (samples > 1 and _only(directory, data, PLANES, 1) != 1):
        unsupported("a TIFF with reversed bits, or with a plane for each colour: save it as PNG")
    is_tiled = TILES in directory.fields
    if is_tiled:
        across, down = (_only(directory, data, tag, 0) for tag in (TILE_WIDTH, TILE_HEIGHT))
        if not (0 < across <= MAX_TILE and 0 < down <= MAX_TILE) or across % 16:
            unsupported(f"a TIFF in tiles of {across}x{down} pixels: save it in strips")
    else:
        across, down = width, max(1, min(height, _only(directory, data, ROWS_OF_STRIP, height)))
    layout = _Layout(
        width=width,
        height=height,
        samples=samples,
        bits=max(bits),
        is_tiled=is_tiled,
        block_width=across,
        block_height=down,
        block_bytes=(across * samples * max(bits) + 7) // 8,
        across=-(-width // across),
        down=-(-height // down),
    )
    if layout.across * layout.block_bytes * layout.down * layout.block_height > MAX_ROWS:
        raise Unreadable("picture too large", f"{width}x{height} pixels in tiles of {across}x{down}")
    return layout


def _rows(directory: Directory, data: bytes, layout: _Layout) -> bytes:
    """The rows of all pixels, each of whole bytes, without compression."""
    tags = (TILES, TILE_BYTES) if layout.is_tiled else (STRIPS, STRIP_BYTES)
    if not all(_contents(directory, data, tag) for tag in tags):
        damaged("a TIFF that does not list its strips or tiles")
    starts, lengths = (directory.numbers(data, tag) for tag in tags)
    if not len(starts) == len(lengths) == layout.across * layout.down or sum(lengths) > len(data):
        damaged(f"a TIFF whose {len(starts)} strips or tiles are not those of its pixels, or overlap")
    compression, predictor = (_only(directory, data, tag, 1) for tag in (COMPRESSION, PREDICTOR))
    unpack = unpacker(compression)
    if compression == LZW and len(data) > MAX_LZW:
        unsupported(f"more than {MAX_LZW} bytes of LZW: save it as PNG")
    rows = np.zeros((layout.down * layout.block_height, layout.across * layout.block_bytes), np.uint8)
    for index, (start, length) in enumerate(zip(starts, lengths, strict=True)):
        top = index // layout.across * layout.block_height
        left = index % layout.across * layout.block_bytes
        count = layout.block_height if layout.is_tiled else min(layout.block_height, layout.height - top)
        content = unpack(data[start : start + length], count * layout.block_bytes)
        if len(content) < count * layout.block_bytes or start + length > len(data):
            damaged(f"a TIFF of {len(data)} bytes that ends within a strip or tile")
        block = np.frombuffer(content, np.uint8).reshape(count, layout.block_bytes)
        rows[top : top + count, left : left + layout.block_bytes] = _sums(block, layout, predictor, directory.order)
    return rows[: layout.height, : (layout.width * layout.samples * layout.bits + 7) // 8].tobytes()


def _sums(block: np.ndarray, layout: _Layout, predictor: int, order: str) -> np.ndarray:
    """The rows of a block, uint8 [rows, bytes], of which the predictor stored the difference to the pixel before."""
    if predictor == 1:
        return block
    if predictor != 2 or layout.bits < 8:
        unsupported(f"a TIFF with predictor {predictor} of {layout.bits} bits: save it as PNG")
    values = block.view(f"{order}u{layout.bits // 8}").reshape(len(block), layout.block_width, layout.samples)
    summed: np.ndarray = np.cumsum(values, axis=1, dtype=values.dtype)
    return summed.astype(values.dtype, copy=False).reshape(len(block), -1).view(np.uint8)


def _plain_tiff(directory: Directory, data: bytes, layout: _Layout, rows: bytes) -> bytes:
    """A TIFF of these rows in one strip."""
    order = directory.order
    numbers = {WIDTH: layout.width, HEIGHT: layout.height, COMPRESSION: 1, STRIPS: 8, PLANES: 1}
    numbers |= {ROWS_OF_STRIP: layout.height, STRIP_BYTES: len(rows)}
    fields = {tag: (LONG, 1, struct.pack(f"{order}I", number)) for tag, number in numbers.items()}
    for tag in KEPT:
        if content := _contents(directory, data, tag):
            fields[tag] = (directory.fields[tag].kind, directory.fields[tag].count, content)
    behind, entries = b"", b""
    for tag, (kind, count, content) in sorted(fields.items()):
        place = content.ljust(4, b"\0")
        if len(content) > 4:
            place = struct.pack(f"{order}I", 8 + len(rows) + len(behind))
            behind += content
        entries += struct.pack(f"{order}HHI", tag, kind, count) + place
    start = struct.pack(f"{order}I", 8 + len(rows) + len(behind))
    return data[:4] + start + rows + behind + struct.pack(f"{order}H", len(fields)) + entries + bytes(4)
