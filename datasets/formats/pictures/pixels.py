"""What the decoders of pictures share: limits, the words for damage, and the calls of OpenCV and Pillow.

Pillow reads a header, then the size is checked, then the pixels are decoded: by OpenCV where it is right and quick (a
JPEG takes half of Pillow's time), else by Pillow. Both libraries get only those parts of a file that make pixels.
"""

import io
import warnings
from functools import lru_cache
from typing import NoReturn

import cv2
import numpy as np
from PIL.ImageFile import ImageFile

from datasets.schema.errors import Unreadable

MAX_PIXELS = 2**24  # silhouettes have less than 2**21
MAX_SIDE = 2**16 - 1  # the limit of JPEG
MAX_PARTS = 2**15  # chunks or segments of a file: 64 MB in chunks of 8 kB are 8,192


def damaged(detail: str) -> NoReturn:
    """Raises Unreadable for a picture that is not whole, or not as its format says."""
    raise Unreadable("damaged image", detail)


def unsupported(detail: str) -> NoReturn:
    """Raises Unreadable for a sound picture of a kind that is not read."""
    raise Unreadable("unsupported picture", detail)


def check_size(width: int, height: int) -> None:
    """Raises Unreadable for a size that is not decoded."""
    if min(width, height) < 1:
        damaged(f"a picture of {width}x{height} pixels")
    if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        raise Unreadable("picture too large", f"{width}x{height} pixels")


@lru_cache(maxsize=64)  # the frames of a walk have one header; each of them alone would cost ingest 4%
def check_header(image_file: type[ImageFile], data: bytes) -> tuple[int, int, str]:
    """Width, height and raw mode by a header without pixels; Unreadable for a size that is not decoded.

    The raw mode is Pillow's name for pixels in a file: a letter a channel, then `;` and their bits unless these are 8.
    """
    try:
        image = image_file(io.BytesIO(data))
    except (SyntaxError, ValueError, OSError) as error:
        raise Unreadable("damaged image", f"a header that Pillow cannot read: {error}") from error
    width, height = image.size
    check_size(width, height)
    (tile,) = image.tile
    return width, height, tile.args if isinstance(tile.args, str) else image.mode


def by_opencv(data: bytes) -> np.ndarray:
    """The pixels that OpenCV decodes: [H, W] or [H, W, C], uint8 or uint16, channels in its order (BGR, BGRA)."""
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        image = None
    if image is None:
        damaged(f"{len(data)} bytes that OpenCV cannot decode")
    return image


def by_pillow(image_file: type[ImageFile], data: bytes) -> np.ndarray:
    """The pixels that Pillow decodes, [H, W] or [H, W, C] in OpenCV's order: uint8, uint16, int32 or float32.

    The size is checked by the caller, before Pillow reserves memory for it. Palettes become colours.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a damaged file: the reject says it, and a folder of them is long
            image = image_file(io.BytesIO(data))
            image.load()
    except Exception as error:  # the plugins raise errors of a dozen classes over damaged bytes
        raise Unreadable("damaged image", f"Pillow cannot decode it: {' '.join(str(error).split())[:80]}") from error
    if image.mode in ("I;16", "I;16L", "I;16B", "I;16N", "I", "F", "L"):
        pixels = np.asarray(image)
        return pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
    if image.mode == "1":
        return np.asarray(image.convert("L"))
    if image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info:
        return np.ascontiguousarray(np.asarray(image.convert("RGBA"))[..., [2, 1, 0, 3]])
    if image.mode in ("P", "RGB", "RGBX"):
        return np.ascontiguousarray(np.asarray(image.convert("RGB"))[..., ::-1])
    unsupported(f"colours of the kind {image.mode}: save it as grey values or RGB")
