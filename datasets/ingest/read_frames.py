"""Read one sequence: its raw frames, and every frame that could not be read named beside them.

Nothing here normalises, and nothing trusts a file: what is in it is judged by datasets/formats/images.py, joints.py and
pickles.py.
"""

import errno
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from datasets.formats import images, joints, pickles
from datasets.ingest.layouts import Root, SequenceRef, frame_files, frame_number, printable
from datasets.schema.errors import Unreadable
from datasets.storage import Place

Frame = TypeVar("Frame")
Dropped = tuple[str, str, str]  # the frame's name, a reason, a detail

_LARGEST_NUMBER = 2**31 - 1


@dataclass(frozen=True)
class RawFrames(Generic[Frame]):
    """One sequence as read: what the reader made of each picture, with the numbers they have on disk."""

    frames: list[Frame]
    names: list[str]  # file names, or indices into the array
    numbers: list[int]
    unreadable: list[Dropped]


def read(root: Root, ref: SequenceRef, each: Callable[[np.ndarray], Frame]) -> RawFrames[Frame]:
    """The frames of a sequence; Unreadable with a reason where there are none to be had.

    `each` is given every picture, [H, W] or [H, W, C] of any mask type, or every skeleton, [17, 2] or [17, 3], as soon
    as it is decoded: it is still in the processor's cache, and only what `each` makes of it is kept, never a whole walk
    of full-size pictures.
    """
    if ref.problem is not None:
        reason = "name is not UTF-8" if "UTF-8" in ref.problem else "unrecognised folder"
        raise Unreadable(reason, ref.problem)
    folder = root.place / ref.folder
    try:
        files = frame_files(folder, root.layout)
    except OSError as error:
        raise Unreadable("unreadable folder", str(error)) from error
    if not files:
        raise Unreadable("no frames", f"no file like that of {root.layout.example}")
    folder = folder / root.layout.inside
    if root.layout.kind == "images":
        return _read_frames(folder, files, images.decode, images.MAX_BYTES, each)
    if root.layout.kind == "joints":
        return _read_frames(folder, files, joints.decode, joints.MAX_BYTES, each)
    if len(files) > 1:
        raise Unreadable("several arrays", ", ".join(match.string for match in files))
    return _read_pickle(folder / files[0].string, each)


def _read_frames(
    folder: Place,
    files: list[re.Match[str]],
    decode: Callable[[bytes], np.ndarray],
    most: int,
    each: Callable[[np.ndarray], Frame],
) -> RawFrames[Frame]:
    """Frames that are a file each, of `most` bytes at most."""
    frames, names, numbers, unreadable = [], [], [], []
    for index, match in enumerate(files):
        try:
            content = decode((folder / match.string).read(most))
        except Unreadable as error:
            unreadable.append((printable(match.string), error.reason, error.detail))
            continue
        except OSError as error:
            reason = "not a file" if error.errno in (errno.ENOENT, errno.ELOOP) else "unreadable file"  # a link
            unreadable.append((printable(match.string), reason, error.strerror or str(error)))
            continue
        frames.append(each(content))
        names.append(printable(match.string))
        numbers.append(frame_number(match) if match.groupdict().get("frame") else index)
    stems = {name.rpartition(".")[0] for name in names}
    if max(numbers, default=0) > _LARGEST_NUMBER or len(set(numbers)) < len(numbers) == len(stems):
        numbers = list(range(len(numbers)))  # time stamps, or no numbers at all: their order is what the store keeps
    return RawFrames(frames, names, numbers, unreadable)


def _read_pickle(path: Place, each: Callable[[np.ndarray], Frame]) -> RawFrames[Frame]:
    try:
        loaded = pickles.load_array(path.read(pickles.MAX_BYTES))
    except OSError as error:
        raise Unreadable("unreadable file", error.strerror or str(error)) from error
    lost = [(str(place), "missing frame", "None in the place of a frame") for place in loaded.missing]
    frames = [each(frame) for frame in loaded.frames]
    return RawFrames(frames, [str(number) for number in loaded.numbers], list(loaded.numbers), lost)
