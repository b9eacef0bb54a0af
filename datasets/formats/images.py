"""One picture from untrusted bytes: PNG, JPEG, BMP, TIFF or WebP, turned as every viewer turns it."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from datasets.formats.pictures import bmp, jpeg, png, tiff, webp
from datasets.formats.recognise import check_download, guess
from datasets.schema.errors import Unreadable

MAX_BYTES = 2**26  # of a file
_DECODERS: tuple[tuple[bytes, Callable[[bytes], tuple[np.ndarray, int]]], ...] = (
    (png.SIGNATURE[:4], png.decode),
    (b"\xff\xd8", jpeg.decode),
    (b"BM", bmp.decode),
    *((order + version, tiff.decode) for order in (b"II", b"MM") for version in (b"*\0", b"\0*", b"+\0", b"\0+")),
)
_TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {  # Exif 3.0, 4.6.5: where the first row and column lie
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: pixels[::-1].swapaxes(0, 1),
    7: lambda pixels: pixels[::-1, ::-1].swapaxes(0, 1),
    8: lambda pixels: pixels[:, ::-1].swapaxes(0, 1),
}


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture as viewers show it.

    pixels: [H, W] or [H, W, C], uint8 or uint16, channels in OpenCV's order (BGR, BGRA); a TIFF may have int32 or
    float32 too. orientation: the one of its Exif, 1 to 8, by which the pixels were turned; 1 where they were not.
    """

    pixels: np.ndarray
    orientation: int


def decode(data: bytes) -> Picture:
    """The picture in a file; palettes become colours.

    Raises Unreadable: `empty file`, `file too large`, `not a picture`, `picture too large`, `damaged image`,
    `unsupported picture` (a sound one of a kind that is not read: an animation, several pages, CMYK), `Git LFS pointer`
    or `HTML page`.
    """
    if not data:
        raise Unreadable("empty file", "0 bytes")
    if len(data) > MAX_BYTES:
        raise Unreadable("file too large", f"more than {MAX_BYTES} bytes")
    pixels, orientation = _decoder(data)(data)
    if orientation in _TURNS:
        pixels = np.ascontiguousarray(_TURNS[orientation](pixels))
    return Picture(pixels, orientation)


def _decoder(data: bytes) -> Callable[[bytes], tuple[np.ndarray, int]]:
    for beginning, decoder in _DECODERS:
        if data.startswith(beginning):
            return decoder
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return webp.decode
    check_download(data)
    found = f"{len(data)} bytes that look like {guess(data)}; PNG, JPEG, BMP, TIFF and WebP are read"
    raise Unreadable("not a picture", found)
