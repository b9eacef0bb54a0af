"""Bitmaps and tokens: the stated order of bits, and files that do not fit what they are read for."""

from pathlib import Path

import pytest

from datasets.catalog import official_lists


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(official_lists, "_FOLDER", tmp_path)
    return tmp_path


def test_numbers_are_padded_or_not() -> None:
    assert official_lists.numbered(9, 10, 3) == ["009", "010"]
    assert official_lists.numbered(9, 10, 0) == ["9", "10"]
    assert official_lists.numbered(9, 9, 2, before="D_", after="x") == ["D_09x"]


def test_the_first_subject_is_the_highest_bit(folder: Path) -> None:
    (folder / "map.txt").write_text("8\n5\n0\n")
    assert official_lists.marked("map", official_lists.numbered(0, 9, 0)) == {"0", "5", "7"}


@pytest.mark.parametrize("count", [4, 7, 13])
def test_a_bitmap_of_another_length_is_refused(folder: Path, count: int) -> None:
    (folder / "map.txt").write_text("851")
    with pytest.raises(AssertionError, match="map"):
        official_lists.marked("map", official_lists.numbered(1, count, 0))


def test_bits_after_the_last_subject_are_refused(folder: Path) -> None:
    (folder / "map.txt").write_text("851")
    with pytest.raises(AssertionError, match="marks subjects after the last one"):
        official_lists.marked("map", official_lists.numbered(1, 11, 0))


def test_tokens_go_on_over_line_breaks(folder: Path) -> None:
    (folder / "some.txt").write_text("0102\n03..\n..")
    assert official_lists.tokens("some", 2) == ["01", "02", "03", "..", ".."]
    with pytest.raises(AssertionError, match="does not divide"):
        official_lists.tokens("some", 4)


def test_the_others_are_tested_on() -> None:
    split = official_lists.split(["a", "b", "c"], frozenset("b"))
    assert (split.train, split.test) == ({"b"}, {"a", "c"})
