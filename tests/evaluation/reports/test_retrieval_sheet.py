"""Retrieval sheets: each silhouette where it belongs, green around the right ones, red around the wrong ones."""

from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from matplotlib.figure import Figure

from evaluation.reports import retrieval_sheet as sheet
from evaluation.reports.retrieval_sheet import Group, retrieval_sheet
from evaluation.retrieval.nearest import RankedGallery
from evaluation.retrieval.sequences import Sequences

SEQUENCES = Sequences.of(
    np.zeros((4, 1, 1)),
    ["one", "one", "two", "$x$"],
    ["nm-01", "nm-02", "cl-01", "a" * 60],
    ["000", "090", "090", "18"],
)


def masks_of(number: int) -> np.ndarray:
    """Ten frames; a block in the row of pixels 10 times the number, in the column of the frame."""
    masks = np.zeros((10, 64, 44), dtype=np.uint8)
    for frame in range(10):
        masks[frame, 10 * number : 10 * number + 8, 4 * frame : 4 * frame + 4] = 1
    return masks


def ranked(probe: int, gallery: list[int], right: list[bool], first: int) -> RankedGallery:
    distances = np.linspace(0.5, 1.234, len(gallery)).astype(np.float32)
    return RankedGallery(
        probe=probe, gallery=np.array(gallery), distances=distances, right=np.array(right), first_right=first
    )


ROWS = [ranked(0, [1, 2, 3], [True, False, False], 1), ranked(2, [3, 0], [False, False], 17)]


@pytest.fixture
def drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[np.ndarray, list[str]]:
    """The pixels of a sheet, and its texts in the order in which they are written."""
    figures, save = [], Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda figure, path: (figures.append(figure), save(figure, path)))
    groups = [Group(heading="Right: 60%", rows=ROWS[:1]), Group(heading="Wrong: 40%", rows=ROWS[1:])]
    retrieval_sheet("Park", groups, SEQUENCES, masks_of, tmp_path / "sheet.png")
    image = matplotlib.image.imread(tmp_path / "sheet.png")[:, :, :3]
    return (255 * image).round().astype(int), [text.get_text() for text in figures[0].axes[0].texts]


def corner(row: int, column: int) -> tuple[int, int]:
    """Where the frame around a walk begins: column 0 is the probe. Headings: both groups have one row."""
    top = sheet.TITLE + (row + 1) * sheet.HEADING + row * (128 + 2 * sheet.BORDER + sheet.CAPTION)
    first = sheet.PROBE_FRAMES * 88 + 2 * sheet.BORDER + 2 * sheet.GAP
    step = sheet.GALLERY_FRAMES * 88 + 2 * sheet.BORDER + sheet.GAP
    return top, sheet.MARGIN + (first + (column - 1) * step if column else 0)


def test_frames_are_green_where_right_and_red_where_wrong(drawn: tuple[np.ndarray, list[str]]) -> None:
    picture, _ = drawn
    expected = [[sheet.PROBE, sheet.RIGHT, sheet.WRONG, sheet.WRONG], [sheet.PROBE, sheet.WRONG, sheet.WRONG]]
    for row, colours in enumerate(expected):
        for column, colour in enumerate(colours):
            top, left = corner(row, column)
            across = (sheet.GALLERY_FRAMES if column else sheet.PROBE_FRAMES) * 88 + sheet.BORDER
            for y, x in ((2, 2), (2, across + 2), (128 + sheet.BORDER + 2, 2), (60, 2), (60, across + 2)):
                np.testing.assert_array_equal(picture[top + y, left + x], colour)
    top, left = corner(1, 3)  # the second probe has two in its list
    assert (picture[top : top + 128, left : left + 180] == sheet.PAPER).all()


def test_silhouettes_are_those_of_the_walks_in_the_order_of_time(drawn: tuple[np.ndarray, list[str]]) -> None:
    picture, _ = drawn
    for row, column, number in ((0, 0, 0), (0, 1, 1), (0, 3, 3), (1, 0, 2), (1, 2, 0)):
        top, left = (one + sheet.BORDER for one in corner(row, column))
        # the middles of six stretches of ten frames, or of two
        for tile, frame in enumerate((2, 7) if column else (0, 2, 4, 5, 7, 9)):
            seen = picture[top : top + 128, left + 88 * tile : left + 88 * (tile + 1), 0]
            expected = np.where(np.kron(masks_of(number)[frame], np.ones((2, 2))), sheet.BODY, sheet.GROUND)
            np.testing.assert_array_equal(seen, expected)


def test_captions_name_walks_and_the_rank_of_the_first_match(drawn: tuple[np.ndarray, list[str]]) -> None:
    _, texts = drawn
    title, right, *first, wrong, probe, second, third = texts
    assert (title, right, wrong) == ("Park", "Right: 60%", "Wrong: 40%")
    assert first[0] == "probe one\nnm-01  000\nfirst match: rank 1"
    assert first[1:3] == ["✓ 1: one\nnm-02  090\ndistance 0.5", "✗ 2: two\ncl-01  090\ndistance 0.867"]
    mark, walk, distance = first[3].split("\n")
    assert (mark, distance) == ("✗ 3: $x$", "distance 1.23")
    assert len(walk) < 25 and walk.startswith("aaa") and walk.endswith("a  18") and "…" in walk
    assert probe.endswith("first match: rank 17, not shown")
    assert (second.split("\n")[0], third.split("\n")[0]) == ("✗ 1: $x$", "✗ 2: one")


def test_a_short_walk_shows_what_it_has(tmp_path: Path) -> None:
    rows = [Group(heading="one", rows=[ranked(0, [1], [True], 1)]), Group(heading="none", rows=[])]
    retrieval_sheet("Park", rows, SEQUENCES, lambda number: masks_of(number)[:2], tmp_path / "sheet.png")
    picture = (255 * matplotlib.image.imread(tmp_path / "sheet.png")[:, :, :3]).round().astype(int)
    top, left = (one + sheet.BORDER for one in corner(0, 0))
    inside = picture[top : top + 128, left : left + 6 * 88]
    assert set(np.unique(inside[:, : 2 * 88])) == {sheet.BODY, sheet.GROUND}
    assert set(np.unique(inside[:, 2 * 88 :])) == {sheet.PAPER}


def test_refuses_what_it_cannot_draw(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no probes"):
        retrieval_sheet("Park", [Group(heading="none", rows=[])], SEQUENCES, masks_of, tmp_path / "sheet.png")
    sizes, rows = {0: 64, 1: 32}, [Group(heading="one", rows=[ranked(0, [1], [True], 1)])]
    with pytest.raises(ValueError, match="64 x 44 pixels like the first ones"):
        retrieval_sheet("Park", rows, SEQUENCES, lambda n: masks_of(n)[:, : sizes[n]], tmp_path / "sheet.png")
