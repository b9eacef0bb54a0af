"""The normalisation against the reference arithmetic, and the ranges in which masks come."""

import cv2
import numpy as np
import pytest

from datasets.preprocessing import binary, silhouettes


def walker_mask(height: int = 240, width: int = 320) -> np.ndarray:
    mask = np.zeros((height, width), np.uint8)
    cv2.ellipse(mask, (100, 120), (18, 55), 0, 0, 360, 255, -1)
    cv2.circle(mask, (104, 55), 12, 255, -1)
    return mask


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of two masks."""
    return np.logical_and(a, b).sum() / np.logical_or(a, b).sum()


def normalised(golden, grid: int) -> tuple[np.ndarray, np.ndarray]:
    """Masks [n, grid, grid], ours and OpenGait's, of those that both keep; they must keep the same ones."""
    raw = np.unpackbits(golden["raw"], axis=-1)
    ours = [silhouettes.normalise(frame, grid)[0] for frame in raw.reshape(len(raw), 120, 160) * np.uint8(255)]
    assert [mask is not None for mask in ours] == golden["kept"].tolist()
    return np.stack([mask for mask in ours if mask is not None]), golden[f"norm{grid}"] > 127


@pytest.mark.parametrize("grid", [64, 128])
def test_agrees_with_the_reference(golden_folder, grid: int) -> None:
    golden = np.load(golden_folder / "normalize_walkers.npz")
    assert 0 < golden["kept"].sum() < len(golden["kept"])
    np.testing.assert_array_equal(*normalised(golden, grid))


@pytest.mark.parametrize("grid", [64, 128])
def test_agrees_with_the_reference_on_real_frames(kth_masks, grid: int) -> None:
    got, expected = normalised(np.load(kth_masks), grid)
    assert min(overlap(g, e) for g, e in zip(got, expected, strict=True)) >= 0.99


def by_the_rules(grey: np.ndarray, grid: int) -> np.ndarray:
    """The reference arithmetic written out, one step after the other."""
    grey = (grey > 127) * np.uint8(255)
    rows = np.flatnonzero(grey.sum(axis=1))
    body = grey[rows[0] : rows[-1] + 1]
    body = cv2.resize(body, (int(grid * (body.shape[1] / len(body))), grid), interpolation=cv2.INTER_CUBIC)
    mass = body.sum(axis=0).cumsum()
    centre = next(column for column, so_far in enumerate(mass) if so_far > body.sum() / 2)
    return np.pad(body, ((0, 0), (grid // 2, grid // 2)))[:, centre : centre + grid] > 127


@pytest.mark.parametrize("grid", silhouettes.ALIGNED_GRIDS)
def test_agrees_with_the_reference_arithmetic_bit_for_bit(grid: int) -> None:
    rng = np.random.default_rng(0)
    for size in [(240, 320), (120, 160), (333, 217), (960, 1280)]:
        for _ in range(20):
            grey = np.zeros(size, np.uint8)
            middle, axes = rng.integers(0, size[::-1]), rng.integers(20, (size[1] // 4, size[0] // 2))
            cv2.ellipse(grey, middle.tolist(), axes.tolist(), 10, 0, 360, int(rng.integers(128, 256)), -1)
            grey[rng.random(size) < 0.001] = rng.integers(1, 256)
            np.testing.assert_array_equal(silhouettes.normalise(grey, grid)[0], by_the_rules(grey, grid))


def test_body_fills_the_height_and_sits_in_the_middle() -> None:
    mask, reason = silhouettes.normalise(walker_mask(), 128)
    assert not reason
    assert mask.shape == (128, 128)
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    assert rows[0] <= 1 and rows[-1] >= 126
    assert abs((columns[0] + columns[-1]) / 2 - 64) <= 3


def test_position_in_the_picture_makes_no_difference() -> None:
    mask = walker_mask()
    moved = np.roll(mask, (20, 150), axis=(0, 1))
    here, there = silhouettes.normalise(mask)[0], silhouettes.normalise(moved)[0]
    assert max(overlap(here, np.roll(there, by, axis=1)) for by in (-1, 0, 1)) > 0.98  # a column of rounding


def test_a_body_at_the_border_is_padded() -> None:
    at_border = np.roll(walker_mask(), -95, axis=1)
    mask, reason = silhouettes.normalise(at_border)
    assert not reason
    assert mask.any()


@pytest.mark.parametrize(
    ("mask", "reason"),
    [
        (np.zeros((240, 320), np.uint8), "nearly empty frame"),
        (np.zeros((0, 320), np.uint8), "nearly empty frame"),
        (np.pad(np.full((600, 1), 255, np.uint8), ((0, 0), (0, 1))), "frame too narrow"),
    ],
)
def test_unusable_frames_say_why(mask: np.ndarray, reason: str) -> None:
    assert silhouettes.normalise(mask, 64) == (None, reason)


@pytest.mark.parametrize(
    "dressed",
    [
        lambda m: m // 255,
        lambda m: m > 0,
        lambda m: m.astype(np.uint16) * 257,
        lambda m: m.astype(np.float32) / 255,
        lambda m: m[..., None],
        lambda m: np.repeat(m[..., None], 3, axis=2),
        lambda m: np.dstack([m * 0, m // 2, m]),
        lambda m: np.dstack([m * 0, m]),
        lambda m: np.dstack([m, m * 0 + 7]),
        lambda m: np.dstack([m, m, m, m * 0]),
        lambda m: np.dstack([255 - m, m // 2, m * 0, m]),
    ],
    ids=[
        *("zero-one", "bool", "sixteen-bit", "float", "one-channel", "three-channel", "red"),
        *("alpha-alone", "alpha-constant", "alpha-empty", "alpha-cuts-out"),
    ],
)
def test_every_way_to_write_a_mask_gives_the_same_body(dressed) -> None:
    mask = walker_mask()
    np.testing.assert_array_equal(binary.from_image(dressed(mask)).mask, mask)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, -1.0])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_values_that_are_not_a_mask_are_refused(dtype: type, bad: float) -> None:
    frames = np.ones((3, 64, 64), dtype)
    frames[1, 2, 3] = bad
    for refuse in (binary.from_values, silhouettes.aligned_masks, lambda f: binary.from_image(f[1])):
        with pytest.raises(ValueError, match="NaN, infinite or negative"):
            refuse(frames)


def test_integers_that_are_not_a_mask_are_refused() -> None:
    for dtype, bad in ((np.int8, -1), (np.int64, -1), (np.int32, 65_536), (np.uint64, 2**64 - 1)):
        frames = np.zeros((1, 64, 64), dtype)
        frames[0, 5, 5] = bad
        with pytest.raises(ValueError, match=r"negative|values up to"):
            silhouettes.aligned_masks(frames)


@pytest.mark.parametrize("shape", [(64,), (64, 44, 0), (64, 44, 5), (2, 64, 44, 1)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="an image of shape"):
        binary.from_image(np.zeros(shape, np.uint8))


def test_aligned_releases_keep_their_pixels() -> None:
    frames = np.zeros((5, 64, 44), np.uint8)
    frames[:, 1:63, 12:32] = (np.random.default_rng(0).uniform(size=(5, 62, 20)) < 0.9) * np.uint8(255)
    got = silhouettes.aligned_masks(frames).masks
    assert got.shape == (5, 64, 64)
    np.testing.assert_array_equal(got[:, :, 10:54], frames > 0)
    assert not got[:, :, :10].any()
    with pytest.raises(ValueError, match="50x50"):
        silhouettes.aligned_masks(np.zeros((2, 50, 50), np.uint8))
