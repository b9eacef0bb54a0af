"""Which number in a file's name is that of the frame, and which files are copies."""

import pytest

from datasets.ingest.numbering import number_files
from datasets.schema.errors import Unreadable
from datasets.schema.reading import IN_THE_NAMES, ORDER_OF_NAMES

ANY = r"(?P<stem>.*)\.(?:png|jpg)"


def numbers(*names: str, pattern: str = ANY) -> dict[str, int]:
    return {file.name: file.number for file in number_files(names, pattern).files}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["0012.png", "0013.png", "0014.png"], [12, 13, 14]),
        (["w_10.png", "w_9.png", "w_2.png"], [2, 9, 10]),
        (["001-nm-01-090-007.png", "001-nm-01-090-009.png"], [7, 9]),
        (["frame7_mask.png", "frame8_mask.png"], [7, 8]),
        (["frame1_conf0.8213.png", "frame2_conf0.1177.png", "frame3_conf0.9041.png"], [1, 2, 3]),
        (["x12_y40_0007.png", "x3_y41_0008.png", "x30_y44_0009.png"], [7, 8, 9]),
        ([f"{n}_{40 * n}.png" for n in range(1, 6)], [1, 2, 3, 4, 5]),  # the frame, and its time in milliseconds
        ([f"{40 * n}_{n}.png" for n in range(1, 6)], [1, 2, 3, 4, 5]),
        (["-1.png", "-2.png", "0.png", "1.png"], [0, 1, 2, 3]),
        (["mask.png", "other.png"], [0, 1]),
        (["1657069297123456.png", "1657069297163456.png"], [0, 1]),  # times: they do not fit the column
        (["12_mask1.png", "12_mask2.png", "13_mask1.png"], [0, 1, 2]),
    ],
)
def test_the_number_that_counts_up_is_that_of_the_frame(names: list[str], expected: list[int]) -> None:
    assert [file.number for file in number_files(names, ANY).files] == expected


def test_numbers_survive_frames_that_are_missing() -> None:
    kept = [n for n in range(1, 60) if n % 7 not in (2, 3, 4)]
    found = numbers(*(f"{n:04d}_score{(n * 7919) % 9973}.png" for n in kept))
    assert list(found.values()) == kept


def test_what_was_taken_is_said() -> None:
    assert number_files(["1.png", "2.png"], ANY).how == IN_THE_NAMES
    assert number_files(["a.png", "b.png"], ANY).how == ORDER_OF_NAMES
    said = number_files(["1_b7.png", "2_b9.png", "3_b1.png"], ANY).how
    assert said == "number 1 of 2 in the names, which counts up evenly"


def test_a_layout_with_known_names_says_where_the_number_is() -> None:
    pattern = r"seq(?P<frame>\d+)-\d+\.png"
    assert numbers("seq9-1.png", "seq3-2.png", pattern=pattern) == {"seq3-2.png": 3, "seq9-1.png": 9}
    times = number_files(["16570692979.png", "1657069297123.png"], r"\d+\.png")
    assert [(file.name, file.number) for file in times.files] == [("1657069297123.png", 0), ("16570692979.png", 1)]


@pytest.mark.parametrize(
    "copy", ["0007 (1).png", "0007 - Copy.png", "0007 copy.png", "0007_copy2.png", "0007.jpg", "7.png", "._0007.png"]
)
def test_files_that_seem_to_hold_one_frame_are_copies(copy: str) -> None:
    found = number_files(["0006.png", "0007.png", copy, "0008.png"], ANY).files
    assert [file.number for file in found] == [6, 7, 8]
    assert sorted([found[1].name, *found[1].copies]) == sorted(["0007.png", copy])


def test_names_that_count_in_brackets_are_no_copies() -> None:
    found = number_files(["walk (1).png", "walk (2).png", "walk (3).png"], ANY).files
    assert [(file.number, file.copies) for file in found] == [(1, ()), (2, ()), (3, ())]


def test_seconds_with_a_fraction_are_in_order_over_the_full_second() -> None:
    names = [f"{98.9 + 0.04 * n:.2f}.png" for n in range(16)]
    found = number_files(names, ANY)
    assert [file.name for file in found.files] == names and found.how == ORDER_OF_NAMES
    short = [f"{9.8 + 0.04 * n:g}.png" for n in range(16)]  # 9.96.png, 10.png, 10.04.png
    assert [file.name for file in number_files(short, ANY).files] == short
    assert not any(file.copies for file in number_files(["10.04.png", "10.4.png"], ANY).files)


@pytest.mark.parametrize(("one", "other"), [("cam1", "cam2"), ("a", "b"), ("walk 1", "walk 2")])
def test_two_walks_in_one_folder_are_refused(one: str, other: str) -> None:
    names = [f"{which}_{number:04d}.png" for which in (one, other) for number in range(8)]
    with pytest.raises(Unreadable, match=r"several walks: names as .* a folder of its own"):
        number_files(names, ANY)


def test_chunks_and_events_of_one_walk_are_one_walk() -> None:
    chunks = [f"part-{n // 4:05d}_{n % 4:03d}.png" for n in range(16)]
    assert [file.name for file in number_files(chunks, ANY).files] == chunks
    events = [f"{n:04d}_{'stance' if n % 5 else 'swing'}.png" for n in range(16)]
    assert [file.name for file in number_files(events, ANY).files] == events


def test_frames_before_an_event_come_first() -> None:
    found = number_files(["-1.png", "-10.png", "0.png", "3.png"], ANY).files
    assert [(file.name, file.number) for file in found] == [("-10.png", 0), ("-1.png", 9), ("0.png", 10), ("3.png", 13)]
