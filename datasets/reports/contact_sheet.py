"""A contact sheet: some walks of a collection as strips of silhouettes, drawn from the contours in the store.

It shows at a glance what no count shows: bodies upside down, inverted masks, walks that stand still. Frames are drawn
as they are stored, so what looks wrong here is wrong in the store. Walks that were read in an unusual way come first.
"""

import zlib
from collections import Counter
from collections.abc import Sequence
from typing import Any, TypeVar

import cv2
import numpy as np
import pyarrow as pa

from datasets.contours import codec
from datasets.contours.codec import contours_of
from datasets.schema.reading import doubts

File = TypeVar("File")

_PARTS = ["subject", "condition", "view", "modality"]  # the sheet shows as many values of these as it can
_DRAWN = ["frame_numbers", "grid", "contour_counts", "contour_starts", "contour_lengths", "chain_codes"]
COLUMNS = ["sequence_id", *_PARTS, *_DRAWN, "reading"]

FRAMES = 10  # per strip
TILE = 128  # pixels of a frame, whatever the grid: 64 doubles exactly, 128 stays
CAPTION, NUMBERS, GAP = 24, 14, 4  # pixels above and below a frame, and between two
PAPER, GROUND, BODY, INK = 255, 240, 40, 70  # grey values


def some_files(files: Sequence[File], doubtful: Sequence[bool], most: int = 8) -> list[File]:
    """At most `most` files: enough for a sheet of a large collection.

    doubtful: for each file, whether it has walks that were read in an unusual way. Half of the files are such ones, if
    there are as many; all are evenly spaced from the first to the last.
    """
    unusual = spaced([file for file, is_unusual in zip(files, doubtful, strict=True) if is_unusual], most // 2)
    others = [file for file in files if file not in unusual]
    return unusual + spaced(others, most - len(unusual))


def spaced(files: list[File], most: int) -> list[File]:
    """At most `most` of the files, evenly spaced from the first to the last."""
    if len(files) <= most:
        return files
    return [files[index] for index in np.linspace(0, len(files) - 1, most).round().astype(int)]


def contact_sheet(rows: pa.Table, most: int = 8) -> bytes | None:
    """A PNG with one strip for each of at most `most` rows (COLUMNS at least); None without rows.

    A strip has FRAMES frames evenly spaced from the first to the last, or all of a shorter walk, each with its number
    on disk. Walks that were read in an unusual way come first. The choice of rows does not depend on their order.
    """
    if rows.num_rows == 0:
        return None
    chosen = rows.select(COLUMNS).take(spread(rows, most)).to_pylist()
    chosen.sort(key=lambda row: (not doubts_of(row["reading"]), row["sequence_id"]))
    done, encoded = cv2.imencode(".png", np.vstack([_strip(row) for row in chosen]), [cv2.IMWRITE_PNG_COMPRESSION, 9])
    assert done, "OpenCV writes any grey picture as PNG"
    return encoded.tobytes()


def spread(rows: pa.Table, most: int) -> list[int]:
    """Indices of rows: always next the one whose subject, condition, view and modality were chosen least so far.

    Rows that were read in an unusual way come before the others. Ties are broken by a hash of the sequence_id.
    """
    usual = [not doubts_of(reading) for reading in rows["reading"].to_pylist()]
    ids = rows["sequence_id"].to_pylist()
    parts = list(zip(*([(name, value) for value in rows[name].to_pylist()] for name in _PARTS), strict=True))
    left = sorted(range(len(ids)), key=lambda index: (zlib.crc32(ids[index].encode()), ids[index]))
    seen: Counter[tuple[str, str]] = Counter()
    chosen: list[int] = []
    while left and len(chosen) < most:
        chosen.append(min(left, key=lambda index: (usual[index], sum(seen[part] for part in parts[index]))))
        left.remove(chosen[-1])
        seen.update(parts[chosen[-1]])
    return chosen


def doubts_of(reading: Sequence[tuple[str, str]] | None) -> list[str]:
    """What was unusual in a row's `reading`, as Arrow gives it; nothing is known of rows of an earlier version."""
    return doubts(dict(reading or ()))


def _strip(row: dict[str, Any]) -> np.ndarray:
    """One walk: its caption above its frames, grey [height, width], as wide as FRAMES frames."""
    coded = contours_of(row)
    frames = np.unique(np.linspace(0, coded.num_frames - 1, FRAMES).round().astype(int))
    bottom = CAPTION + TILE
    picture = np.full((bottom + NUMBERS + 2 * GAP, FRAMES * (TILE + GAP) + GAP), PAPER, np.uint8)
    for column, (frame, mask) in enumerate(zip(frames, codec.decode(coded, frames), strict=True)):
        left = GAP + column * (TILE + GAP)
        picture[CAPTION:bottom, left : left + TILE] = _tile(mask)
        _write(picture, str(row["frame_numbers"][frame]), (left, bottom + NUMBERS - 2), 0.34)
    name = row["sequence_id"].partition("/")[2]
    walk = name if len(name) <= 100 else f"...{name[-97:]}"
    said = [f"{coded.num_frames} frame{'s' * (coded.num_frames > 1)}", *doubts_of(row["reading"])]
    _write(picture, f"{walk}   {', '.join(said)}", (GAP, CAPTION - 7), 0.5)
    return picture


def _tile(mask: np.ndarray) -> np.ndarray:
    """One frame at the size of the sheet, grey [TILE, TILE]."""
    grey = np.where(mask, np.uint8(BODY), np.uint8(GROUND))
    smaller = len(mask) < TILE
    return cv2.resize(grey, (TILE, TILE), interpolation=cv2.INTER_NEAREST if smaller else cv2.INTER_AREA)


def _write(picture: np.ndarray, text: str, at: tuple[int, int], scale: float) -> None:
    """Draw a line of text; OpenCV's fonts are ASCII, other letters become question marks."""
    plain = text.encode("ascii", "replace").decode()
    cv2.putText(picture, plain, at, cv2.FONT_HERSHEY_SIMPLEX, scale, INK, 1, cv2.LINE_AA)
