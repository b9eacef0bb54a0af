"""Contours give every mask back bit for bit, whatever its shape."""

import numpy as np
import pytest

from datasets.contours import codec


def random_masks(rng: np.random.Generator, frames: int, grid: int) -> np.ndarray:
    """Noise of every density: specks, holes, holes in specks, empty and full frames."""
    density = rng.uniform(0, 1, size=(frames, 1, 1))
    return (rng.uniform(size=(frames, grid, grid)) < density).astype(np.uint8)


@pytest.mark.parametrize("grid", [1, 4, 31, 64, 128, 256])
@pytest.mark.parametrize("seed", range(3))
def test_noise_comes_back_bit_for_bit(grid: int, seed: int) -> None:
    masks = random_masks(np.random.default_rng(seed), frames=7, grid=grid)
    masks[2], masks[4] = 0, 1
    np.testing.assert_array_equal(codec.decode(codec.encode(masks)), masks)


def test_hand_drawn_shapes() -> None:
    masks = np.zeros((4, 8, 8), np.uint8)
    masks[0, 0, 0] = masks[0, 7, 7] = 255  # single pixels, in the corners
    masks[1, 2:7, 1:6] = 255
    masks[1, 3:6, 2:5] = 0  # a ring ...
    masks[1, 4, 3] = 255  # ... with an island
    masks[3, :, 3] = 255  # a line, border to border; frame 2 stays empty
    got = codec.encode(masks)
    assert got.counts.tolist() == [2, 3, 0, 1]
    np.testing.assert_array_equal(codec.decode(got), masks > 0)


def test_no_frames_and_empty_frames() -> None:
    assert codec.decode(codec.encode(np.zeros((0, 16, 16), np.uint8))).shape == (0, 16, 16)
    assert codec.decode(codec.encode(np.zeros((3, 16, 16), np.uint8))).sum() == 0


def test_any_choice_of_frames_in_any_order() -> None:
    masks = random_masks(np.random.default_rng(5), frames=9, grid=32)
    coded = codec.encode(masks)
    chosen = np.array([8, 0, 0, 3, 5])
    np.testing.assert_array_equal(codec.decode(coded, chosen), masks[chosen])


def test_chain_codes_take_half_a_byte_a_step() -> None:
    masks = random_masks(np.random.default_rng(6), frames=5, grid=64)
    coded = codec.encode(masks)
    assert len(coded.chain) == (int(coded.lengths.astype(int).sum()) - len(coded.lengths) + 1) // 2
