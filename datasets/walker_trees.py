"""Synthetic walkers on disk, laid out as the owners of a collection release theirs.

This file knows where each layout puts a sequence and which generator draws it; it knows nothing of bodies
(datasets/walkers.py) and nothing of how the trees are read.
"""

import pickle
import zlib
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import cv2
import numpy as np

from datasets.silhouettes import normalise
from datasets.walkers import CONDITIONS, make_walker, render_walk

CASIA_B_SIZE = (240, 320)  # rows, columns
CASIA_B_ELEVATION = 5.0  # degrees: its cameras stand a little above the waist
FAST_PNG = (cv2.IMWRITE_PNG_COMPRESSION, 1)


def film_casia_b(
    subject: str, condition: str, view: str, *, num_frames: int, seed: int, size: tuple[int, int] = CASIA_B_SIZE
) -> np.ndarray:
    """One sequence like CASIA-B's (Yu, Tan and Tan, ICPR 2006): uint8 [num_frames, *size] of 0 and 255.

    It depends on the seed and these names alone, and all views of a walk show the same walk. Some sequences begin with
    one or two black frames, the person not yet in view.
    """
    rng = np.random.default_rng(_seed_of(seed, subject, condition))
    frames = render_walk(
        make_walker(_seed_of(seed, subject)),
        condition=condition,
        azimuth=int(view),
        elevation=CASIA_B_ELEVATION,
        num_frames=num_frames,
        phase=rng.uniform(0, 2 * np.pi),
        height=size[0],
        width=size[1],
        rng=rng,
    )
    camera = np.random.default_rng(_seed_of(seed, subject, condition, view))
    frames[: camera.choice([0, 1, 2], p=[0.7, 0.2, 0.1])] = 0
    return frames


def write_casia_b(
    root: Path,
    *,
    subjects: Sequence[str],
    views: Sequence[str],
    conditions: Sequence[str],
    num_frames: int,
    seed: int,
    size: tuple[int, int] = CASIA_B_SIZE,
) -> int:
    """Write a tree as CASIA-B is released, <root>/001/nm-01/090/001-nm-01-090-001.png, and count its sequences.

    `size` is rows and columns of a frame, for collections that were filmed with finer cameras.
    """
    sequences = list(product(subjects, conditions, views))
    for subject, condition, view in sequences:
        folder = root / subject / condition / view
        folder.mkdir(parents=True, exist_ok=True)
        frames = film_casia_b(subject, condition, view, num_frames=num_frames, seed=seed, size=size)
        for number, frame in enumerate(frames, start=1):
            name = f"{subject}-{condition}-{view}-{number:03d}.png"
            cv2.imwrite(str(folder / name), frame, FAST_PNG)
    return len(sequences)


def write_gaitlu(root: Path, *, count: int, num_frames: int, seed: int) -> int:
    """Write a tree like GaitLU-1M's (Fan et al., TPAMI 2023): <root>/000/000/000/000_000_000.pkl.

    Each file is a pickled uint8 array [num_frames, 64, 44] of 0 and 255, aligned: one anonymous walker from a random
    direction in a random condition. Folder numbers count sequences. Returns `count`.
    """
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        frames = render_walk(
            make_walker(int(rng.integers(2**32))),
            condition=str(rng.choice(CONDITIONS)),
            azimuth=rng.uniform(0, 360),
            elevation=rng.uniform(0, 40),
            num_frames=num_frames,
            phase=rng.uniform(0, 2 * np.pi),
            rng=rng,
        )
        parts = [f"{digits:03d}" for digits in (number // 1_000_000, number // 1_000 % 1_000, number % 1_000)]
        folder = root.joinpath(*parts)
        folder.mkdir(parents=True, exist_ok=True)
        aligned = np.stack([_align(frame) for frame in frames])
        (folder / ("_".join(parts) + ".pkl")).write_bytes(pickle.dumps(aligned))
    return count


def _seed_of(seed: int, *names: str) -> int:
    """A seed for what these names denote, whatever else is drawn beside it."""
    return zlib.crc32("/".join([str(seed), *names]).encode())


def _align(frame: np.ndarray) -> np.ndarray:
    """One mask [240, 320] as the owners of GaitLU-1M give it: [64, 44] of 0 and 255."""
    mask, reason = normalise(frame, 64)
    assert mask is not None, f"a walker that cannot be aligned: {reason}"
    return mask[:, 10:54] * np.uint8(255)
