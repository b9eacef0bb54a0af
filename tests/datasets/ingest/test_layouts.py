"""Listing and reading: both layouts, natural order, and untrusted files."""

import os
import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest

from datasets.catalog import registry
from datasets.contours import codec
from datasets.contours.codec import contours_of
from datasets.ingest import layouts, read_frames, sequence_to_row
from datasets.ingest.layouts import Root
from datasets.schema.collection import CollectionSpec, Layout
from datasets.schema.errors import Unreadable, UsageError
from datasets.storage import open_place

CASIA_B = registry.CASIA_B
RELEASED, OPENGAIT = CASIA_B.layouts


def root_of(folder: Path, spec: CollectionSpec = CASIA_B, layout: Layout = RELEASED, numbered: int = 0) -> Root:
    return Root(spec, open_place(folder), layout, numbered)


def write_png(path: Path, mask: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), mask)


def write_pickle(root: Path, value: object, protocol: int | None = None) -> layouts.SequenceRef:
    path = root / "001" / "nm-01" / "090" / "090.pkl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(value if isinstance(value, bytes) else pickle.dumps(value, protocol=protocol))
    return next(layouts.list_sequences(root_of(root, layout=OPENGAIT)))


def test_both_layouts_are_told_apart(walks: Path, tmp_path: Path) -> None:
    assert layouts.find_root(open_place(walks / "CASIA-B"), CASIA_B).layout == RELEASED
    write_pickle(tmp_path, np.zeros((2, 64, 64), np.uint8))
    assert layouts.find_root(open_place(tmp_path), CASIA_B).layout == OPENGAIT


def test_a_sequence_has_its_parts_and_its_frames_in_order(tmp_path: Path) -> None:
    for number in (10, 9, 2):
        write_png(tmp_path / f"001/nm-01/090/001-nm-01-090-{number}.png", np.full((4, 4), number, np.uint8))
    (tmp_path / "001/nm-01/090/notes.txt").write_text("no frame")
    (ref,) = layouts.list_sequences(root_of(tmp_path))
    assert (ref.sequence_id, ref.subject, ref.condition, ref.view) == ("CASIA-B/001/nm-01/090", "001", "nm-01", "090")
    raw = read_frames.read(root_of(tmp_path), ref, np.asarray)
    assert raw.numbers == [2, 9, 10]
    assert [frame[0, 0] for frame in raw.frames] == [2, 9, 10]


def test_jpeg_frames_are_read_with_their_grey_edges(tmp_path: Path) -> None:
    mask = np.zeros((240, 320), np.uint8)
    cv2.ellipse(mask, (160, 120), (20, 60), 0, 0, 360, 255, -1)
    for suffix in ("png", "jpg"):
        write_png(tmp_path / suffix / f"001/nm-01/090/001-nm-01-090-001.{suffix}", mask)
    png, jpg = (
        sequence_to_row.ingest_sequence(root_of(tmp_path / one), next(layouts.list_sequences(root_of(tmp_path / one))))
        for one in ("png", "jpg")
    )
    masks = [codec.decode(contours_of(one.row)) for one in (png, jpg)]
    assert np.logical_and(*masks).sum() / np.logical_or(*masks).sum() > 0.99


def test_a_folder_that_is_named_otherwise_is_listed_and_refused(tmp_path: Path) -> None:
    write_png(tmp_path / "001/running-01/090/x.png", np.zeros((4, 4), np.uint8))
    (ref,) = layouts.list_sequences(root_of(tmp_path))
    assert ref.sequence_id == "CASIA-B/001/running-01/090"
    with pytest.raises(Unreadable, match="unrecognised folder"):
        read_frames.read(root_of(tmp_path), ref, np.asarray)


def test_damaged_images_are_named_and_the_others_read(tmp_path: Path) -> None:
    names = [tmp_path / f"001/nm-01/090/001-nm-01-090-{number:03d}.png" for number in (1, 2, 3, 4)]
    for name in names:
        write_png(name, np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8))
    names[1].write_bytes(names[1].read_bytes()[:20])
    names[2].write_bytes(b"")
    raw = read_frames.read(root_of(tmp_path), next(layouts.list_sequences(root_of(tmp_path))), np.asarray)
    assert raw.numbers == [1, 4]
    assert [(name[-7:], reason) for name, reason, _ in raw.dropped] == [
        ("002.png", "damaged image"),
        ("003.png", "empty file"),
    ]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_of_every_pickle_protocol_are_read(tmp_path: Path, protocol: int) -> None:
    frames = np.random.default_rng(1).integers(0, 2, (3, 64, 44)).astype(np.uint8) * 255
    raw = read_frames.read(root_of(tmp_path, layout=OPENGAIT), write_pickle(tmp_path, frames, protocol), np.asarray)
    np.testing.assert_array_equal(np.stack(raw.frames), frames)
    assert raw.numbers == [0, 1, 2]


class Payload:
    """An object whose pickle runs a command when it is loaded."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple:
        return Path.touch, (self.target,)


def test_a_pickle_that_carries_code_does_not_run_it(tmp_path: Path) -> None:
    ref = write_pickle(tmp_path / "root", Payload(tmp_path / "owned"))
    with pytest.raises(Unreadable, match="unreadable pickle"):
        read_frames.read(root_of(tmp_path / "root", layout=OPENGAIT), ref, np.asarray)
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty file"),
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
        read_frames.read(root_of(tmp_path, layout=OPENGAIT), ref, np.asarray)
    assert caught.value.reason == reason


def test_a_root_that_is_missing_or_holds_something_else(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no folder .*nowhere"):
        layouts.find_root(open_place(tmp_path / "nowhere"), CASIA_B)
    with pytest.raises(UsageError, match=r"CASIA-B: it has .* files, expected are files like 001/nm-01"):
        layouts.find_root(open_place(tmp_path), CASIA_B)
    with pytest.raises(UsageError, match="unknown collection 'CASIA-Z': the known ones are CASIA-B"):
        registry.find("CASIA-Z")


def touch(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"x")


def ids(root: Path, name: str) -> list[str]:
    """The ids, or the problems, of the sequences below a root in the layout that is found there."""
    spec = registry.find(name)
    refs = layouts.list_sequences(layouts.find_root(open_place(root), spec))
    return [ref.problem or ref.sequence_id.removeprefix(f"{name}/") for ref in refs]


@pytest.mark.parametrize("name", sorted(registry.CATALOG))
def test_every_layout_is_known_by_its_example(tmp_path: Path, name: str) -> None:
    spec = registry.find(name)
    found = {}
    for layout in spec.layouts:
        touch(tmp_path / layout.name, layout.example)
        found[layout.name] = layouts.find_root(open_place(tmp_path / layout.name), spec, layout.modality).layout.name
    assert found == {layout.name: layout.name for layout in spec.layouts}


def test_sequences_lie_at_several_depths_and_gallery_walks_are_numbered_by_name(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "distractor/edXJefi8/00001.png",
        "test/gallery/00001/79XJefi8/00001.png",
        "test/gallery/00001/79XJefi8_gei.png",
        "test/gallery/00001/0aaaaaaa/00001.png",
        "test/gallery/00001/0aaaaaaa/00001_2d_pose.txt",
        "test/probe/01DdvEHX/00001.png",
        "train/00001/4XPn5Z28/00001.png",
        "train/00001/4XPn5Z28_gei.png",
        "train/00002/not-a-code/00001.png",
    )
    assert ids(tmp_path, "GREW") == [
        "distractor/distractor/edXJefi8",
        "00001/01/0aaaaaaa",
        "00001/02/79XJefi8",
        "probe/03/01DdvEHX",
        "00001train/00/4XPn5Z28",
        "not like that of train/00001/4XPn5Z28/00001.png",
    ]


def test_a_walk_has_one_id_in_every_layout(tmp_path: Path) -> None:
    touch(tmp_path / "released", "Silhouette_000-00/00001/0001.png", "Silhouette_000-00/00003/0001.png")
    touch(tmp_path / "rearranged", "00001/00/000/0001.png", "00003/00/000/0001.png")
    touch(tmp_path / "opengait", "00001/00/000/000.pkl", "00003/00/000/000.pkl")
    expected = ["00001/00/000", "00003/00/000"]
    assert [ids(tmp_path / name, "OU-MVLP") for name in ("released", "rearranged", "opengait")] == [expected] * 3
    touch(tmp_path / "e", "forTrain/001/H/scene1/nm/000/1/a.jpg")
    touch(tmp_path / "e-pkl", "001/H-scene1-nm-1/000/000.pkl")
    assert ids(tmp_path / "e", "CASIA-E") == ids(tmp_path / "e-pkl", "CASIA-E") == ["001/H-scene1-nm-1/000"]


def test_a_modality_is_chosen_by_its_name(tmp_path: Path) -> None:
    folder = tmp_path / "0000/camid0_videoid2/seq0"
    folder.mkdir(parents=True)
    spec = registry.find("Gait3D")
    for name, width in (("pars-seq0.pkl", 1), ("sils-seq0.pkl", 44), ("smpls-seq0.pkl", 3)):
        (folder / name).write_bytes(pickle.dumps(np.zeros((2, 64, width), np.uint8)))
    root = layouts.find_root(open_place(tmp_path), spec)
    (ref,) = layouts.list_sequences(root)
    assert read_frames.read(root, ref, np.asarray).frames[0].shape == (64, 44)
    (folder / "sils-seq0.pkl").unlink()
    with pytest.raises(Unreadable, match="no frames"):
        read_frames.read(root, ref, np.asarray)


def test_frames_may_lie_in_a_folder_for_each_modality(tmp_path: Path) -> None:
    spec = registry.find("SUSTech1K")
    sequence = tmp_path / "0000/00-nm/000"
    for place, value in (("Sils_aligned/16570692979.png", 9), ("Sils_aligned/1657069297123.png", 1)):
        write_png(sequence / place, np.full((64, 64), value, np.uint8))
    touch(sequence, "PCDs/1657069297.1.pcd", "Sils_raw/1657069297123.jpg")
    root = layouts.find_root(open_place(tmp_path), spec)
    (ref,) = layouts.list_sequences(root)
    raw = read_frames.read(root, ref, np.asarray)
    assert (raw.numbers, [frame[0, 0] for frame in raw.frames]) == ([0, 1], [1, 9])
    assert (ref.sequence_id, ref.labels) == ("SUSTech1K/0000/00-nm/000", {"covariate": "nm", "angle": "000"})


def test_another_number_of_attributes_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "001/1_0_2/v/v.pkl", "001/2_0_2_1/v/v.pkl", "002/1_3_0/v/v.pkl", "003/1_a_0/v/v.pkl")
    spec = registry.find("RAGAR")
    root = layouts.find_root(open_place(tmp_path), spec)
    refs = list(layouts.list_sequences(root))
    assert [ref.problem for ref in refs] == [
        None,
        "3 numbered labels where the first sequence has 2",
        None,
        f"not like that of {spec.layouts[0].example}",
    ]
    assert refs[2].labels == {"attribute_1": "3", "attribute_2": "0"}
    with pytest.raises(Unreadable, match="unrecognised folder: 3 numbered labels"):
        read_frames.read(root, refs[1], np.asarray)


@pytest.mark.parametrize("wrap", [lambda a: [a], lambda a: a[:, None], lambda a: a[..., None], lambda a: [a[:, None]]])
def test_arrays_with_an_axis_too_many_are_read(tmp_path: Path, wrap) -> None:
    frames = np.random.default_rng(1).integers(0, 2, (3, 64, 44)).astype(np.uint8)
    raw = read_frames.read(root_of(tmp_path, layout=OPENGAIT), write_pickle(tmp_path, wrap(frames)), np.asarray)
    np.testing.assert_array_equal(np.stack(raw.frames), frames)


def test_links_in_a_loop_are_listed_once_and_refused(tmp_path: Path) -> None:
    write_png(tmp_path / "001/nm-01/090/001-nm-01-090-001.png", np.zeros((4, 4), np.uint8))
    (tmp_path / "again").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "001" / "up").symlink_to(tmp_path, target_is_directory=True)
    refs = list(layouts.list_sequences(root_of(tmp_path)))
    assert [ref.folder for ref in refs if ref.problem is None] == ["001/nm-01/090"]
    assert [ref.folder for ref in refs if ref.problem is not None] == ["001/up", "again"]


def test_a_file_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in (1, 2):
        write_png(tmp_path / f"001/nm-01/090/001-nm-01-090-00{number}.png", np.full((4, 4), 9, np.uint8))
    opened = os.open

    def forbidden(path: str, *arguments: int) -> int:
        if path.endswith("002.png"):
            raise PermissionError(13, "Permission denied", path)
        return opened(path, *arguments)

    monkeypatch.setattr(os, "open", forbidden)  # file permissions do not hold for root, who may run the suite
    raw = read_frames.read(root_of(tmp_path), next(layouts.list_sequences(root_of(tmp_path))), np.asarray)
    assert raw.numbers == [1]
    assert raw.dropped == [("001-nm-01-090-002.png", "unreadable file", "Permission denied")]
