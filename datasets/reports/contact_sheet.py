"""A contact sheet: some walks of a collection as strips of silhouettes, drawn from the contours in the store.

So that a person sees at once what no count shows: an arm that is upside down, a mask that is inverted, a walk that
stands still. It draws what is stored, whole frames and nothing added; it knows nothing of files and of pages.
"""

import zlib
from collections import Counter
from collections.abc import Sequence
from typing import TypeVar

import cv2
import numpy as np
import pyarrow as pa

from datasets.contours import codec
from datasets.contours.codec import contours_of

File = TypeVar("File")

_PARTS = ["subject", "condition", "view", "modality"]  # over which the chosen walks are spread
_DRAWN = ["frame_numbers", "grid", "contour_counts", "contour_starts", "contour_lengths", "chain_codes"]
COLUMNS = ["sequence_id", *_PARTS, *_DRAWN]

FRAMES = 10  # of a strip
TILE = 128  # pixels of a frame, whatever the grid: 64 doubles exactly, 128 stays
CAPTION, NUMBERS, GAP = 24, 14, 4  # pixels above and below a frame, and between two
PAPER, GROUND, BODY, INK = 255, 240, 40, 70  # grey values


def some_files(files: Sequence[File], most: int = 8) -> list[File]:
    """At most so many of a collection's files, from the first to the last at equal distances: enough for a sheet."""
    if len(files) <= most:
        return list(files)
    return [files[place] for place in np.linspace(0, len(files) - 1, most).round().astype(int)]


def contact_sheet(rows: pa.Table, most: int = 8) -> bytes | None:
    """A PNG with a strip for at most so many of the rows (COLUMNS at least), or None where there is no row.

    A strip is FRAMES frames at equal distances in time, the first and the last among them, or all where there are
    fewer, each with its number on disk. The choice depends on the rows alone, not on their order.
    """
    if rows.num_rows == 0:
        return None
    chosen = rows.select(COLUMNS).take(spread(rows, most)).sort_by("sequence_id").to_pylist()
    done, encoded = cv2.imencode(".png", np.vstack([_strip(row) for row in chosen]), [cv2.IMWRITE_PNG_COMPRESSION, 9])
    assert done, "OpenCV writes any grey picture as PNG"
    return encoded.tobytes()


def spread(rows: pa.Table, most: int) -> list[int]:
    """Places of rows, each time the one whose subject, condition, view, modality were chosen least; then by a hash."""
    ids = rows["sequence_id"].to_pylist()
    parts = list(zip(*([(name, value) for value in rows[name].to_pylist()] for name in _PARTS), strict=True))
    left = sorted(range(len(ids)), key=lambda place: (zlib.crc32(ids[place].encode()), ids[place]))
    seen: Counter[tuple[str, str]] = Counter()
    chosen: list[int] = []
    while left and len(chosen) < most:
        chosen.append(min(left, key=lambda place: sum(seen[part] for part in parts[place])))
        left.remove(chosen[-1])
        seen.update(parts[chosen[-1]])
    return chosen


def _strip(row: dict[str, object]) -> np.ndarray:
    """One walk: its caption above its frames, grey [height, width], as wide as FRAMES frames."""
    coded = contours_of(row)
    places = np.unique(np.linspace(0, coded.num_frames - 1, FRAMES).round().astype(int))
    bottom = CAPTION + TILE
    picture = np.full((bottom + NUMBERS + 2 * GAP, FRAMES * (TILE + GAP) + GAP), PAPER, np.uint8)
    for column, (place, mask) in enumerate(zip(places, codec.decode(coded, places), strict=True)):
        left = GAP + column * (TILE + GAP)
        picture[CAPTION:bottom, left : left + TILE] = _tile(mask)
        _write(picture, str(row["frame_numbers"][place]), (left, bottom + NUMBERS - 2), 0.34)
    name = row["sequence_id"].partition("/")[2]
    walk = name if len(name) <= 100 else f"...{name[-97:]}"
    _write(picture, f"{walk}   {coded.num_frames} frame{'s' * (coded.num_frames > 1)}", (GAP, CAPTION - 7), 0.5)
    return picture


def _tile(mask: np.ndarray) -> np.ndarray:
    """One frame at the size of the sheet, grey [TILE, TILE]."""
    grey = np.where(mask, np.uint8(BODY), np.uint8(GROUND))
    smaller = len(mask) < TILE
    return cv2.resize(grey, (TILE, TILE), interpolation=cv2.INTER_NEAREST if smaller else cv2.INTER_AREA)


def _write(picture: np.ndarray, text: str, at: tuple[int, int], scale: float) -> None:
    """OpenCV's own letters are ASCII; what others there are become question marks."""
    plain = text.encode("ascii", "replace").decode()
    cv2.putText(picture, plain, at, cv2.FONT_HERSHEY_SIMPLEX, scale, INK, 1, cv2.LINE_AA)
