"""The few ways gait data lies on disk: list its sequences without listing their frames, then read one sequence.

Listing yields references (a folder each), reading yields the raw frames of one reference, with every frame that could
not be read named beside them. Nothing here normalises, and nothing trusts a file: pickles are read by an unpickler
that knows numpy arrays alone.
"""

import io
import os
import pickle
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Generic, TypeVar

import cv2
import numpy as np

from datasets.schema import CollectionSpec, Layout, Parts, UsageError

Frame = TypeVar("Frame")


@dataclass(frozen=True)
class SequenceRef:
    """Where one sequence lies and what its path says; `problem` where the path is not one of the layout's."""

    sequence_id: str
    collection: str
    layout: str
    folder: str  # relative to the collection's root, with / between the parts
    subject: str | None
    condition: str | None
    view: str | None
    labels: dict[str, str]
    problem: str | None = None


@dataclass(frozen=True)
class RawFrames(Generic[Frame]):
    """One sequence as read: what the reader made of each picture, with the numbers they have on disk."""

    frames: list[Frame]
    names: list[str]  # file names, or indices into the array
    numbers: list[int]
    unreadable: list[tuple[str, str, str]]  # name, reason, detail


class Unreadable(Exception):
    """A sequence that cannot be read: a reason to count by, and a detail."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


def detect(root: Path, spec: CollectionSpec) -> Layout:
    """Which of a collection's layouts lies below a root; UsageError where it is none of them."""
    if not root.is_dir():
        raise UsageError(f"no folder {root} for {spec.name}: check the path given with --root {spec.name}=<folder>")
    for layout in spec.layouts:
        for ref in islice(list_sequences(root, spec, layout), 100):
            if ref.problem is None and _files(root / ref.folder, layout):
                return layout
    expected = " or ".join(f"{layout.example} ({layout.name})" for layout in spec.layouts)
    raise UsageError(f"{root} holds no sequence of {spec.name}: expected files like {expected} below it")


def list_sequences(root: Path, spec: CollectionSpec, layout: Layout) -> Iterator[SequenceRef]:
    """Every folder that is a sequence by its path, in order of name, and every other folder without folders in it.

    The others have a `problem`; so has a sequence whose path holds another number of labels than the first one's,
    since nobody could say which of its labels is which.
    """
    numbered: int | None = None
    for folder, parts in _walk(root, "", spec, layout):
        if parts is None:
            yield _refused(spec, layout, folder, f"not like that of {layout.example}")
            continue
        numbered = parts.numbered if numbered is None else numbered
        if parts.numbered != numbered:
            problem = f"{parts.numbered} numbered labels where the first sequence has {numbered}"
            yield _refused(spec, layout, folder, problem)
            continue
        name = f"{spec.name}/{parts.walk}"
        names = (parts.subject, parts.condition, parts.view)
        yield SequenceRef(name, spec.name, layout.name, folder, *names, parts.labels)


def _refused(spec: CollectionSpec, layout: Layout, folder: str, problem: str) -> SequenceRef:
    return SequenceRef(f"{spec.name}/{folder}", spec.name, layout.name, folder, None, None, None, {}, problem)


def _walk(root: Path, inside: str, spec: CollectionSpec, layout: Layout) -> Iterator[tuple[str, Parts | None]]:
    """Descends until a path is that of a sequence, or there is no folder below it; never in a circle."""
    with os.scandir(root / inside) as entries:
        folders = sorted((entry.name, entry.is_symlink()) for entry in entries if entry.is_dir())
    for position, (name, is_link) in enumerate(folders, start=1):
        folder = f"{inside}/{name}" if inside else name
        if (parts := spec.read_path(layout, folder, position)) is not None:
            yield folder, parts
            continue
        is_leaf = True
        if not (is_link and (root / inside).resolve().is_relative_to((root / folder).resolve())):
            for found in _walk(root, folder, spec, layout):
                is_leaf = False
                yield found
        if is_leaf:
            yield folder, None


def _files(folder: Path, layout: Layout) -> list[re.Match[str]]:
    """The files of a sequence that are of the layout's modality, in natural order; none where it has no folder."""
    try:
        with os.scandir(folder / layout.inside) as entries:
            found = [match for entry in entries if (match := re.fullmatch(layout.file, entry.name)) and entry.is_file()]
    except FileNotFoundError:
        return []
    return sorted(found, key=lambda match: (_number(match), match.string))


def _number(match: re.Match[str]) -> int:
    """The frame number in a file's name; 0 where it has none, so that the order of the names decides."""
    return int(match.groupdict().get("frame") or 0)


def read(root: Path, ref: SequenceRef, layout: Layout, each: Callable[[np.ndarray], Frame]) -> RawFrames[Frame]:
    """The frames of a sequence; Unreadable with a reason where there are none to be had.

    `each` is given every picture, [H, W] or [H, W, C] of any mask type, as soon as it is decoded: it is still in the
    processor's cache, and only what `each` makes of it is kept, never a whole walk of full-size pictures.
    """
    if ref.problem is not None:
        raise Unreadable("unrecognised folder", ref.problem)
    try:
        files = _files(root / ref.folder, layout)
    except OSError as error:
        raise Unreadable("unreadable folder", str(error)) from error
    if not files:
        raise Unreadable("no frames", f"no file like that of {layout.example}")
    if layout.kind == "images":
        return _read_images(root / ref.folder / layout.inside, files, each)
    if len(files) > 1:
        raise Unreadable("several arrays", ", ".join(match.string for match in files))
    return _read_pickle(root / ref.folder / layout.inside / files[0].string, each)


def _read_images(folder: Path, files: list[re.Match[str]], each: Callable[[np.ndarray], Frame]) -> RawFrames[Frame]:
    frames, names, numbers, unreadable = [], [], [], []
    for index, match in enumerate(files):
        try:
            with io.FileIO(f"{folder}/{match.string}") as file:  # a small file is read in one piece: no buffer, no Path
                data = file.read()
            image = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_UNCHANGED) if data else None
        except (OSError, cv2.error) as error:
            unreadable.append((match.string, "unreadable image", str(error).strip()))
            continue
        if image is None:
            unreadable.append((match.string, "unreadable image", f"{len(data)} bytes that are no whole image"))
            continue
        frames.append(each(image))
        names.append(match.string)
        numbers.append(_number(match) if match.groupdict().get("frame") else index)
    return RawFrames(frames, names, numbers, unreadable)


def _read_pickle(path: Path, each: Callable[[np.ndarray], Frame]) -> RawFrames[Frame]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise Unreadable("unreadable file", str(error)) from error
    try:
        array = _ArrayUnpickler(io.BytesIO(data)).load()
    except Exception as error:  # a damaged or hostile pickle can raise anything
        raise Unreadable("unreadable pickle", f"{type(error).__name__}: {error}") from error
    if isinstance(array, list) and len(array) == 1:
        array = array[0]  # some releases wrap it
    if isinstance(array, np.ndarray) and array.ndim == 4:
        array = next((array.squeeze(axis) for axis in (1, 3) if array.shape[axis] == 1), array)
    if not isinstance(array, np.ndarray) or array.ndim != 3 or array.dtype.hasobject:
        shape = f"{array.dtype}{list(array.shape)}" if isinstance(array, np.ndarray) else type(array).__name__
        raise Unreadable("not an array of frames", f"{shape} instead of numbers [frames, height, width]")
    count = len(array)
    return RawFrames([each(frame) for frame in array], [str(index) for index in range(count)], list(range(count)), [])


def _latin1(text: str, encoding: str) -> bytes:
    """What pickles of protocol 2 call to rebuild bytes, and nothing else that `codecs.encode` could do."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"encoding {encoding!r} is not allowed")
    return text.encode("latin1")


class _ArrayUnpickler(pickle.Unpickler):
    """Numpy arrays and plain Python values; any other name in the pickle is refused, so that no code runs."""

    def find_class(self, module: str, name: str) -> object:
        if (module, name) == ("numpy", "ndarray"):
            return np.ndarray
        if (module, name) == ("numpy", "dtype"):
            return np.dtype
        if module in ("numpy.core.multiarray", "numpy._core.multiarray") and name == "_reconstruct":
            return np._core.multiarray._reconstruct
        if module in ("numpy.core.numeric", "numpy._core.numeric") and name == "_frombuffer":
            return np._core.numeric._frombuffer
        if (module, name) == ("_codecs", "encode"):
            return _latin1
        raise pickle.UnpicklingError(f"{module}.{name} is not an array and is not loaded")
