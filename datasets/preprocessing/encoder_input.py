"""Masks on the canonical grid to the encoder's input of HEIGHT x WIDTH pixels."""

import numpy as np

from datasets.schema.rows import HEIGHT, WIDTH

_MARGIN = (HEIGHT - WIDTH) // 2


def to_input(frames: np.ndarray) -> np.ndarray:
    """Canonical frames uint8 0/1 [T, G, G] at the encoder's size: uint8 0/1 [T, HEIGHT, WIDTH]."""
    return np.ascontiguousarray(downsample(frames.transpose(1, 0, 2)).transpose(1, 0, 2))


def downsample(rows: np.ndarray) -> np.ndarray:
    """Rows of canonical frames [G, T, G] at the encoder's size, [HEIGHT, T, WIDTH].

    A pixel is body where at least half of its area is.
    """
    grid = len(rows)
    factor = grid // HEIGHT
    assert grid == factor * HEIGHT and factor & (factor - 1) == 0, f"grid {grid} is not 64, 128, 256"
    if factor > 1:
        area = rows
        for _ in range(factor.bit_length() - 1):
            pairs = (area[::2] + area[1::2]).view(np.uint16)  # two columns each, which are added as one number
            area = (pairs + (pairs >> 8)).astype(np.uint8)
        rows = (2 * area >= factor * factor).view(np.uint8)
    return rows[:, :, _MARGIN : HEIGHT - _MARGIN]
