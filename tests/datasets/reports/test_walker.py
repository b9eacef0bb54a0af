"""The strip of a walk: the walk whose legs move, from a frame to the last one before it comes back."""

from pathlib import Path

import cv2
import numpy as np

from datasets.reports.contact_sheet import COLUMNS, TILE
from datasets.reports.walker import _loop, walker
from datasets.store.reader import Store


def test_a_walk_becomes_a_strip_of_transparent_tiles(store: Path) -> None:
    found = walker(Store.open(store).rows(["CASIA-B"], columns=COLUMNS))
    assert found.sequence_id.startswith("CASIA-B/")
    strip = cv2.imdecode(np.frombuffer(found.strip, np.uint8), cv2.IMREAD_UNCHANGED)
    assert strip.shape == (TILE, found.frames * TILE, 4)
    assert 8 <= found.frames <= 18
    shares = [(tile[..., 3] > 0).mean() for tile in np.hsplit(strip, found.frames)]
    assert min(shares) > 0.02
    assert max(shares) < 0.6


def test_a_loop_ends_where_the_walk_comes_back_to_its_beginning() -> None:
    masks = np.zeros((24, 8, 32), np.uint8)
    for frame in range(24):
        masks[frame, :, (3 + 2 * frame) % 20] = 1
    assert _loop(masks) == slice(0, 10)
    assert _loop(masks[:5]) == slice(None)
