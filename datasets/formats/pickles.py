"""The frames of one sequence from an untrusted pickle.

datasets/formats/unpickler.py loads the pickle without running code from it; this file decides which of the values that
it can hold are a sequence. Whether the numbers are a mask is decided by datasets/preprocessing.
"""

from dataclasses import dataclass

import numpy as np

from datasets.formats import unpickler
from datasets.formats.unpickler import Array, not_frames, unreadable
from datasets.schema.errors import Unreadable

MAX_BYTES = 2**28  # of a file, and of the frames in it: 65,536 of 64x64 bytes
MAX_FRAMES = 2**17  # an hour at 30 frames a second
MAX_SIDE = 4096


@dataclass(frozen=True)
class LoadedArray:
    """One sequence as it was stored: its frames, and the positions of the missing ones."""

    frames: np.ndarray  # [T, H, W], bool, integer or float, in this machine's byte order; T, H and W are at least 1
    numbers: list[int]  # T positions in the stored sequence, ascending: 0, 1, 2, ... without the missing ones
    missing: list[int]  # positions at which None was stored, for a frame that could not be normalised


def load_array(data: bytes) -> LoadedArray:
    """The frames in a pickle of protocol 0 to 5, written by any NumPy since 2006 in Python 2 or 3.

    It reads an array [T, H, W]; one with an axis too many, [T, 1, H, W] or [T, H, W, 1]; a list of one such array; a
    list, or an array of objects (NumPy before 1.24 made one of a list with None), of arrays [H, W] of one shape and
    dtype, with None for missing frames. Raises Unreadable for anything else: `empty file`, `file too large`,
    `unreadable pickle` (damaged, or with other objects than arrays), `not an array of frames`, `frames of several
    sizes`, `array too large` or `no frames`.
    """
    if not data:
        raise Unreadable("empty file", "0 bytes")
    if len(data) > MAX_BYTES:
        raise Unreadable("file too large", f"more than {MAX_BYTES} bytes")
    content = _content(unpickler.load(data))
    if type(content) is list and len(content) == 1:
        inner = _content(content[0])
        content = inner if type(inner) is list or (isinstance(inner, np.ndarray) and inner.ndim > 2) else content
    if type(content) is list:
        return _listed([_content(item) for item in content])
    if not isinstance(content, np.ndarray):
        raise not_frames(type(content).__name__)
    if content.ndim == 4 and 1 in (content.shape[1], content.shape[3]):
        content = content.squeeze(1 if content.shape[1] == 1 else 3)
    if content.ndim != 3:
        raise not_frames(f"{content.dtype}{list(content.shape)}")
    _check_size(len(content), content[0])
    return LoadedArray(_native(content), list(range(len(content))), [])


def _content(value: object) -> object:
    if isinstance(value, Array) and value.content is None:
        raise unreadable("an array without content")
    return value.content if isinstance(value, Array) else value


def _listed(items: list[object]) -> LoadedArray:
    positions = [position for position, item in enumerate(items) if item is not None]
    if not positions:
        raise Unreadable("no frames", f"a list of {len(items)} frames, all of them missing")
    frames = [item for item in items if isinstance(item, np.ndarray) and item.ndim == 2]
    if len(frames) < len(positions):
        raise not_frames("a list of other things than arrays [height, width]")
    shapes = {frame.shape for frame in frames}
    if len(shapes) > 1:
        raise Unreadable("frames of several sizes", ", ".join(map(str, sorted(shapes)[:5])))
    if len({frame.dtype for frame in frames}) > 1:
        raise not_frames("arrays of several types")
    _check_size(len(items), frames[0])
    missing = [position for position, item in enumerate(items) if item is None]
    return LoadedArray(_native(np.stack(frames)), positions, missing)


def _check_size(count: int, frame: np.ndarray) -> None:
    """Raises Unreadable for too large a sequence; a small file can list one array many times."""
    if max(frame.shape) > MAX_SIDE or count > MAX_FRAMES or count * frame.nbytes > MAX_BYTES:
        raise Unreadable("array too large", f"{count} frames of {frame.shape[0]}x{frame.shape[1]} pixels")


def _native(frames: np.ndarray) -> np.ndarray:
    """Frames in this machine's byte order. A bool that is neither 0 nor 1, undefined to NumPy, becomes true."""
    if frames.dtype == np.bool_:
        return frames.view(np.uint8) != 0
    return frames.astype(frames.dtype.newbyteorder("="), order="C", copy=False)
