"""Which axis of an array is time."""

import numpy as np
import pytest

from datasets.preprocessing.axes import with_time_first
from datasets.preprocessing.silhouettes import normalise
from datasets.schema.reading import AXES
from datasets.synthetic.modalities import see
from datasets.synthetic.scenes import casia_b


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    """Sixty-four aligned frames, uint8 [64, 64, 64]: no side tells an axis from another."""
    raw = see(casia_b("001", "nm-01", "090"), "silhouette", num_frames=80, seed=3)
    masks = [mask for mask in (normalise(frame, 64)[0] for frame in raw) if mask is not None]
    return np.stack(masks[:64]) * np.uint8(255)


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 2, 0), (0, 2, 1), (2, 1, 0)])
@pytest.mark.parametrize("inverted", [False, True])
def test_any_order_of_axes_is_found(frames: np.ndarray, order: tuple[int, int, int], inverted: bool) -> None:
    stored = frames.transpose(order)
    found, notes = with_time_first(255 - stored if inverted else stored, upright=True)
    np.testing.assert_array_equal(255 - found if inverted else found, frames)
    names = ", ".join("THW"[axis] for axis in order)
    assert notes == (set() if order == (0, 1, 2) else {(AXES, f"stored as [{names}]")})


def test_short_walks_and_walks_with_empty_frames_stay_as_they_are(frames: np.ndarray) -> None:
    gaps = frames.copy()
    gaps[10:40] = 0
    for walk in (frames[:1], frames[:2], frames[:20], gaps, frames * 0):
        assert with_time_first(walk, upright=True) == (walk, frozenset())


def test_an_array_without_an_axis_of_time_is_refused() -> None:
    noise = np.random.default_rng(0).integers(0, 2, (64, 64, 64), np.uint8)
    with pytest.raises(ValueError, match="64x64x64 of which no axis is clearly time"):
        with_time_first(noise, upright=True)


def test_empty_frames_say_nothing_of_time(frames: np.ndarray) -> None:
    padded = np.pad(frames, ((40, 40), (0, 0), (0, 0)))
    padded[45] = padded.max()
    assert with_time_first(padded, upright=True)[0] is padded
    np.testing.assert_array_equal(with_time_first(padded.transpose(1, 2, 0), upright=True)[0], padded)


@pytest.mark.parametrize("order", [(1, 0, 2), (2, 0, 1)])
def test_time_in_the_middle_is_refused(frames: np.ndarray, order: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="no axis is clearly time"):
        with_time_first(frames.transpose(order), upright=True)
