"""The bytes of a TIFF's strips and tiles, unpacked up to a bound: as they are, or from LZW, Deflate or PackBits."""

import zlib
from collections.abc import Callable

from datasets.formats.pictures.pixels import damaged, unsupported

LZW = 5
_CLEAR, _END, _LONGEST = 256, 257, 12  # codes of LZW (TIFF 6.0, section 13), and bits of its longest
_NAMES = {2: "CCITT", 3: "CCITT", 4: "CCITT", 6: "JPEG", 7: "JPEG", 34925: "LZMA", 50000: "zstd", 50001: "WebP"}


def unpacker(compression: int) -> Callable[[bytes, int], bytes]:
    """The function that unpacks at most so many bytes of one strip. Unreadable for a compression that is not read."""
    found = {1: _plain, LZW: _lzw, 8: _inflated, 32946: _inflated, 32773: _packbits}.get(compression)
    if found is None:
        name = _NAMES.get(compression, f"method {compression}")
        unsupported(f"a TIFF compressed by {name}: save it with LZW or Deflate, or as PNG")
    return found


def _plain(data: bytes, most: int) -> bytes:
    return data[:most]


def _inflated(data: bytes, most: int) -> bytes:
    try:
        return zlib.decompressobj().decompress(data, most)
    except zlib.error as error:
        damaged(f"a TIFF whose pixels cannot be inflated: {error}")


def _packbits(data: bytes, most: int) -> bytes:
    unpacked, at = bytearray(), 0
    while at < len(data) and len(unpacked) < most:
        count, at = data[at], at + 1
        if count < 128:
            unpacked += data[at : at + count + 1]
            at += count + 1
        elif count > 128:
            unpacked += data[at : at + 1] * (257 - count)
            at += 1
    return bytes(unpacked[:most])


def _lzw(data: bytes, most: int) -> bytes:
    """Codes of 9 to 12 bits, the most significant first; one bit more as soon as the next code but one needs it."""
    start = [bytes([value]) for value in range(256)] + [b"", b""]
    table, unpacked, last = list(start), bytearray(), b""
    width, buffer, bits = 9, 0, 0
    for byte in data:
        buffer, bits = (buffer << 8 | byte) & 0xFFFFFF, bits + 8
        if bits < width:
            continue
        bits -= width
        code = buffer >> bits & ((1 << width) - 1)
        if code == _CLEAR:
            table, width, last = list(start), 9, b""
            continue
        if code == _END or len(unpacked) >= most:
            break
        if code > len(table) or (code == len(table) and not last):
            damaged("a TIFF with a code of LZW that stands for nothing")
        entry = table[code] if code < len(table) else last + last[:1]
        if last and len(table) < 1 << _LONGEST:
            table.append(last + entry[:1])
        unpacked += entry
        last = entry
        if len(table) >= (1 << width) - 1:
            width = min(width + 1, _LONGEST)
    return bytes(unpacked[:most])
