"""Which pixels of a mask are the body: masks come in many ranges, with labels, alpha channels and lines around them.

A mask has two values: one that most of the border has, the background, and a brighter one, the body. Grey values are
accepted between them where they are edges, as resizing and JPEG make them. Whatever else is found is refused with what
was found, since a guess would be a walk that looks right and is not.
"""

from dataclasses import dataclass
from functools import reduce

import cv2
import numpy as np

from datasets.schema.errors import Unreadable
from datasets.schema.reading import ALPHA, INVERTED, LINES, NOTHING, VALUES, Notes

THRESHOLD = 127  # of the field, for grey values over the whole range (OpenGait's pretreatment.py)
_MOST_OF_BORDER = 0.6  # is background; of a tight crop around a body it is less
MIN_PIXELS = 40  # of a body
EXCHANGED = "body and background seem exchanged"
CONTRADICTION = "alpha contradicts the colours"
_LABELS = 64  # values at most that may be labels; a JPEG or an enlarged mask has more
_AREA = 0.001  # of all pixels at least have a value that fills an area
_FILLED = 0.15  # of the pixels of an area have neighbours of the same value alone
_NOISE, _OVERSHOOT = 8, 0.25  # levels, and share of the contrast, by which JPEG exceeds body and background
_NAMED = 6  # values in a message
_LINE = 32  # lines around a picture are at most this fraction of its side wide
# Masks that were enlarged fourfold or halved have a separation of 0.88 at least, 0.25 of middle grey and 0.013 of it
# away from edges at most; most frames of KTH's videos in grey have 0.7, 0.3 and 0.03.
_LEAST_SEPARATION = 0.75  # variance between body and background over all variance (Otsu, 1979)
_MOST_GREY = 0.26  # pixels of middle grey over those of the body
_MOST_PLAIN = 0.02  # of these, pixels with no edge near them
_OUTSIDE = 0.05  # share of the body that may lie where the alpha channel is transparent


@dataclass(frozen=True, eq=False)
class Binary:
    """The body, uint8 0/255 of the shape of the values, and what is worth saying about how it was found."""

    mask: np.ndarray
    notes: Notes = NOTHING


def from_image(image: np.ndarray, inverted: bool = False) -> Binary:
    """The body in an image [H, W] or [H, W, C], of any mask type; the last of 2 or 4 channels is alpha.

    Colours count before alpha, which counts where they show no body. Raises ValueError for what is not a mask, and
    Unreadable where body and background seem exchanged, or where alpha contradicts the colours.
    """
    if image.ndim == 2:
        return from_values(image, inverted)
    if image.ndim != 3 or not 1 <= image.shape[2] <= 4:
        raise ValueError(f"an image of shape {image.shape}")
    if image.shape[2] in (1, 3):
        return from_values(_one_plane(image), inverted)
    return _with_alpha(image[..., :-1], image[..., -1], inverted)


def from_values(values: np.ndarray, inverted: bool = False) -> Binary:
    """The body in values [..., H, W] of one mask, or of all masks of a sequence. Raises as `from_image` does.

    inverted: the body is darker than the background.
    """
    if not values.size:
        return Binary(np.zeros(values.shape, np.uint8))
    levels, notes = _without_lines(_to_levels(values))
    if _is_black_and_white(levels):
        mask = levels
    else:
        mask, said = _in_two(levels)
        notes |= said
    if inverted:
        mask, notes = 255 - mask, notes | {(INVERTED, "yes")}
    _check_border(mask, inverted)
    return Binary(mask, notes)


def _is_black_and_white(levels: np.ndarray) -> bool:
    """Whether all levels are 0 or 255: most masks are, and this is ten times as fast as a histogram."""
    if levels.dtype != np.uint8:
        return False
    flat = levels.reshape(-1, levels.shape[-1])
    return cv2.countNonZero(cv2.inRange(flat, 1, 254)) == 0


def _in_two(levels: np.ndarray) -> tuple[np.ndarray, Notes]:
    """Levels of any range as 0 and 255; where all are the same, there is no body."""
    counts = _histogram(levels)
    present = np.flatnonzero(counts)
    if len(present) < 2:
        return np.zeros(levels.shape, np.uint8), NOTHING
    mask = np.where(levels > _threshold(levels, counts, present), np.uint8(255), np.uint8(0))
    is_usual = len(present) > 2 or tuple(present) in ((0, 1), (0, 65535))
    return mask, NOTHING if is_usual else frozenset({(VALUES, f"{present[0]} and {present[1]}")})


def _one_plane(colours: np.ndarray) -> np.ndarray:
    """The maximum of the channels: most releases repeat the mask in each, and a palette's dark red has no blue.

    Where the maximum is the same everywhere and the colours are not, they are numbered in order of brightness.
    """
    channels = [colours[..., channel] for channel in range(colours.shape[2])]
    plane = reduce(np.maximum, channels)
    if len(channels) == 1 or (plane != plane[:1, :1]).any():
        return plane
    if all((channel == channel[:1, :1]).all() for channel in channels):
        return plane
    kinds, which = np.unique(colours.reshape(-1, colours.shape[2]), axis=0, return_inverse=True)
    rank = np.argsort(np.argsort(kinds.sum(axis=1), kind="stable"), kind="stable")
    return rank[which].reshape(plane.shape).astype(np.uint16)


def _with_alpha(colours: np.ndarray, alpha: np.ndarray, inverted: bool) -> Binary:
    half = np.iinfo(alpha.dtype).max / 2 if alpha.dtype.kind in "ui" else 0.5
    opaque = alpha > half
    is_cut = min(opaque.sum(), (~opaque).sum()) >= MIN_PIXELS
    try:
        found = from_values(_one_plane(colours), inverted)
    except (ValueError, Unreadable):
        if not is_cut:
            raise
        found = Binary(np.zeros(alpha.shape, np.uint8))
    body = found.mask > 0
    if is_cut and body.sum() < MIN_PIXELS:
        cut = from_values(opaque)
        return Binary(cut.mask, cut.notes | {(ALPHA, "shows the body")})
    outside = (body & ~opaque).sum() / max(body.sum(), 1)
    if is_cut and outside > _OUTSIDE:
        raise Unreadable(CONTRADICTION, f"{outside:.0%} of the body in the colours is transparent")
    varies = (alpha != alpha[:1, :1]).any()
    return Binary(found.mask, found.notes | ({(ALPHA, "ignored: the colours show the body")} if varies else NOTHING))


def _to_levels(values: np.ndarray) -> np.ndarray:
    """Values as uint8 or uint16 in the same order; fractions from 0 to 1 are spread over 0 to 255. ValueError for
    values that are no mask: NaN, infinite, negative, above 65535."""
    if values.dtype == np.bool_:
        return values.view(np.uint8)
    if values.dtype.kind not in "uif":
        raise ValueError(f"values of type {values.dtype}")
    if values.dtype == np.uint8:
        return values
    top, low = values.max(initial=0), values.min(initial=0)
    if not np.isfinite(top) or low < 0 or (values.dtype.kind == "f" and np.isnan(values).any()):
        raise ValueError("values that are NaN, infinite or negative")
    if top > 65535:
        raise ValueError(f"values up to {top}")
    if values.dtype.kind == "f":
        values = np.rint(values.astype(np.float32) * (255 if top <= 1 else 1))
        top = values.max(initial=0)
    return values.astype(np.uint8 if top <= 255 else np.uint16)


def _histogram(levels: np.ndarray) -> np.ndarray:
    """How often each level occurs, int64 [256 or 65536]."""
    if levels.dtype == np.uint8:
        flat = np.ascontiguousarray(levels).reshape(1, -1)
        return cv2.calcHist([flat], [0], None, [256], [0, 256]).ravel().astype(np.int64)
    return np.bincount(levels.ravel(), minlength=65536)


def _border(mask: np.ndarray) -> np.ndarray:
    """The outermost pixels of masks [..., H, W], in one row."""
    sides = (mask[..., 0, :], mask[..., -1, :], mask[..., 1:-1, 0], mask[..., 1:-1, -1])
    return np.concatenate([side.ravel() for side in sides])


def _without_lines(levels: np.ndarray) -> tuple[np.ndarray, Notes]:
    """Levels without a frame around them: lines of one value along a side, with the background behind them."""
    height, width = levels.shape[-2:]
    widest = max(1, min(height, width) // _LINE)
    if min(height, width) < 4 * widest:
        return levels, NOTHING
    inner = levels[..., widest:-widest, widest:-widest]
    corners = _corners(levels)
    if (corners == corners[0]).all() and (_corners(inner) == corners[0]).all():
        return levels, NOTHING  # most masks: a line would reach a corner
    background = _most_frequent(_border(inner))
    depths = [_depth_of_line(np.rot90(levels, side, axes=(-2, -1)), widest, background) for side in range(4)]
    if not any(depths):
        return levels, NOTHING
    cleaned = levels.copy()
    for side, depth in enumerate(depths):
        np.rot90(cleaned, side, axes=(-2, -1))[..., :depth, :] = background  # a view, whose first row is the side
    return cleaned, frozenset({(LINES, "removed from the border")})


def _corners(levels: np.ndarray) -> np.ndarray:
    """The four corners of each picture, in one row."""
    return levels[..., :: levels.shape[-2] - 1, :: levels.shape[-1] - 1].ravel()


def _depth_of_line(lines: np.ndarray, widest: int, background: int) -> int:
    """How many of the first rows have one value that is not the background's; 0 where the rows behind have it too."""
    value = lines[..., 0, :].flat[0]
    if value == background:
        return 0
    for depth in range(widest + 1):
        row = lines[..., depth, depth : lines.shape[-1] - depth or None]
        if not (row == value).all():
            return depth if (row == background).mean() > 0.5 else 0
    return 0


def _most_frequent(levels: np.ndarray) -> int:
    return int(np.bincount(levels.ravel()).argmax())


def _threshold(levels: np.ndarray, counts: np.ndarray, present: np.ndarray) -> float:
    """The level above which pixels are body. ValueError where there is none that parts the picture in two."""
    low, high = int(present[0]), int(present[-1])
    if len(present) == 2:
        return low
    if len(present) <= _LABELS:
        _check_labels(levels, counts, present)
    cut, darker, brighter, separation = _otsu(counts)
    if separation < _LEAST_SEPARATION or not _are_edges(levels, darker, brighter):
        raise ValueError(f"{len(present)} grey values, a photograph?")
    full = 255 if high <= 255 else 65535
    if darker < 0.25 * full and brighter > 0.75 * full:
        return THRESHOLD if full == 255 else THRESHOLD * 257
    return max(cut, (darker + brighter) / 2)


def _check_labels(levels: np.ndarray, counts: np.ndarray, present: np.ndarray) -> None:
    """ValueError where more than two levels fill an area, or one that fills none does not lie between the two.

    Edges and the noise of a JPEG are lines and specks, whose values lie between those of body and background.
    """
    flat = np.ascontiguousarray(levels.reshape(-1, levels.shape[-1]))
    areas = []
    for level in present[counts[present] >= max(MIN_PIXELS, _AREA * counts.sum())]:
        inside = cv2.erode((flat == level).astype(np.uint8), np.ones((3, 3), np.uint8))
        if cv2.countNonZero(inside) > _FILLED * counts[level]:
            areas.append(int(level))
    low, high = (areas[0], areas[-1]) if len(areas) > 1 else (int(present[0]), int(present[-1]))
    beyond = max(_NOISE, _OVERSHOOT * (high - low))
    if len(areas) <= 2 and present[0] >= low - beyond and present[-1] <= high + beyond:
        return
    named = present if len(present) <= _NAMED else np.array(areas)[:_NAMED]
    shares = ", ".join(f"{level} ({counts[level] / counts.sum():.1%})" for level in named)
    raise ValueError(f"{len(present)} values, not body and background alone: {shares}")


def _otsu(counts: np.ndarray) -> tuple[float, float, float, float]:
    """The threshold of Otsu (1979), the means below and above it, and the share of the variance between the two."""
    levels = np.arange(len(counts), dtype=np.float64)
    total, mass = counts.sum(), float((levels * counts).sum())
    below, mass_below = counts.cumsum()[:-1], (levels * counts).cumsum()[:-1]
    above = total - below
    with np.errstate(divide="ignore", invalid="ignore"):
        dark, bright = mass_below / below, (mass - mass_below) / above
        between = np.nan_to_num(below * above * (bright - dark) ** 2)
    cut = int(between.argmax())
    variance = float((counts * (levels - mass / total) ** 2).sum()) * total
    return cut, float(dark[cut]), float(bright[cut]), float(between[cut]) / max(variance, 1e-12)


def _are_edges(levels: np.ndarray, dark: float, bright: float) -> bool:
    """Whether middle grey, between the two means, is as rare and as close to body and background as edges are."""
    span = bright - dark
    flat = np.ascontiguousarray(levels.reshape(-1, levels.shape[-1]))
    background, body = flat <= dark + span / 3, flat >= dark + span * 2 / 3
    count = max(int(np.count_nonzero(body)), 1)
    middle = (flat > dark + 0.4 * span) & (flat < dark + 0.6 * span)
    if np.count_nonzero(middle) > _MOST_GREY * (count + np.count_nonzero(middle)):
        return False
    near = np.ones((5, 5), np.uint8)
    edge = (cv2.dilate(background.view(np.uint8), near) > 0) & (cv2.dilate(body.view(np.uint8), near) > 0)
    return bool(np.count_nonzero(~background & ~body & ~edge) <= _MOST_PLAIN * count)


def _check_border(mask: np.ndarray, inverted: bool) -> None:
    """Unreadable where most of the border would be body."""
    share = float((_border(mask) > 0).mean())
    if share > _MOST_OF_BORDER:
        fix = "leave out --invert" if inverted else 'give --invert, or "inverted": true in a spec file'
        raise Unreadable(EXCHANGED, f"{share:.0%} of the border and {(mask > 0).mean():.0%} of all is body: {fix}")
