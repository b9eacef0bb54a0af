"""Each augmentation against the same one on pixels, as the reference does it: OpenCV, frame by frame."""

import cv2
import numpy as np
import pytest

from datasets.contours import codec, raster
from datasets.loading import augment
from datasets.loading.clips import ClipSettings
from datasets.loading.random_numbers import ClipRng
from datasets.preprocessing import silhouettes
from datasets.preprocessing.encoder_input import to_input
from datasets.synthetic.body import make_walker
from datasets.synthetic.film import Shot, render


def clips(count: int, step: int = 0) -> ClipRng:
    return ClipRng("pairs", seed=0, step=step, first=0, count=count)


@pytest.fixture(scope="module")
def walk() -> np.ndarray:
    """Frames of a walker at grid 128, with the noise of background subtraction."""
    frames = render(Shot(walker=make_walker(3), azimuth=60, num_frames=24, occasion=1))
    return np.stack([mask for mask, _ in (silhouettes.normalise(frame, 128) for frame in frames) if mask is not None])


def on_pixels(frames: np.ndarray, rng: ClipRng, clip: int, settings: ClipSettings) -> np.ndarray:
    """Frames [T, G, G] warped as one clip of `rng` is: bilinearly with a black border, map by map, then cut, binary."""
    grid = frames.shape[1]
    to_64 = augment._to_64(grid)
    warped = []
    for frame in frames.astype(np.float32):
        if rng.uniform("affine")[clip] < settings.affine:
            affine = augment._affine(rng.uniform("affine/corners", 12)[clip], settings.reach)
            matrix = np.linalg.inv(to_64) @ affine @ to_64
            frame = cv2.warpAffine(frame, matrix[:2], (grid, grid))
        if rng.uniform("perspective")[clip] < settings.perspective:
            perspective = augment._perspective(rng.uniform("perspective/edges", 4)[clip], settings.reach)
            matrix = np.linalg.inv(to_64) @ perspective @ to_64
            frame = cv2.warpPerspective(frame, matrix, (grid, grid))
        warped.append(frame)
    cut = to_input((np.stack(warped) >= 0.5).astype(np.uint8))
    return cut[:, :, ::-1] if rng.uniform("flip")[clip] < settings.flip else cut


# The outline runs where bilinear interpolation is one half, but for the curve that this is around a corner, so pixels
# differ only where the border passes within a few hundredths of their middle: on average less than one in a hundred of
# the body's. Two maps in a row interpolate on pixels what is interpolated, which costs about one percent more.
@pytest.mark.parametrize(
    ("settings", "grid", "least", "mean"),
    [
        (ClipSettings(affine=1, perspective=0), 64, 0.97, 0.99),
        (ClipSettings(affine=0, perspective=1), 64, 0.97, 0.99),
        (ClipSettings(affine=0, perspective=1), 128, 0.97, 0.99),
        (ClipSettings(affine=1, perspective=1), 64, 0.94, 0.975),
    ],
)
def test_moved_outlines_agree_with_moved_pixels(
    walk: np.ndarray, settings: ClipSettings, grid: int, least: float, mean: float
) -> None:
    frames = walk if grid == 128 else (walk.reshape(-1, 64, 2, 64, 2).sum(axis=(2, 4)) >= 2).astype(np.uint8)
    chains = codec.coded_frames(codec.encode(frames)).choose(np.arange(len(frames)), grid)
    agreement, rng = [], clips(40)
    for clip, matrix in enumerate(augment.on_grid(augment.movement(rng, settings).maps, grid)):
        moved = to_input(raster.draw(raster.outlines(chains), matrix[None], grid).transpose(1, 0, 2))
        pixels = on_pixels(frames, rng, clip, settings)
        agreement += ((moved & pixels).sum(axis=(1, 2)) / (moved | pixels).sum(axis=(1, 2))).tolist()
    assert min(agreement) > least and np.mean(agreement) > mean


def test_maps_are_drawn_as_often_and_as_far_as_the_settings_say() -> None:
    rng = clips(4000)
    assert abs(augment.movement(rng, ClipSettings()).moved.mean() - 0.36) < 0.02
    assert abs(augment.movement(rng, ClipSettings(flip=0.3)).mirrored.mean() - 0.3) < 0.02
    assert not augment.movement(rng, ClipSettings(affine=0, perspective=0)).moved.any()
    inverse = [np.linalg.inv(augment._perspective(one, 10)) for one in rng.uniform("perspective/edges", 4)[:300]]
    corners = np.stack([matrix @ [[0, 64, 64, 0], [0, 0, 64, 64], [1, 1, 1, 1]] for matrix in inverse])
    columns, rows = np.rint(corners[:, :2] / corners[:, 2:]).transpose(1, 0, 2)
    assert (rows == [0, 0, 64, 64]).all()
    for corner, expected in enumerate([range(10), range(54, 64), range(54, 64), range(10)]):
        assert set(columns[:, corner]) == set(expected)
    middle = np.array([32, 32, 1])
    near, far = (
        max(
            np.abs(augment._affine(one, reach) @ middle - middle).max()
            for one in rng.uniform("affine/corners", 12)[:300]
        )
        for reach in (10, 20)
    )
    assert 5 < near < 12 < far


def test_bands_change_as_frame_by_frame_arithmetic_says() -> None:
    clip = (np.random.default_rng(0).uniform(size=(5, 64, 44)) < 0.3).astype(np.uint8)
    dilated, blurred, rng = np.tile(clip, (300, 1, 1, 1)), np.tile(clip, (300, 1, 1, 1)), clips(300, step=1)
    augment.augment_pixels(dilated, rng, ClipSettings(dilate=1, blur=0))
    augment.augment_pixels(blurred, rng, ClipSettings(dilate=0, blur=1))
    tops, bottoms, kernels = set(), set(), set()
    for numbers, found in zip(rng.uniform("dilate/how", 3), dilated, strict=True):
        top, bottom = 9 + int(numbers[0] * 12), 39 + int(numbers[1] * 12)
        shape, size = augment._KERNELS[int(numbers[2] * 9)]
        expected = clip.copy()
        for frame in expected:
            frame[top:bottom] = cv2.dilate(frame[top:bottom], cv2.getStructuringElement(shape, size))
        np.testing.assert_array_equal(found, expected)
        tops, bottoms, kernels = tops | {top}, bottoms | {bottom}, kernels | {(shape, size)}
    for numbers, found in zip(rng.uniform("blur/how", 2), blurred, strict=True):
        top, bottom = 9 + int(numbers[0] * 12), 39 + int(numbers[1] * 12)
        expected = clip.copy()
        for frame in expected:
            frame[top:bottom] = cv2.GaussianBlur(frame[top:bottom].astype(np.float32), (3, 3), 0) > 0.2
        np.testing.assert_array_equal(found, expected)
    assert (tops, bottoms, len(kernels)) == (set(range(9, 21)), set(range(39, 51)), 9)


def test_erasing_empties_sixteen_rows_anywhere_and_only_when_asked_for() -> None:
    seen, found = set(), np.ones((400, 2, 64, 44), np.uint8)
    augment.augment_pixels(found, clips(400, step=1), ClipSettings(dilate=0, blur=0, erase=1))
    for clip in found:
        empty = np.flatnonzero(~clip.any(axis=(0, 2)))
        assert len(empty) == 16 and np.ptp(empty) == 15
        seen.add(int(empty[0]))
    assert seen == set(range(49))
    assert ClipSettings().erase == 0


def test_a_coat_closes_gaps_and_widens_the_body_between_collar_and_hem_alone() -> None:
    legs = np.zeros((3, 64, 44), np.uint8)
    legs[:, :, 14:18] = legs[:, :, 22:26] = 1  # a gap of four pixels
    collars, hems, filled = set(), set(), 0
    coats = np.tile(legs, (500, 1, 1, 1))
    augment.augment_pixels(coats, clips(500, step=1), ClipSettings(dilate=0, blur=0, coat=1))
    for clip in coats:
        changed = np.flatnonzero((clip != legs).any(axis=(0, 2)))
        collars, hems = collars | {int(changed[0])}, hems | {int(changed[-1]) + 1}
        worn = clip[:, changed[0] : changed[-1] + 1]
        assert np.ptp(changed) == len(changed) - 1 and (worn == worn[:1, :1]).all()
        widened = int(14 - worn[0, 0].argmax())
        assert 1 <= widened <= 3 and worn[0, 0, ::-1].argmax() == 44 - 26 - widened
        filled += bool(worn[0, 0, 18:22].all())
    assert (collars, hems) == (set(range(9, 14)), set(range(30, 53)))
    assert 0 < filled < 500
    assert ClipSettings().coat == 0


def test_a_bag_adds_one_ellipse_to_all_frames_alike() -> None:
    sizes, bags = set(), np.zeros((300, 2, 64, 44), np.uint8)
    augment.augment_pixels(bags, clips(300, step=1), ClipSettings(dilate=0, blur=0, bag=1))
    for clip in bags:
        rows, columns = (np.flatnonzero(clip[0].any(axis=axis)) for axis in (1, 0))
        assert (clip[0] == clip[1]).all() and cv2.connectedComponents(clip[0])[0] == 2
        assert rows[0] >= 4 and rows[-1] <= 56 and columns[0] >= 3 and columns[-1] <= 41
        sizes.add((len(columns) // 2, len(rows) // 2))
    assert {wide for wide, _ in sizes} == set(range(2, 7)) and {high for _, high in sizes} == set(range(3, 11))
    whole = np.ones((1, 2, 64, 44), np.uint8)
    augment.augment_pixels(whole, clips(1), ClipSettings(dilate=0, blur=0, bag=1))
    assert whole.all() and ClipSettings().bag == 0


def test_halving_keeps_a_pixel_where_half_of_it_is_body() -> None:
    for factor in (2, 4):
        frames = (np.random.default_rng(0).uniform(size=(3, 64 * factor, 64 * factor)) < 0.5).astype(np.uint8)
        share = frames.reshape(3, 64, factor, 64, factor).mean(axis=(2, 4))
        np.testing.assert_array_equal(to_input(frames), (share >= 0.5)[:, :, 10:54])
