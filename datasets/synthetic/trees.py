"""Write synthetic walkers to disk, in any layout of any collection.

Nothing here may use the code that reads trees (datasets/ingest), so that each checks the other.
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
from datasets.synthetic import generic_format
from datasets.synthetic.film import Walk
from datasets.synthetic.modalities import see
from datasets.synthetic.release_formats import FORMATS, ReleaseFormat

# Rows unfiltered, little compression: a mask takes a fifth of the time that OpenCV's search for the best filter takes.
FAST = {".png": (cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_NONE)}
MARGIN = 4  # pixels between a detected person and the border of the cut-out


def write_tree(root: Path, layout: Layout, walks: Iterable[Walk], *, num_frames: int = 20, seed: int = 0) -> int:
    """Write walks below a root as a layout of their collection has them, and count them.

    Every film has `num_frames` frames; an aligned release has lost those in which nobody is in view, as its owners
    dropped them. A file depends on its walk, the number of frames and the seed, and on nothing that lies beside it:
    several modalities may be written below one root, in any order.
    """
    count = 0
    for walk in walks:
        _write(root, layout, walk, see(walk, layout.modality, num_frames=num_frames, seed=seed))
        count += 1
    return count


def _write(root: Path, layout: Layout, walk: Walk, frames: np.ndarray) -> None:
    form, names = _format(layout, walk)
    folder = root / form.folder.format_map(names)
    if layout.modality == "skeleton":
        kept = [frame for frame in frames if frame.any()]
    elif layout.aligned:
        kept = list(_aligned_labels(frames) if layout.modality == "parsing" else _aligned(frames, form.aligned))
    else:
        kept = list(_boxed(frames) if form.boxed else frames)
    if layout.kind == "pickle":
        folder.mkdir(parents=True, exist_ok=True)
        (folder / form.file.format_map(names)).write_bytes(pickle.dumps(np.stack(kept)))
    else:
        numbers = range(form.first, form.first + form.step * len(kept), form.step)
        for number, frame in zip(numbers, kept, strict=True):
            file = folder / form.file.format_map({**names, "frame": number, "seconds": f"{number / 1e6:.6f}"})
            file.parent.mkdir(parents=True, exist_ok=True)
            _write_frame(file, frame, form, walk.size)
    for path, content in form.beside.items():
        beside = folder / path.format_map(names)
        if not beside.exists():  # it may have been written as what it is
            beside.parent.mkdir(exist_ok=True)
            beside.write_bytes(content(np.stack(list(_aligned(frames, form.aligned)))))


def _format(layout: Layout, walk: Walk) -> tuple[ReleaseFormat, dict[str, str]]:
    """The format of the walk's collection, or else one after the layout's example; and the names to fill it with."""
    form = FORMATS.get(walk.collection, {}).get(layout.name)
    if form is not None:
        return form, {"subject": walk.subject, "condition": walk.condition, "view": walk.view, **walk.names}
    names = generic_format.example_of(layout).groups_for(walk.subject, walk.condition, walk.view)
    assert names is not None, f"the layout {layout.name} of {walk.collection} has no path for {walk}"
    return generic_format.format_of(layout), names


def _write_frame(file: Path, frame: np.ndarray, form: ReleaseFormat, size: tuple[int, int]) -> None:
    """One frame as a picture, or as the numbers of its joints."""
    if file.suffix == ".json":
        file.write_text(json.dumps(frame.tolist()))
    elif file.suffix == ".txt":
        file.write_text(",".join(str(number) for number in [*size[::-1], *frame.ravel().tolist()]))
    else:
        cv2.imwrite(str(file), cv2.merge([frame] * form.channels), FAST.get(file.suffix, ()))


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
