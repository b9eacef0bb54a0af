"""Hazards of pickled sequences: each function plants one in the folder of a sequence of synthetic walkers.

It changes the array, uint8 [T, H, W] of 0 and 255, or the files beside it, in place. tests/hazards/table.py holds the
expected outcome.
"""

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np


def _silhouettes(folder: Path) -> Path:
    """The silhouettes of a sequence: the only pickle, or the one that is named so."""
    found = sorted(folder.glob("*.pkl"))
    return found[0] if len(found) == 1 else next(path for path in found if "sil" in path.name)


def _rewrite(folder: Path, change: Callable[[np.ndarray], object]) -> None:
    """Replaces the array by the result of `change`."""
    path = _silhouettes(folder)
    path.write_bytes(pickle.dumps(change(pickle.loads(path.read_bytes()))))


def in_a_list(folder: Path) -> None:
    """A list of one array."""
    _rewrite(folder, lambda frames: [frames])


def channel_first(folder: Path) -> None:
    """[T, 1, H, W]."""
    _rewrite(folder, lambda frames: frames[:, None])


def channel_last(folder: Path) -> None:
    """[T, H, W, 1]."""
    _rewrite(folder, lambda frames: frames[..., None])


def list_of_frames(folder: Path) -> None:
    """A list of T frames."""
    _rewrite(folder, list)


def zero_one_array(folder: Path) -> None:
    """0 and 1 instead of 0 and 255."""
    _rewrite(folder, lambda frames: frames // 255)


def truth_values(folder: Path) -> None:
    """False and True instead of 0 and 255."""
    _rewrite(folder, lambda frames: frames > 0)


def floats(folder: Path) -> None:
    """0.0 and 1.0 instead of 0 and 255."""
    _rewrite(folder, lambda frames: frames / 255)


def grey_array(folder: Path) -> None:
    """Grey values, as in a resized release, that thresholding turns into the same masks."""

    def grey(frames: np.ndarray) -> np.ndarray:
        noise = np.random.default_rng(0).integers(0, 100, frames.shape, np.uint8)
        return np.where(frames > 0, 255 - noise, noise)

    _rewrite(folder, grey)


def missing_frames(folder: Path) -> None:
    """A list of frames, two of which are None in the place of masks that could not be aligned."""

    def lose(frames: np.ndarray) -> list[np.ndarray | None]:
        return [None if index in (2, 5) else frame for index, frame in enumerate(frames)]

    _rewrite(folder, lose)


def missing_frames_in_an_array(folder: Path) -> None:
    """The same as an array of objects, which NumPy before 1.24 made of such a list."""

    def lose(frames: np.ndarray) -> np.ndarray:
        objects = np.empty(len(frames), object)
        objects[:] = [None if index in (2, 5) else frame for index, frame in enumerate(frames)]
        return objects

    _rewrite(folder, lose)


def nan_values(folder: Path) -> None:
    """NaN among the values."""
    _rewrite(folder, lambda frames: np.where(np.arange(frames.size).reshape(frames.shape) == 7, np.nan, frames))


def no_frame_in_the_array(folder: Path) -> None:
    """[0, H, W]."""
    _rewrite(folder, lambda frames: frames[:0])


def something_else_pickled(folder: Path) -> None:
    """A dictionary."""
    _rewrite(folder, lambda frames: {"frames": len(frames)})


def array_of_fifty(folder: Path) -> None:
    """50x50 pixels, which no aligned release has."""
    _rewrite(folder, lambda frames: frames[:, :50, :50])


def cut_to_44_columns(folder: Path) -> None:
    """64x44 pixels, as some preprocessed copies have them."""
    _rewrite(folder, lambda frames: frames[:, :, 10:54])


def twice_as_fine(folder: Path) -> None:
    """128x128 pixels, as some preprocessed copies have them."""
    _rewrite(folder, lambda frames: frames.repeat(2, axis=1).repeat(2, axis=2))


class _Command:
    """An object whose pickle makes a file when an unrestricted unpickler loads it."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, (f"open({str(self.target)!r}, 'w').close()",)


def carried_code(folder: Path) -> None:
    """A pickle that runs code when it is loaded: it makes the file `owned` beside itself."""
    _rewrite(folder, lambda _: _Command(folder / "owned"))


def truncated_array(folder: Path) -> None:
    """A pickle whose end is missing."""
    path = _silhouettes(folder)
    path.write_bytes(path.read_bytes()[:-1000])


def empty_array_file(folder: Path) -> None:
    """A pickle of no bytes."""
    _silhouettes(folder).write_bytes(b"")


def pipe_named_like_an_array(folder: Path) -> None:
    """A pipe in place of the array: opening it blocks for ever."""
    path = _silhouettes(folder)
    path.unlink()
    os.mkfifo(path)


def two_arrays(folder: Path) -> None:
    """The silhouettes in two files: it is unknown which are meant."""
    path = _silhouettes(folder)
    path.with_name(f"{folder.name}-aligned-sils.pkl").write_bytes(path.read_bytes())


def other_modalities_missing(folder: Path) -> None:
    """The silhouettes without the files of other modalities, which sort before and after them."""
    for path in set(folder.glob("*.pkl")) - {_silhouettes(folder)}:
        path.unlink()


def silhouettes_missing(folder: Path) -> None:
    """The other modalities without the silhouettes."""
    _silhouettes(folder).unlink()


def white_background_array(folder: Path) -> None:
    """Bodies of 0 on 255."""
    _rewrite(folder, lambda frames: 255 - frames)


def labels_in_an_array(folder: Path) -> None:
    """0 and 2 instead of 0 and 255."""
    _rewrite(folder, lambda frames: frames // 255 * 2)


def time_last(folder: Path) -> None:
    """[H, W, T]."""
    _rewrite(folder, lambda frames: np.ascontiguousarray(frames.transpose(1, 2, 0)))


def lying_frames(folder: Path) -> None:
    """[T, W, H]."""
    _rewrite(folder, lambda frames: np.ascontiguousarray(frames.transpose(0, 2, 1)))


def somebody_beside_in_an_array(folder: Path) -> None:
    """Another person of the same size beside the first one, in every frame."""

    def add(frames: np.ndarray) -> np.ndarray:
        half = frames[:, :, 16:48]
        return np.concatenate([half, half], axis=2)

    _rewrite(folder, add)


def time_in_the_middle(folder: Path) -> None:
    """[H, T, W]."""
    _rewrite(folder, lambda frames: np.ascontiguousarray(frames.transpose(1, 0, 2)))


def three_equal_channels(folder: Path) -> None:
    """[T, H, W, 3], as of pictures that were read as colours."""
    _rewrite(folder, lambda frames: np.stack([frames] * 3, axis=-1))


def three_unequal_channels(folder: Path) -> None:
    """[T, H, W, 3] of another picture in each channel."""
    _rewrite(folder, lambda frames: np.stack([frames, frames // 2, 255 - frames], axis=-1))
