"""Reads the raw frames of one sequence, and lists the frames that cannot be read.

Files are not trusted: datasets/formats decodes them.
"""

import errno
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Generic, NamedTuple, TypeVar

import numpy as np

from datasets.formats import arrays, images, joints
from datasets.ingest.layouts import Root, SequenceRef, frame_files, printable
from datasets.ingest.numbering import NumberedFile, number_files
from datasets.preprocessing.axes import with_time_first
from datasets.preprocessing.silhouettes import is_aligned
from datasets.schema.collection import Layout
from datasets.schema.errors import Unreadable
from datasets.schema.reading import NOTHING, NUMBERS, ORIENTATION, POSITIONS, Note, Notes
from datasets.storage import Place, read_each

Frame = TypeVar("Frame")
TOO_LONG = "too long a sequence"
_SAME = 0.001  # of the pixels may differ between a picture and its copy, as between a PNG and a JPEG
_TURNED: Notes = frozenset({(ORIENTATION, "turned as its Exif says")})


@dataclass(frozen=True)
class _Decoder:
    """Decodes the content of a frame's file, of at most max_bytes; Unreadable where it cannot."""

    decode: Callable[[bytes], tuple[np.ndarray, Notes]]
    max_bytes: int


def _picture(data: bytes) -> tuple[np.ndarray, Notes]:
    picture = images.decode(data)
    return picture.pixels, _TURNED if picture.orientation != 1 else NOTHING


def _skeleton(data: bytes) -> tuple[np.ndarray, Notes]:
    return joints.decode(data), NOTHING


_DECODERS = {"images": _Decoder(_picture, images.MAX_BYTES), "joints": _Decoder(_skeleton, joints.MAX_BYTES)}


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
    dropped: list[DroppedFrame]
    notes: Notes = NOTHING


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
        names = frame_files(folder, root.layout)
    except OSError as error:
        raise Unreadable("unreadable folder", str(error)) from error
    if not names:
        raise Unreadable("no frames", f"no file like that of {root.layout.example}")
    folder, most = folder / root.layout.inside, root.lengths.most
    if root.layout.kind == "pickle":
        if len(names) > 1:
            raise Unreadable("several arrays", ", ".join(sorted(names)))
        return _read_array(folder / names[0], root.layout, transform, most)
    numbering = number_files(names, root.layout.file)
    too_many = [DroppedFrame(printable(file.name), TOO_LONG, _longest(most)) for file in numbering.files[most:]]
    raw = _read_files(folder, numbering.files[:most], _DECODERS[root.layout.kind], transform)
    return replace(raw, dropped=raw.dropped + too_many, notes=raw.notes | {(NUMBERS, numbering.how)})


def _longest(most: int) -> str:
    return f"behind the first {most:,} frames, the value of --max-frames"


def _read_files(
    folder: Place, files: list[NumberedFile], decoder: _Decoder, transform: Callable[[np.ndarray], Frame]
) -> RawFrames[Frame]:
    """Frames that are a file each, and their copies."""
    every = [name for file in files for name in (file.name, *file.copies)]
    reads = read_each(folder, every, decoder.max_bytes)
    raw: RawFrames[Frame] = RawFrames([], [], [], [])
    notes: set[Note] = set()
    for file in files:
        first: tuple[str, np.ndarray] | None = None
        for name in (file.name, *file.copies):
            shown = printable(name)
            try:
                pixels, said = decoder.decode(next(reads)())
            except Unreadable as error:
                raw.dropped.append(DroppedFrame(shown, error.reason, error.detail))
                continue
            except OSError as error:
                reason = "not a file" if error.errno in (errno.ENOENT, errno.ELOOP) else "unreadable file"  # a link
                raw.dropped.append(DroppedFrame(shown, reason, error.strerror or str(error)))
                continue
            if first is not None:
                raw.dropped.append(_copy_of(*first, shown, pixels))
                continue
            first = shown, pixels
            notes |= said
            raw.frames.append(transform(pixels))
            raw.names.append(shown)
            raw.numbers.append(file.number)
    return replace(raw, notes=frozenset(notes))


def _copy_of(name: str, pixels: np.ndarray, other: str, found: np.ndarray) -> DroppedFrame:
    """The copy of a frame as dropped. Unreadable where it is none: it is unknown which of the two is meant."""
    is_same = pixels.shape == found.shape and np.array_equal(pixels, found)
    if not is_same and pixels.shape == found.shape:  # a JPEG beside a PNG
        span = max(float(np.ptp(pixels)), 1.0)
        difference = np.abs(pixels.astype(np.float32) - found.astype(np.float32))
        is_same = bool((difference > span / 2).mean() <= _SAME)
    if not is_same:
        raise Unreadable("two frames of one number", f"{name} and {other} differ: keep one of them")
    return DroppedFrame(other, "copy", f"the same as {name}")


def _read_array(path: Place, layout: Layout, transform: Callable[[np.ndarray], Frame], most: int) -> RawFrames[Frame]:
    try:
        loaded = arrays.load(path.name, path.read(arrays.MAX_BYTES))
    except OSError as error:
        raise Unreadable("unreadable file", error.strerror or str(error)) from error
    missing = [DroppedFrame(str(index), "missing frame", "None in the place of a frame") for index in loaded.missing]
    frames, numbers, notes = loaded.frames, list(loaded.numbers), NOTHING
    if layout.modality != "skeleton" and isinstance(frames, np.ndarray):
        try:
            frames, notes = with_time_first(frames, upright=is_aligned(frames.shape[1:]))
        except ValueError as error:
            raise Unreadable("unknown order of axes", str(error)) from error
        numbers = numbers if not notes else list(range(len(frames)))
    too_many = [DroppedFrame(str(number), TOO_LONG, _longest(most)) for number in numbers[most:]]
    read_frames = [transform(frame) for frame in frames[:most]]
    names = [str(number) for number in numbers[:most]]
    return RawFrames(read_frames, names, numbers[:most], missing + too_many, notes | {(NUMBERS, POSITIONS)})
