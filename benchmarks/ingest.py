"""python -m benchmarks.ingest [--size 240 320] [--grids 64 128] [--frames 60] [--repeats 5]

From a folder of PNG masks to contours, against a plain OpenCV pipeline on the same synthetic tree: it checks that both
make the same silhouettes, and measures frames per second of CPU time on one thread. The plain pipeline follows
OpenGait's `pretreatment.py` (Fan et al., CVPR 2023) and pickles its result. It is measured twice: with the mass of the
picture summed anew for every column on the way to the centre, as in OpenGait, and with that sum taken once. The first
ratio is against the program in use, the second against the same program without this inefficiency.
"""

import pickle
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path

import cv2
import numpy as np
import tyro

from datasets import storage
from datasets.catalog import registry
from datasets.contours import codec
from datasets.ingest import layouts, read_frames
from datasets.ingest.layouts import SequenceRef
from datasets.preprocessing import binary, silhouettes
from datasets.preprocessing.bodies import main_body
from datasets.synthetic import scenes
from datasets.synthetic.trees import write_tree

SPEC, LAYOUT = registry.CASIA_B, registry.CASIA_B.layouts[0]
Centre = Callable[[np.ndarray], int]


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """What to measure on."""

    size: tuple[int, int] = (240, 320)
    """Rows and columns of a frame."""
    grids: tuple[int, ...] = (64, 128)
    """Heights to normalise to: 64 is the default of the plain pipeline, 128 that of our store."""
    subjects: int = 4
    """Subjects; each walks 3 times before 4 cameras."""
    frames: int = 60
    """Frames of a sequence."""
    repeats: int = 5
    """Rounds; every round measures all pipelines, one after the other."""


def main(arguments: Arguments) -> None:
    """Write a tree, compare the silhouettes, measure and print."""
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        subjects = [f"{number:03d}" for number in range(1, arguments.subjects + 1)]
        names = product(subjects, ("nm-01", "bg-01", "cl-01"), ("000", "036", "090", "144"))
        walks = [replace(scenes.casia_b(*name), size=arguments.size) for name in names]
        write_tree(root, LAYOUT, walks, num_frames=arguments.frames, seed=1)
        rows, columns = arguments.size
        print(f"{len(list(root.rglob('*.png'))):,} PNG masks of {columns}x{rows}, {arguments.repeats} rounds")
        for grid in arguments.grids:
            _measure(root, grid, arguments.repeats)


def _measure(root: Path, grid: int, repeats: int) -> None:
    frames, worst = _compare(root, grid)
    print(f"\ngrid {grid}: {frames:,} frames kept by both, worst IoU {worst:.4f}")
    pipelines: dict[str, Callable[[], object]] = {
        "plain, a sum a column": lambda: plain(root, grid, centre_summing_always),
        "plain, one sum": lambda: plain(root, grid, centre_summing_once),
        "ours": lambda: ours(root, grid),
    }
    rounds = np.array([[_cpu_seconds(work) for work in pipelines.values()] for _ in range(repeats)])
    for name, seconds in zip(pipelines, rounds.T, strict=True):
        ratios = seconds / rounds[:, -1]
        rate = f"{np.median(seconds):8.3f} CPU-s, {frames / np.median(seconds):8,.0f} frames per CPU-s"
        print(f"{name:<22} {rate}; ours is {ratios.min():5.2f} (min) {np.median(ratios):5.2f} (median) times as fast")
    _stages(root, grid, frames)


def _stages(root: Path, grid: int, frames: int) -> None:
    """The CPU time that each stage of ours adds, best of three."""
    refs = list(layouts.list_sequences(_root(root)))
    stages: dict[str, Callable[[SequenceRef], object]] = {
        "read and decode": lambda ref: read_frames.read(_root(root), ref, np.shape),
        "normalise": lambda ref: _masks(root, ref, grid),
        "contours": lambda ref: codec.encode(_masks(root, ref, grid)),
    }
    before = 0.0
    for name, stage in stages.items():
        so_far = min(_cpu_seconds(partial(_run_all, stage, refs)) for _ in range(3))
        print(f"  {name:<20} {(so_far - before) / frames * 1e6:8.1f} CPU-us a frame")
        before = so_far


def _run_all(stage: Callable[[SequenceRef], object], refs: list[SequenceRef]) -> None:
    for ref in refs:
        stage(ref)


def _compare(root: Path, grid: int) -> tuple[int, float]:
    """Number of frames that both pipelines keep, and the worst IoU of a frame; AssertionError below 0.99."""
    expected, got = plain(root, grid, centre_summing_once), ours(root, grid)
    assert expected.keys() == got.keys(), "the pipelines keep different sequences"
    frames, worst = 0, 1.0
    for folder, pickled in expected.items():
        theirs, own = pickle.loads(pickled) > silhouettes.THRESHOLD, codec.decode(got[folder]) > 0
        assert len(theirs) == len(own), f"{folder}: {len(theirs)} frames and {len(own)}"
        both, either = (theirs & own).sum(axis=(1, 2)), (theirs | own).sum(axis=(1, 2))
        worst = min(worst, float((both / either).min()))
        frames += len(own)
    assert worst >= 0.99, f"the worst IoU of two silhouettes is {worst:.3f}"
    return frames, worst


def ours(root: Path, grid: int) -> dict[str, codec.Contours]:
    """Contours of every sequence of a tree, by folder, with the functions of ingest."""
    refs = layouts.list_sequences(_root(root))
    return {ref.folder: codec.encode(_masks(root, ref, grid)) for ref in refs}


def _root(root: Path) -> layouts.Root:
    return layouts.Root(SPEC, storage.open_place(root), LAYOUT, 0)


def _masks(root: Path, ref: SequenceRef, grid: int) -> np.ndarray:
    raw = read_frames.read(_root(root), ref, lambda image: _normalised(image, grid))
    return np.stack([mask for mask in raw.frames if mask is not None])


def _normalised(image: np.ndarray, grid: int) -> np.ndarray | None:
    alone, _ = main_body(binary.from_image(image).mask)
    return silhouettes.normalise(alone, grid)[0]


def plain(root: Path, grid: int, centre: Centre) -> dict[str, bytes]:
    """Pickled stacks of grey frames uint8 [T, grid, grid] of every sequence of a tree, by folder."""
    groups: dict[str, list[Path]] = {}
    for path in root.rglob("*.png"):
        groups.setdefault(path.parent.relative_to(root).as_posix(), []).append(path)
    return {folder: pickle.dumps(_plain(sorted(paths), grid, centre)) for folder, paths in groups.items()}


def _plain(paths: list[Path], grid: int, centre: Centre) -> np.ndarray:
    kept = []
    for path in paths:
        image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        assert image is not None, f"{path} cannot be read"
        if image.sum() <= silhouettes.MIN_MASS:
            continue
        filled = np.flatnonzero(image.sum(axis=1))
        image = image[filled[0] : filled[-1] + 1]
        width = int(grid * image.shape[1] / image.shape[0])
        image = cv2.resize(image, (width, grid), interpolation=cv2.INTER_CUBIC)
        middle = centre(image)
        if middle == 0:
            continue
        margin = np.zeros((grid, grid // 2), np.uint8)
        kept.append(np.concatenate([margin, image, margin], axis=1)[:, middle : middle + grid])
    return np.asarray(kept)


def centre_summing_always(image: np.ndarray) -> int:
    """The first column with more than half of the mass up to it; the whole mass is summed at every column."""
    mass = image.sum(axis=0).cumsum()
    return next((column for column, so_far in enumerate(mass) if so_far > image.sum() / 2), 0)


def centre_summing_once(image: np.ndarray) -> int:
    """The same column, the whole mass summed once."""
    mass, half = image.sum(axis=0).cumsum(), image.sum() / 2
    return next((column for column, so_far in enumerate(mass) if so_far > half), 0)


def _cpu_seconds(work: Callable[[], object]) -> float:
    """CPU time of this process and all its threads, user and system."""
    started = time.process_time()
    work()
    return time.process_time() - started


if __name__ == "__main__":
    main(tyro.cli(Arguments))
