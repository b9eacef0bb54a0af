"""Decodes a BMP from untrusted bytes: uncompressed, of 1, 4, 8, 24 or 32 bits a pixel.

OpenCV decodes the pixels. Pillow 13 reads one of 8 bits whose palette is black and white as one of 1 bit, which is
another picture. The header is checked here: OpenCV fills up what is cut off.
"""

import struct

import numpy as np

from datasets.formats.pictures.pixels import by_opencv, check_size, damaged, unsupported

_FILE, _CORE, _INFO = struct.Struct("<2sIHHI"), struct.Struct("<IHHHH"), struct.Struct("<IiiHHIIiiII")
_COMPRESSIONS = {1: "run lengths", 2: "run lengths", 4: "JPEG", 5: "PNG"}
_UNCOMPRESSED = (0, 3)  # 3: with a mask of bits for each colour


def decode(data: bytes) -> tuple[np.ndarray, int]:
    """Pixels as `images.Picture` has them, and 1: a BMP has no orientation. Unreadable where it is damaged."""
    if len(data) < _FILE.size + _INFO.size:
        damaged(f"a BMP that ends after {len(data)} bytes, within its header")
    *_, pixels = _FILE.unpack_from(data)
    (length,) = struct.unpack_from("<I", data, _FILE.size)
    if length == _CORE.size:
        _, width, height, _, bits = _CORE.unpack_from(data, _FILE.size)
        compression = colours = 0
    elif 40 <= length <= 124:
        _, width, height, _, bits, compression, *_, colours, _ = _INFO.unpack_from(data, _FILE.size)
    else:
        damaged(f"a BMP with a header of {length} bytes")
    check_size(width, abs(height))
    if colours > 256:
        damaged(f"a BMP of {colours} colours")
    if compression not in _UNCOMPRESSED:
        unsupported(f"a BMP compressed by {_COMPRESSIONS.get(compression, 'an unknown method')}: save it as PNG")
    if bits not in (1, 4, 8, 24, 32) or (compression and bits != 32):
        unsupported(f"a BMP of {bits} bits a pixel: save it as PNG")
    if pixels < _FILE.size + length or pixels + (width * bits + 31) // 32 * 4 * abs(height) > len(data):
        damaged(f"a BMP that ends after {len(data)} bytes, within its pixels")
    return by_opencv(data), 1
