"""Listing and reading: both layouts, natural order, and files that nobody should trust."""

import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest

from datasets import catalog, contours, corpus, harmonise, layouts
from datasets.layouts import Unreadable
from datasets.schema import UsageError

CASIA_B = catalog.CASIA_B
RELEASED, OPENGAIT = CASIA_B.layouts


def write_png(path: Path, mask: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), mask)


def write_pickle(root: Path, value: object, protocol: int | None = None) -> layouts.SequenceRef:
    path = root / "001" / "nm-01" / "090" / "090.pkl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(value if isinstance(value, bytes) else pickle.dumps(value, protocol=protocol))
    return next(layouts.list_sequences(root, CASIA_B, OPENGAIT))


def test_both_layouts_are_told_apart(walks: Path, tmp_path: Path) -> None:
    assert layouts.detect(walks / "CASIA-B", CASIA_B) == RELEASED
    write_pickle(tmp_path, np.zeros((2, 64, 64), np.uint8))
    assert layouts.detect(tmp_path, CASIA_B) == OPENGAIT


def test_a_sequence_has_its_parts_and_its_frames_in_order(tmp_path: Path) -> None:
    for number in (10, 9, 2):
        write_png(tmp_path / f"001/nm-01/090/001-nm-01-090-{number}.png", np.full((4, 4), number, np.uint8))
    (tmp_path / "001/nm-01/090/notes.txt").write_text("no frame")
    (ref,) = layouts.list_sequences(tmp_path, CASIA_B, RELEASED)
    assert (ref.sequence_id, ref.subject, ref.condition, ref.view) == ("CASIA-B/001/nm-01/090", "001", "nm-01", "090")
    raw = layouts.read(tmp_path, ref, RELEASED)
    assert raw.numbers == [2, 9, 10]
    assert [frame[0, 0] for frame in raw.frames] == [2, 9, 10]


def test_jpeg_frames_are_read_with_their_grey_edges(tmp_path: Path) -> None:
    mask = np.zeros((240, 320), np.uint8)
    cv2.ellipse(mask, (160, 120), (20, 60), 0, 0, 360, 255, -1)
    for suffix in ("png", "jpg"):
        write_png(tmp_path / suffix / f"001/nm-01/090/001-nm-01-090-001.{suffix}", mask)
    png, jpg = (
        harmonise.harmonise(
            tmp_path / one, next(layouts.list_sequences(tmp_path / one, CASIA_B, RELEASED)), CASIA_B, RELEASED
        )
        for one in ("png", "jpg")
    )
    masks = [contours.decode(corpus.contours_of(one.row)) for one in (png, jpg)]
    assert np.logical_and(*masks).sum() / np.logical_or(*masks).sum() > 0.99


def test_a_folder_that_is_named_otherwise_is_listed_and_refused(tmp_path: Path) -> None:
    write_png(tmp_path / "001/running-01/090/x.png", np.zeros((4, 4), np.uint8))
    (ref,) = layouts.list_sequences(tmp_path, CASIA_B, RELEASED)
    assert ref.sequence_id == "CASIA-B/001/running-01/090"
    with pytest.raises(Unreadable, match="unrecognised folder"):
        layouts.read(tmp_path, ref, RELEASED)


def test_damaged_images_are_named_and_the_others_read(tmp_path: Path) -> None:
    names = [tmp_path / f"001/nm-01/090/001-nm-01-090-{number:03d}.png" for number in (1, 2, 3, 4)]
    for name in names:
        write_png(name, np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8))
    names[1].write_bytes(names[1].read_bytes()[:20])
    names[2].write_bytes(b"")
    raw = layouts.read(tmp_path, next(layouts.list_sequences(tmp_path, CASIA_B, RELEASED)), RELEASED)
    assert raw.numbers == [1, 4]
    assert [(name[-7:], reason) for name, reason, _ in raw.unreadable] == [
        ("002.png", "unreadable image"),
        ("003.png", "unreadable image"),
    ]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_of_every_pickle_protocol_are_read(tmp_path: Path, protocol: int) -> None:
    frames = np.random.default_rng(1).integers(0, 2, (3, 64, 44)).astype(np.uint8) * 255
    raw = layouts.read(tmp_path, write_pickle(tmp_path, frames, protocol), OPENGAIT)
    np.testing.assert_array_equal(np.stack(raw.frames), frames)
    assert raw.numbers == [0, 1, 2]


class Payload:
    """A pickle that would run a command."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple:
        return Path.touch, (self.target,)


def test_a_pickle_that_carries_code_does_not_run_it(tmp_path: Path) -> None:
    ref = write_pickle(tmp_path / "root", Payload(tmp_path / "owned"))
    with pytest.raises(Unreadable, match="unreadable pickle"):
        layouts.read(tmp_path / "root", ref, OPENGAIT)
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "unreadable pickle"),
        (pickle.dumps(np.zeros((2, 64, 64)))[:90], "unreadable pickle"),
        (b"cos\nsystem\n(S'true'\ntR.", "unreadable pickle"),
        (b"cbuiltins\neval\n(S'1'\ntR.", "unreadable pickle"),
        (pickle.dumps({"frames": 3}), "not an array of frames"),
        (pickle.dumps(np.zeros((64, 64), np.uint8)), "not an array of frames"),
        (pickle.dumps(np.array([[["a", None]]], dtype=object)), "not an array of frames"),
    ],
)
def test_other_content_is_a_reason_and_no_crash(tmp_path: Path, content: bytes, reason: str) -> None:
    ref = write_pickle(tmp_path, content)
    with pytest.raises(Unreadable) as caught:
        layouts.read(tmp_path, ref, OPENGAIT)
    assert caught.value.reason == reason


def test_a_root_that_is_missing_or_holds_something_else(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no folder .*nowhere"):
        layouts.detect(tmp_path / "nowhere", CASIA_B)
    with pytest.raises(UsageError, match=r"holds no sequence of CASIA-B: expected files like 001/nm-01"):
        layouts.detect(tmp_path, CASIA_B)
    with pytest.raises(UsageError, match="unknown collection 'CASIA-Z': the known ones are CASIA-B"):
        catalog.find("CASIA-Z")
