"""Reads the raw frames of one sequence, and lists the frames that cannot be read.

Files are not trusted: datasets/formats decodes them.
"""

import errno
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

import numpy as np

from datasets.formats import arrays, images, joints
from datasets.ingest.layouts import Root, SequenceRef, frame_files, frame_number, printable
from datasets.schema.errors import Unreadable
from datasets.storage import Place, read_each

Frame = TypeVar("Frame")
_MAX_NUMBER = 2**31 - 1  # frame numbers are stored as int32


class DroppedFrame(NamedTuple):
    """A frame that is not in the row of its sequence, and why."""

    name: str
    reason: str  # a few words to count by
    detail: str


@dataclass(frozen=True)
class RawFrames(Generic[Frame]):
    """One sequence as read."""

    frames: list[Frame]  # as the reader transformed them
    names: list[str]  # file names, or indices into the array
    numbers: list[int]  # as in the file names; 0, 1, 2, ... where these have none
    unreadable: list[DroppedFrame]


def read(root: Root, ref: SequenceRef, transform: Callable[[np.ndarray], Frame]) -> RawFrames[Frame]:
    """The frames of a sequence, transformed; Unreadable with a reason where none can be read.

    transform: called with every picture, [H, W] or [H, W, C] of any mask type, or every skeleton, [17, 2] or [17, 3],
    as soon as it is decoded. So the picture is still in the processor's cache, and a walk of full-size pictures is
    never in memory as a whole.
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
        return _read_frames(folder, files, lambda data: images.decode(data).pixels, images.MAX_BYTES, transform)
    if root.layout.kind == "joints":
        return _read_frames(folder, files, joints.decode, joints.MAX_BYTES, transform)
    if len(files) > 1:
        raise Unreadable("several arrays", ", ".join(match.string for match in files))
    return _read_pickle(folder / files[0].string, transform)


def _read_frames(
    folder: Place,
    files: list[re.Match[str]],
    decode: Callable[[bytes], np.ndarray],
    max_bytes: int,
    transform: Callable[[np.ndarray], Frame],
) -> RawFrames[Frame]:
    """Frames that are a file each."""
    frames, names, numbers, unreadable = [], [], [], []
    reads = read_each(folder, [match.string for match in files], max_bytes)
    for index, (match, read_one) in enumerate(zip(files, reads, strict=True)):
        try:
            content = decode(read_one())
        except Unreadable as error:
            unreadable.append(DroppedFrame(printable(match.string), error.reason, error.detail))
            continue
        except OSError as error:
            reason = "not a file" if error.errno in (errno.ENOENT, errno.ELOOP) else "unreadable file"  # a link
            unreadable.append(DroppedFrame(printable(match.string), reason, error.strerror or str(error)))
            continue
        frames.append(transform(content))
        names.append(printable(match.string))
        numbers.append(frame_number(match) if match.groupdict().get("frame") else index)
    stems = {name.rpartition(".")[0] for name in names}
    if max(numbers, default=0) > _MAX_NUMBER or len(set(numbers)) < len(numbers) == len(stems):
        numbers = list(range(len(numbers)))  # time stamps, or no numbers: the store keeps their order
    return RawFrames(frames, names, numbers, unreadable)


def _read_pickle(path: Place, transform: Callable[[np.ndarray], Frame]) -> RawFrames[Frame]:
    try:
        loaded = arrays.load(path.name, path.read(arrays.MAX_BYTES))
    except OSError as error:
        raise Unreadable("unreadable file", error.strerror or str(error)) from error
    missing = [DroppedFrame(str(index), "missing frame", "None in the place of a frame") for index in loaded.missing]
    frames = [transform(frame) for frame in loaded.frames]
    return RawFrames(frames, [str(number) for number in loaded.numbers], list(loaded.numbers), missing)
