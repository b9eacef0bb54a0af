"""Contact sheets: which walks are drawn, and that they are drawn as they are stored."""

from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pytest

from datasets.catalog import registry
from datasets.contours import codec
from datasets.ingest import layouts, sequence_to_row
from datasets.reports import contact_sheet
from datasets.schema.rows import SEQUENCE_SCHEMA
from datasets.storage import open_place


@pytest.fixture(scope="module")
def kept(walks: Path) -> pa.Table:
    """Every third walk of the synthetic CASIA-B, as rows."""
    root = layouts.find_root(open_place(walks / "CASIA-B"), registry.CASIA_B)
    rows = [sequence_to_row.ingest_sequence(root, ref).row for ref in list(layouts.list_sequences(root))[::3]]
    return pa.Table.from_pylist(rows, SEQUENCE_SCHEMA)


def test_a_sheet_has_a_strip_for_each_of_some_walks(kept: pa.Table) -> None:
    png = contact_sheet.contact_sheet(kept, most=3)
    picture = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
    one = cv2.imdecode(np.frombuffer(contact_sheet.contact_sheet(kept, most=1), np.uint8), cv2.IMREAD_UNCHANGED)
    assert picture.shape == (3 * one.shape[0], one.shape[1])
    backwards = kept.take(pa.array(range(kept.num_rows)[::-1]))
    assert contact_sheet.contact_sheet(backwards, most=3) == png
    assert contact_sheet.contact_sheet(kept.slice(0, 0)) is None


def test_chosen_walks_are_spread_over_people_conditions_and_views(kept: pa.Table) -> None:
    chosen = kept.take(contact_sheet.spread(kept, 4))
    assert len(set(chosen["subject"].to_pylist())) == 4
    assert len(set(chosen["condition"].to_pylist())) == 4
    assert sorted(chosen["view"].to_pylist()) == ["036", "036", "090", "090"]


def test_files_are_spaced_evenly_and_half_of_them_hold_doubtful_walks() -> None:
    letters = list("abcdefghij")
    assert contact_sheet.some_files(letters, [False] * 10, 4) == ["a", "d", "g", "j"]
    assert contact_sheet.some_files(letters, [letter in "efg" for letter in letters], 4) == ["e", "g", "a", "j"]
    assert contact_sheet.some_files(["a", "b"], [False, True]) == ["b", "a"]


def test_walks_that_were_read_in_an_unusual_way_come_first(kept: pa.Table) -> None:
    odd = kept.num_rows - 1
    readings = [[("numbers", "order of names" if row == odd else "in the names")] for row in range(kept.num_rows)]
    column = kept.schema.get_field_index("reading")
    marked = kept.set_column(column, "reading", pa.array(readings, kept.schema.field("reading").type))
    assert contact_sheet.spread(marked, 1) == [odd]
    assert contact_sheet.spread(marked, 3)[0] == odd and len(set(contact_sheet.spread(marked, 3))) == 3


@pytest.mark.parametrize("grid", [64, 128])
def test_a_strip_is_drawn_as_stored_and_the_right_way_up(grid: int) -> None:
    mask = np.zeros((1, grid, grid), np.uint8)  # a body with its weight above, and a hole, in one frame
    mask[:, : grid // 2, grid // 4 : -grid // 4] = 1
    mask[:, grid // 8 : grid // 4, grid // 2 : -grid // 3] = 0
    coded = codec.encode(mask)
    row = {"sequence_id": f"X/{'ä' * 200}", "subject": "1", "condition": "c", "view": "v", "frame_numbers": [7]}
    row |= {"grid": grid, "contour_counts": coded.counts, "contour_starts": coded.starts}
    row |= {"contour_lengths": coded.lengths, "chain_codes": coded.chain.tobytes()}
    png = contact_sheet.contact_sheet(pa.Table.from_pylist([row], SEQUENCE_SCHEMA))
    picture = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
    top, left, size = contact_sheet.CAPTION, contact_sheet.GAP, contact_sheet.TILE
    tile = picture[top : top + size, left : left + size]
    expected = np.kron(mask[0], np.ones((size // grid, size // grid)))
    np.testing.assert_array_equal(tile == contact_sheet.BODY, expected == 1)
    np.testing.assert_array_equal(tile == contact_sheet.GROUND, expected == 0)
