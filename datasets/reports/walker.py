"""A walk as an animation: a strip of silhouettes that a style sheet moves past a window, one after the other."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import pyarrow as pa

from datasets.contours import codec
from datasets.contours.codec import contours_of
from datasets.reports.contact_sheet import BODY, COLUMNS, TILE

_SHORTEST = 8  # frames of a loop
_UPRIGHT = 1.5  # height over width of a body that is seen from the side
_CANDIDATES = 16  # walks that are compared


@dataclass(frozen=True, kw_only=True)
class Walker:
    """One walk. strip: a PNG of `frames` square tiles beside each other, the body dark, the ground transparent."""

    sequence_id: str
    strip: bytes
    frames: int


def walker(rows: pa.Table) -> Walker:
    """Of at least one row (contact_sheet.COLUMNS), the walk whose legs move most, cut to end as it began."""
    some = rows.select(COLUMNS).take(np.linspace(0, rows.num_rows - 1, min(_CANDIDATES, rows.num_rows)).astype(int))
    films = [(row["sequence_id"], codec.decode(contours_of(row))) for row in some.to_pylist()]
    name, masks = max(films, key=lambda film: _stride(film[1]))
    masks = masks[_loop(masks)]
    done, encoded = cv2.imencode(".png", np.hstack([_tile(mask) for mask in masks]), [cv2.IMWRITE_PNG_COMPRESSION, 9])
    assert done, "OpenCV writes any picture as PNG"
    return Walker(sequence_id=name, strip=encoded.tobytes(), frames=len(masks))


def _stride(masks: np.ndarray) -> float:
    """How much the width of the lower third changes in time, in columns; 0 for who is seen from above."""
    tall, wide = (masks.any(axis=axis).sum(axis=1).mean() for axis in (2, 1))
    lower = masks[:, -(masks.shape[1] // 3) :].any(axis=1)
    return float(lower.sum(axis=1).std()) if tall > _UPRIGHT * wide else 0.0


def _loop(masks: np.ndarray) -> slice:
    """The frames of a walk of which the last one leads to the first; all of a short walk."""
    pairs = ((start, stop) for start in range(len(masks)) for stop in range(start + _SHORTEST, len(masks)))
    ends = [(start, stop) for start, stop in pairs if masks[stop].any()]
    if not ends:
        return slice(None)
    jumps: Sequence[int] = [int((masks[start] != masks[stop]).sum()) for start, stop in ends]
    start, stop = ends[int(np.argmin(jumps))]
    return slice(start, stop)


def _tile(mask: np.ndarray) -> np.ndarray:
    """One frame, BGRA [TILE, TILE, 4]."""
    alpha = cv2.resize(mask.astype(np.uint8) * np.uint8(255), (TILE, TILE), interpolation=cv2.INTER_AREA)
    return np.dstack([np.full((*alpha.shape, 3), BODY, np.uint8), alpha])
