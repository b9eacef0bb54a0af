"""Synthetic walkers on disk, in any layout of any collection.

Which walks there are is said in datasets/synthetic/scenes.py and datasets/synthetic/casts.py, their paths and forms in
datasets/synthetic/file_names.py. This file draws them and writes; it knows no collection, and nothing of how trees are
read.
"""

import json
import pickle
from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np

from datasets.preprocessing import parsing
from datasets.preprocessing.silhouettes import normalise
from datasets.schema.collection import Layout
from datasets.synthetic.file_names import PLACES, Place
from datasets.synthetic.film import Walk
from datasets.synthetic.modalities import see

# Rows unfiltered, little compression: a mask takes a fifth of the time that OpenCV's search for the best filter takes.
FAST = {".png": (cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_NONE), ".jpg": ()}
MARGIN = 4  # pixels between a detected person and the border of the cut-out


def write_tree(root: Path, layout: Layout, walks: Iterable[Walk], *, num_frames: int = 20, seed: int = 0) -> int:
    """Write walks below a root as a layout of their collection has them, and count them.

    Every film has `num_frames` frames; an aligned release has lost those in which nobody is in view, as its owners
    dropped them. A file depends on its walk, the number of frames and the seed, and on nothing that lies beside it:
    several modalities may be written below one root, in any order.
    """
    count = 0
    for walk in walks:
        place = PLACES[walk.collection][layout.name]
        _write(root, layout, place, walk, see(walk, layout.modality, num_frames=num_frames, seed=seed))
        count += 1
    return count


def _write(root: Path, layout: Layout, place: Place, walk: Walk, frames: np.ndarray) -> None:
    names = {"subject": walk.subject, "condition": walk.condition, "view": walk.view, **walk.names}
    folder = root / place.folder.format_map(names)
    if layout.modality == "skeleton":
        kept = [frame for frame in frames if frame.any()]
    elif layout.aligned:
        kept = list(_aligned_labels(frames) if layout.modality == "parsing" else _aligned(frames, place.aligned))
    else:
        kept = list(_boxed(frames) if place.boxed else frames)
    if layout.kind == "pickle":
        folder.mkdir(parents=True, exist_ok=True)
        (folder / place.file.format_map(names)).write_bytes(pickle.dumps(np.stack(kept)))
    else:
        numbers = range(place.first, place.first + place.step * len(kept), place.step)
        for number, frame in zip(numbers, kept, strict=True):
            named = {**names, "frame": number, "seconds": f"{number / 1e6:.6f}"}
            file = folder / place.file.format_map(named)
            file.parent.mkdir(parents=True, exist_ok=True)
            _write_frame(file, frame, place, walk.size)
    for path, content in place.beside.items():
        beside = folder / path.format_map(names)
        if not beside.exists():  # it may have been written as what it is
            beside.parent.mkdir(exist_ok=True)
            beside.write_bytes(content(np.stack(list(_aligned(frames, place.aligned)))))


def _write_frame(file: Path, frame: np.ndarray, place: Place, size: tuple[int, int]) -> None:
    """One frame as a picture, or as the numbers of its joints."""
    if file.suffix == ".json":
        file.write_text(json.dumps(frame.tolist()))
    elif file.suffix == ".txt":
        file.write_text(",".join(str(number) for number in [*size[::-1], *frame.ravel().tolist()]))
    else:
        cv2.imwrite(str(file), cv2.merge([frame] * place.channels), FAST[file.suffix])


def _aligned_labels(frames: np.ndarray) -> Iterator[np.ndarray]:
    """Parsing maps as owners align them, uint8 [GRID, GRID], without those in which nobody is in view."""
    for frame in frames:
        labels, found, _ = parsing.crop(frame, parsing.GRID)
        if found is not None:
            yield labels


def _aligned(frames: np.ndarray, size: tuple[int, int]) -> Iterator[np.ndarray]:
    """Frames as owners align them, uint8 [rows, columns] of 0 and 255, without those in which nobody is in view."""
    rows, columns = size
    cut = (rows - columns) // 2
    for frame in frames:
        mask, _ = normalise(frame, rows)
        if mask is not None:
            yield mask[:, cut : cut + columns] * np.uint8(255)


def _boxed(frames: np.ndarray) -> Iterator[np.ndarray]:
    """What a detector cuts out of each frame, of varying size; nothing where it finds nobody."""
    for frame in frames:
        rows, columns = (np.flatnonzero(frame.any(axis=axis)) for axis in (1, 0))
        if len(rows):
            yield np.pad(frame[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], MARGIN)
