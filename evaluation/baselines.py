"""Baselines: embeddings computed from silhouettes without training, in the shape [C, P] of a learned embedding."""

import numpy as np
from numpy.typing import NDArray

# Range of the cadence in steps a frame: 1.25 to 3.1 steps a second at 25 frames a second. Hardly anybody walks outside
# it, and in a wider range short walks have peaks of noise.
STEPS_A_FRAME = (0.05, 0.125)
_SPECTRUM = 2048  # length to which a walk is padded before its Fourier transform: a resolution of 0.0005 per frame
_LEGS = 5 / 8  # of the height, from above: the strips below this are legs


def gei(masks: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Gait energy image as an embedding of one part: the mean silhouette (Han and Bhanu, TPAMI 2006).

    All frames have the same weight; whole gait cycles are not searched for, so a walk of a few steps is slightly biased
    to its first and last poses.

    Args:
        masks: [T, H, W] of 0 and 1, aligned silhouettes of one sequence.

    Returns:
        float32 [H * W, 1] in 0..1, row by row.

    Raises:
        ValueError: another shape, no frames, or values other than 0 and 1.
    """
    return _mean_silhouette(masks).reshape(-1, 1)


def gei_strips(masks: NDArray[np.uint8], parts: int = 16) -> NDArray[np.float32]:
    """Gait energy image cut into horizontal strips of equal height, each a part of the embedding.

    With the distance averaged over parts, every strip has the same weight, as the strips of horizontal pyramid pooling
    have (Fu et al., AAAI 2019); in the whole image the legs outweigh the head.

    Args:
        masks: [T, H, W] of 0 and 1, aligned silhouettes of one sequence.
        parts: number of strips; divides H.

    Returns:
        float32 [H / parts * W, parts] in 0..1; part 0 is the top strip.

    Raises:
        ValueError: as `gei`, or H is not a multiple of `parts`.
    """
    image = _mean_silhouette(masks)
    _rows_of_strips(len(image), parts)
    return np.ascontiguousarray(image.reshape(parts, -1).T)


def statistics(masks: NDArray[np.uint8], parts: int = 16) -> NDArray[np.float32]:
    """Hand-made statistics: width and position of each horizontal strip over time, and cadence.

    Features of gait recognition before deep learning: moments of body regions with their mean, deviation and amplitude
    at the frequency of walking (Lee and Grimson, FG 2002), and cadence (BenAbdelkader et al., ICPR 2002). Lengths are
    in heights of the picture, which an aligned body fills: a width is its ratio to the body's height. Cadence is in
    steps a frame. All channels differ by about 0.01 between people, and are compared without scaling; nothing is
    learned.

    Channels of each strip: mean and deviation of its width; mean and deviation of its centre, from the middle column to
    the right; amplitude of the width at the frequency of steps and of the centre at that of strides (two steps); and
    that of steps, the same in all strips. They do not depend on the first pose of a walk; they do depend on its
    direction and on the order of its frames. The width of a strip is its mean number of pixels in a row, without holes;
    a frame in which it is empty has width 0, and its centre is replaced by the mean.

    Args:
        masks: [T, H, W] of 0 and 1, aligned silhouettes of one sequence.
        parts: number of strips; divides H.

    Returns:
        float32 [7, parts]; part 0 is the top strip. Walks too short for a cadence (7 frames) get the middle of its
        range.

    Raises:
        ValueError: as `gei_strips`.
    """
    widths, centres = _strips_over_time(masks, parts)
    steps = _steps_a_frame(widths, centres)
    channels = [
        *(widths.mean(axis=0), widths.std(axis=0), centres.mean(axis=0), centres.std(axis=0)),
        *(_amplitude(widths, steps), _amplitude(centres, steps / 2), np.full(parts, steps)),
    ]
    return np.stack(channels).astype(np.float32)


def _strips_over_time(masks: NDArray[np.uint8], parts: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Widths and centres [T, parts] in heights of the picture."""
    _check(masks)
    frames, height, width = masks.shape
    rows = _rows_of_strips(height, parts)
    columns = masks.reshape(frames, parts, rows, width).sum(axis=2, dtype=np.float64)
    pixels, x = columns.sum(axis=2), np.arange(width) - (width - 1) / 2
    filled = pixels > 0
    centres = np.divide(columns @ x, pixels, out=np.zeros_like(pixels), where=filled)
    mean = centres.sum(axis=0) / np.maximum(filled.sum(axis=0), 1)
    return pixels / rows / height, np.where(filled, centres, mean) / height


def _steps_a_frame(widths: NDArray[np.float64], centres: NDArray[np.float64]) -> float:
    """Cadence: the frequency at which the legs, [T, parts], open and close; they sway at half of it."""
    frames, parts = widths.shape
    slowest, fastest = STEPS_A_FRAME
    if frames * fastest < 1:
        return (slowest + fastest) / 2
    legs = slice(int(parts * _LEGS), None)
    length = max(_SPECTRUM, 2 * frames)
    power = [np.abs(np.fft.rfft(_swing(one[:, legs]), length, axis=0)) ** 2 for one in (widths, centres)]
    strides = np.arange(int(np.ceil(length * slowest / 2)), int(length * fastest / 2) + 1)
    both = power[0][2 * strides].sum(axis=1) + power[1][strides].sum(axis=1)
    return float(2 * strides[both.argmax()] / length)


def _amplitude(series: NDArray[np.float64], frequency: float) -> NDArray[np.float64]:
    """Amplitude [parts] of each of the series [T, parts] at a frequency in cycles a frame."""
    turning = np.exp(-2j * np.pi * frequency * np.arange(len(series)))
    return 2 * np.abs(turning @ _swing(series)) / _window(len(series)).sum()


def _swing(series: NDArray[np.float64]) -> NDArray[np.float64]:
    """Series [T, parts] without mean and linear trend, times Hann's window: the periodic part."""
    time = np.arange(len(series)) - (len(series) - 1) / 2
    level = series - series.mean(axis=0)
    level -= np.outer(time, time @ level / max(time @ time, 1.0))
    return _window(len(series))[:, None] * level


def _window(frames: int) -> NDArray[np.float64]:
    """Hann's window [T] without its two zeros."""
    return np.hanning(frames + 2)[1:-1]


def _rows_of_strips(height: int, parts: int) -> int:
    if parts < 1 or height % parts:
        raise ValueError(f"cannot cut {height} rows into {parts} strips of equal height")
    return height // parts


def _mean_silhouette(masks: NDArray[np.uint8]) -> NDArray[np.float32]:
    """[T, H, W] -> float32 [H, W]."""
    _check(masks)
    return masks.mean(axis=0, dtype=np.float32)


def _check(masks: NDArray[np.uint8]) -> None:
    if masks.ndim != 3 or 0 in masks.shape:
        raise ValueError(f"expected masks [T, H, W] with at least one frame, got {masks.shape}")
    if masks.max() > 1:
        raise ValueError(f"expected masks of 0 and 1, got values up to {masks.max()}")
