"""Which of the values that a file of arrays can hold are the frames of one sequence.

Whether the numbers are a mask is decided by datasets/preprocessing.
"""

import re
from dataclasses import dataclass

import numpy as np

from datasets.formats.opcodes import not_frames, unreadable
from datasets.formats.unpickler import Array, Pairs
from datasets.schema.errors import Unreadable

MAX_BYTES = 2**28  # of a file, and of the frames in it: 65,536 of 64x64 bytes
MAX_FRAMES = 2**17  # an hour at 30 frames a second
MAX_SIDE = 4096
NAMES = ("masks", "silhouettes", "sils", "frames")  # by which the frames are found among several arrays
_SHOWN = 5  # names in a message
_DIGITS = 100  # of a number in a name

Named = tuple[str, object]  # a name in a dictionary or an .npz, and its value


@dataclass(frozen=True)
class LoadedArray:
    """One sequence as it was stored: its frames, and the positions of the missing ones.

    frames: bool, integer or float, in this machine's byte order: an array [T, H, W] where all frames have one size and
    one dtype, else a list of T arrays [H, W]. T, H and W are at least 1.
    """

    frames: np.ndarray | list[np.ndarray]
    numbers: list[int]  # T positions in the stored sequence, ascending: 0, 1, 2, ... without the missing ones
    missing: list[int]  # positions at which None was stored, for a frame that could not be normalised


def sequence_in(content: object) -> LoadedArray:
    """The frames in what `unpickler.load` returns, or in Pairs of the names and arrays of an .npz.

    It takes an array [T, H, W]; with an axis too many, [T, 1, H, W] or [T, H, W, 1], or three equal channels; a
    list of one such array; a list, or an array of objects (NumPy before 1.24 made one of a list with None), of
    arrays [H, W], with None for missing frames; and of several values with names the one that `_chosen` says.
    Raises Unreadable for others: `unreadable pickle`, `not an array of frames`, `several arrays`, `array too large`
    or `no frames`.
    """
    content = _content(content)
    if isinstance(content, Pairs):
        content = _chosen(_pairs(content))
    if type(content) is list and len(content) == 1:
        inner = _content(content[0])
        content = inner if type(inner) is list or (isinstance(inner, np.ndarray) and inner.ndim > 2) else content
    if type(content) is list:
        return _listed([_content(item) for item in content])
    if isinstance(content, Unreadable):
        raise content
    if not isinstance(content, np.ndarray):
        raise not_frames(type(content).__name__)
    content = _without_channels(content)
    if content.ndim != 3:
        raise not_frames(f"{content.dtype}{list(content.shape)}")
    _check_size(len(content), content.shape[1:], content.nbytes)
    return LoadedArray(_native(content), list(range(len(content))), [])


def _content(value: object) -> object:
    if isinstance(value, Array) and value.content is None:
        raise unreadable("an array without content")
    return value.content if isinstance(value, Array) else value


def _pairs(pairs: Pairs) -> list[Named]:
    """Names and values; a number as a name is one of a frame."""
    if len(pairs.items) % 2:
        raise unreadable("a dictionary with a key without a value")
    keys = [key.decode("latin1") if isinstance(key, bytes) else key for key in pairs.items[::2]]
    if not all(type(key) in (str, int) for key in keys):
        raise not_frames("a dictionary whose keys are neither text nor numbers")
    return list(zip(map(str, keys), map(_content, pairs.items[1::2]), strict=True))


def _chosen(named: list[Named]) -> object:
    """The sequence among values with names, or the list of its frames.

    It is the only array or list of arrays, the one with one of NAMES, or the only array with three axes; or the arrays
    are frames [H, W], whose names differ in their numbers alone. Unreadable, `several arrays`, where none of it holds.
    """
    found = [(name, value) for name, value in named if _may_be_frames(name, value)]
    for few in (
        found,
        [(name, value) for name, value in found if name.lower() in NAMES],
        [(name, value) for name, value in found if _axes(value) == 3],
    ):
        if len(few) == 1 and (_axes(few[0][1]) != 2 or len(few) < len(found)):
            return few[0][1]
    kinds = {(_axes(value), re.sub(r"\d+", "0", name)) for name, value in found}
    if len(kinds) == 1 and _axes(found[0][1]) == 2:
        return [value for _, value in sorted(found, key=lambda one: _natural(one[0]))]
    shown = ", ".join(f"{name[:40]!a} {_described(value)}" for name, value in named[:_SHOWN])
    shown += f" and {len(named) - _SHOWN} more" if len(named) > _SHOWN else ""
    if not found:
        for _, value in named:
            if isinstance(value, Unreadable):
                raise value
        raise not_frames(f"values of the names {shown or 'none'}")
    raise Unreadable("several arrays", f"{shown}: give the frames one of the names {', '.join(NAMES)}")


def _may_be_frames(name: str, value: object) -> bool:
    """Whether a value may be a sequence, or a frame of one, as far as its axes tell; its name where it is not read."""
    if isinstance(value, Unreadable):
        return name.lower() in NAMES
    if type(value) is list:
        return any(isinstance(_content(item), np.ndarray) for item in value)
    return _axes(value) >= 2


def _axes(value: object) -> int:
    """The axes of an array without those of channels; 0 of anything else."""
    return _without_channels(value).ndim if isinstance(value, np.ndarray) else 0


def _described(value: object) -> str:
    return f"{value.dtype}{list(value.shape)}" if isinstance(value, np.ndarray) else type(value).__name__


def _natural(name: str) -> list[tuple[int, str]]:
    """A key that sorts names by the numbers in them."""
    parts = re.split(r"(\d+)", name)
    return [(int(part[:_DIGITS]), part) if index % 2 else (0, part) for index, part in enumerate(parts)]


def _without_channels(array: np.ndarray) -> np.ndarray:
    """[T, 1, H, W] and [T, H, W, 1] as [T, H, W]; so are three channels that are the same."""
    if array.ndim == 4 and 1 in (array.shape[1], array.shape[3]):
        return array.squeeze(1 if array.shape[1] == 1 else 3)
    if array.ndim == 4 and 3 in (array.shape[1], array.shape[3]):
        planes = np.moveaxis(array, 3 if array.shape[3] == 3 else 1, 0)
        if (planes[0] == planes[1]).all() and (planes[0] == planes[2]).all():
            return planes[0]
    return array


def _listed(items: list[object]) -> LoadedArray:
    positions = [position for position, item in enumerate(items) if item is not None]
    if not positions:
        raise Unreadable("no frames", f"a list of {len(items)} frames, all of them missing")
    frames = [item for item in items if isinstance(item, np.ndarray) and item.ndim == 2]
    if len(frames) < len(positions):
        raise not_frames("a list of other things than arrays [height, width]")
    largest = max((frame.shape for frame in frames), key=max)
    _check_size(len(items), largest, sum(frame.nbytes for frame in frames))
    missing = [position for position, item in enumerate(items) if item is None]
    if len({(frame.shape, frame.dtype) for frame in frames}) == 1:
        return LoadedArray(_native(np.stack(frames)), positions, missing)
    return LoadedArray([_native(frame) for frame in frames], positions, missing)


def _check_size(count: int, shape: tuple[int, ...], nbytes: int) -> None:
    """Raises Unreadable for too large a sequence; a small file can list one array many times."""
    if max(shape) > MAX_SIDE or count > MAX_FRAMES or nbytes > MAX_BYTES:
        raise Unreadable("array too large", f"{count} frames of up to {shape[0]}x{shape[1]} pixels, {nbytes:,} bytes")


def _native(frames: np.ndarray) -> np.ndarray:
    """Frames in this machine's byte order. A bool that is neither 0 nor 1, undefined to NumPy, becomes true."""
    if frames.dtype == np.bool_:
        return frames.view(np.uint8) != 0
    return frames.astype(frames.dtype.newbyteorder("="), order="C", copy=False)
