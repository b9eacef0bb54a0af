"""Outlines that are moved and drawn again: exact where pixels fall on pixels, and on the true shape elsewhere."""

import numpy as np

from datasets.contours import codec, raster


def lines_of(masks: np.ndarray) -> raster.Outlines:
    return raster.outlines(codec.coded_frames(codec.encode(masks)).choose(np.arange(len(masks)), masks.shape[1]))


def drawn(masks: np.ndarray, matrix: list[list[float]], size: int) -> np.ndarray:
    return raster.draw(lines_of(masks), np.array([[*matrix, [0, 0, 1]]]), size).transpose(1, 0, 2)


def noise(frames: int = 5, grid: int = 64) -> np.ndarray:
    """Specks, holes, holes in specks, and an empty and a full frame."""
    masks = (np.random.default_rng(2).uniform(size=(frames, grid, grid)) < 0.5).astype(np.uint8)
    masks[1], masks[3] = 0, 1
    return masks


def test_unmoved_outlines_are_the_masks_and_shifted_ones_the_shifted_masks() -> None:
    masks = noise()
    np.testing.assert_array_equal(drawn(masks, [[1, 0, 0], [0, 1, 0]], 64), masks)
    shifted = drawn(masks, [[1, 0, 5], [0, 1, -3]], 64)
    np.testing.assert_array_equal(shifted[:, :-3, 5:], masks[:, 3:, :-5])
    assert shifted[:, -3:].sum() == shifted[:, :, :5].sum() == 0
    np.testing.assert_array_equal(drawn(masks, [[1, 0, -10], [0, 1, -10]], 44), masks[:, 10:54, 10:54])


def test_mirrored_and_turned_outlines_are_the_mirrored_and_turned_masks() -> None:
    masks = noise()
    np.testing.assert_array_equal(drawn(masks, [[-1, 0, 63], [0, 1, 0]], 64), masks[:, :, ::-1])
    np.testing.assert_array_equal(drawn(masks, [[0, 1, 0], [-1, 0, 63]], 64), np.rot90(masks, axes=(1, 2)))


def test_a_disc_keeps_its_true_area_at_any_size() -> None:
    """The outline runs along the border of the body, not through the centres of its pixels."""
    y, x = np.mgrid[:128, :128]
    disc = ((x - 63.5) ** 2 + (y - 63.5) ** 2 < 40**2).astype(np.uint8)[None]
    for scale in (0.3, 0.5, 0.9, 1.5):
        shift = 63.7 - 63.5 * scale
        area = drawn(disc, [[scale, 0, shift], [0, scale, shift]], 128).sum()
        assert abs(area / (disc.sum() * scale**2) - 1) < 0.01
    assert drawn(disc, [[1, 0, 500], [0, 1, 0]], 128).sum() == drawn(disc, [[1, 0, 0], [0, 1, -500]], 128).sum() == 0


def test_every_clip_has_its_own_map_and_no_frame_touches_another() -> None:
    masks = np.concatenate([noise(4), noise(4)])
    up, down = ([[1, 0, 0], [0, 1, dy], [0, 0, 1]] for dy in (-40, 40))
    moved = raster.draw(lines_of(masks), np.array([up, down], dtype=float), 64).transpose(1, 0, 2)
    np.testing.assert_array_equal(moved[:4, :24], masks[:4, 40:])
    np.testing.assert_array_equal(moved[4:, 40:], masks[4:, :24])
    assert moved[:4, 24:].sum() == moved[4:, :40].sum() == 0


def test_a_map_with_its_horizon_in_the_picture_is_drawn_somehow() -> None:
    maps = np.array([[[1, 0, 0], [0, 1, 0], [0.05, 0.05, -1]]])
    assert set(np.unique(raster.draw(lines_of(noise()), maps, 64))) <= {0, 1}
