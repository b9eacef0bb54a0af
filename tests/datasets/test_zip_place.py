"""Zip archives as places: the tree inside, from any process and thread, and nothing outside of it."""

import io
import os
import pickle
import shutil
import struct
import subprocess
import sys
import tracemalloc
import zipfile
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

from datasets import zip_place
from datasets.catalog.registry import CASIA_B
from datasets.ingest import layouts
from datasets.ingest.sequence_to_row import ingest_sequence
from datasets.schema.errors import Unreadable, UsageError
from datasets.storage import Entry, LocalPlace, local_path, open_place
from datasets.synthetic.scenes import casia_b
from datasets.synthetic.trees import write_tree
from datasets.zip_archive import list_members
from datasets.zip_place import ZipPlace
from orchestration.cluster.session import ROOT


def zip_of(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def names(place: ZipPlace | LocalPlace) -> list[str]:
    return [entry.name for entry in place.entries()]


TREE = {"a/b.json": b"second", "a/c/d": b"", "e.txt": b"12345" * 1000, "empty/": b""}


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_zip_is_the_tree_inside_it(tmp_path: Path, method: int) -> None:
    place = open_place(zip_of(tmp_path / "x.zip", TREE, method))
    assert place.entries() == [Entry("a", "folder"), Entry("e.txt", "file"), Entry("empty", "folder")]
    assert (place / "a").entries() == [Entry("b.json", "file"), Entry("c", "folder")]
    assert (place / "a/c").entries() == [Entry("d", "file")]
    assert (place / "empty").entries() == []
    assert ((place / "a" / "b.json").read(), (place / "a/c/d").read()) == (b"second", b"")
    with (place / "e.txt").open() as file:
        assert file.size() == 5000
    assert (place / "a").exists() and (place / "e.txt").exists() and not (place / "f").exists()
    assert place.name == "x.zip" and (place / "a/b.json").name == "b.json"
    for address in (place, place / "a/c"):
        assert open_place(str(address)) == address
        assert pickle.loads(pickle.dumps(address)) == address
    assert not place.is_empty_folder() and open_place(zip_of(tmp_path / "none.zip", {})).is_empty_folder()


def test_missing_and_too_large_files_raise(tmp_path: Path) -> None:
    place = open_place(zip_of(tmp_path / "x.zip", TREE))
    with pytest.raises(Unreadable, match="file too large: 5,000 bytes"):
        (place / "e.txt").read(limit=4999)
    with pytest.raises(Unreadable, match="not a file"):
        (place / "a").read()
    for missing in ("nothing", "a/../e.txt", "../x.zip", "/etc/passwd", "a/"):
        with pytest.raises(OSError, match=r"No such file|Not a directory"):
            (place / missing).read()
        with pytest.raises(OSError, match=r"No such file|Not a directory"):
            (place / missing).entries()
    with pytest.raises(NotADirectoryError):
        (place / "e.txt").entries()


def test_nothing_is_written_into_a_zip(tmp_path: Path) -> None:
    place = open_place(zip_of(tmp_path / "x.zip", TREE))
    for write in (
        lambda: (place / "new").write(b""),
        lambda: (place / "new").move_from(tmp_path / "x.zip"),
        (place / "e.txt").remove,
        (place / "a").remove_folder,
        lambda: place.filesystem,
    ):
        with pytest.raises(UsageError, match="lies in a zip archive, which is only read: give a folder to write to"):
            write()
    with pytest.raises(UsageError, match="is in a zip archive"):
        local_path(tmp_path / "x.zip", "a run")


def test_what_macos_and_windows_add_is_left_out(tmp_path: Path) -> None:
    litter = {"__MACOSX/walks/._001": b"x", "walks/.DS_Store": b"x", ".DS_Store": b"x", "__MACOSX/._walks": b"x"}
    place = open_place(zip_of(tmp_path / "walks.zip", {**litter, "walks/001/a.png": b"1", "walks/002/": b""}))
    assert names(place) == ["001", "002"] and (place / "001/a.png").read() == b"1"
    other = open_place(zip_of(tmp_path / "other.zip", {"walks/001/a.png": b"1"}))
    assert names(other) == ["walks"]  # a folder of another name is part of the tree
    windows = open_place(zip_of(tmp_path / "windows.zip", {"windows\\001\\b.png": b"2", "windows\\002\\": b""}))
    assert names(windows) == ["001", "002"] and (windows / "001/b.png").read() == b"2"


def test_names_that_lead_out_are_entries_that_nobody_can_open(tmp_path: Path) -> None:
    outside = ["../evil.png", "/etc/evil.png", "a/../../evil.png", "..", "a//b.png", "x/" * 40 + "deep.png", "n" * 5000]
    place = open_place(zip_of(tmp_path / "x.zip", {**dict.fromkeys(outside, b"evil"), "x/good.png": b"good"}))
    assert place.entries()[0] == Entry("x", "folder")
    assert {entry.kind for entry in place.entries()[1:]} == {"other"}
    assert names(place)[1:] == [name[:4096] for name in outside]
    for name in names(place)[1:]:
        with pytest.raises(FileNotFoundError):
            (place / name).read()
    refs = [layouts.printable(folder) for folder, parts in layouts._walk_root(place, CASIA_B, CASIA_B.layouts[0])]
    assert len(refs) == len(outside) + 1  # each becomes a reject


def test_links_files_as_folders_and_names_given_twice(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    link = zipfile.ZipInfo("link.png")
    link.create_system, link.external_attr = 3, 0o120777 << 16
    members = [("sam1", b"1"), ("sam2", b"1"), ("two1", b"1"), ("two2", b"2"), ("f", b""), ("f/g", b""), ("h/", b"")]
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(link, "/etc/passwd")
        for name, content in [*members, ("h", b""), ("none", b"")]:
            archive.writestr(name, content)
    data = path.read_bytes().replace(b"sam1", b"same").replace(b"sam2", b"same").replace(b"two2", b"two1")
    path.write_bytes(data.replace(b"none", b"\0one"))  # zipfile ends a name at a zero
    place = open_place(path)
    kinds = {entry.name: entry.kind for entry in place.entries()}
    strays = dict.fromkeys(["link.png", "f/g", "h (a second one)", " (a second one)"], "other")
    assert kinds == {"same": "file", "two1": "file", "f": "file", "h": "folder", **strays}
    assert (place / "same").read() == b"1"
    with pytest.raises(Unreadable, match="a link in a zip archive"):
        (place / "link.png").read()
    with pytest.raises(Unreadable, match="several members of this name"):
        (place / "two1").read()


def test_names_in_utf8_without_a_flag_and_in_code_page_437(tmp_path: Path) -> None:
    for name, encoded in (("Müller", "Müller".encode()), ("Müller", "Müller".encode("cp437"))):
        path = zip_of(tmp_path / f"{len(encoded)}.zip", {"M" + "x" * (len(encoded) - 1): b"1"})
        path.write_bytes(path.read_bytes().replace(b"M" + b"x" * (len(encoded) - 1), encoded))
        assert names(open_place(path)) == [name]


@pytest.mark.parametrize(
    ("method", "reason"),
    [(zipfile.ZIP_BZIP2, "bzip2"), (zipfile.ZIP_LZMA, "LZMA"), (zipfile.ZIP_DEFLATED, "encrypted")],
)
def test_what_cannot_be_unpacked_is_named(tmp_path: Path, method: int, reason: str) -> None:
    path = zip_of(tmp_path / "x.zip", {"a": b"1" * 100}, method)
    if reason == "encrypted":
        data = bytearray(path.read_bytes())
        data[data.index(b"PK\x01\x02") + 8] |= 1
        path.write_bytes(data)
    with pytest.raises(Unreadable, match=reason):
        (open_place(path) / "a").read()


@pytest.mark.parametrize("content", [b"", b"<!DOCTYPE html>", b"PK\x03\x04 and no more", bytes(1000)])
def test_what_is_not_a_zip_is_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "walks.zip").write_bytes(content)
    with pytest.raises(UsageError, match="cannot be read as a zip archive") as caught:
        open_place(tmp_path / "walks.zip")
    assert "\n" not in str(caught.value)


def test_a_folder_named_like_a_zip_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "walks.zip/001").mkdir(parents=True)
    assert isinstance(open_place(tmp_path / "walks.zip/001"), LocalPlace)
    assert isinstance(open_place(tmp_path / "new.zip"), LocalPlace)


@pytest.mark.parametrize("name", ["w.tar", "w.tar.gz", "w.TGZ", "w.tar.zst", "w.7z", "w.rar"])
def test_other_archives_are_named_with_what_to_do(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"any")
    with pytest.raises(UsageError, match=r"unpack it, or make a \.zip of it"):
        open_place(tmp_path / name)
    assert isinstance(open_place(tmp_path / "new" / name), LocalPlace)


def test_another_archive_under_the_same_name_is_read_anew(tmp_path: Path) -> None:
    place = open_place(zip_of(tmp_path / "x.zip", {"a": b"1"}))
    assert (place / "a").read() == b"1"
    zip_of(tmp_path / "x.zip", {"b": b"22", "c": b"3"})
    assert names(place) == ["b", "c"] and (place / "b").read() == b"22"
    (tmp_path / "x.zip").unlink()
    with pytest.raises(FileNotFoundError):
        (place / "b").read()


def read_all(place: ZipPlace) -> list[bytes]:
    return [(place / name).read() for name in names(place)]


def test_threads_and_forked_processes_read_at_the_same_time(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    members = {f"{index:03d}": rng.bytes(int(rng.integers(1, 30_000))) for index in range(200)}
    place = open_place(zip_of(tmp_path / "x.zip", members))
    with ThreadPoolExecutor(8) as pool:
        assert all(found == list(members.values()) for found in pool.map(read_all, [place] * 16))
    with get_context("fork").Pool(3) as processes:
        assert all(found == list(members.values()) for found in processes.map(read_all, [place] * 9))


def bomb() -> bytes:
    """A member of 128 MB that is said to have 100 bytes."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a", "w") as member:
        for _ in range(128):
            member.write(bytes(2**20))
    data = bytearray(file.getvalue())
    at = data.rindex(b"PK\x01\x02")
    data[at + 24 : at + 28] = struct.pack("<I", 100)
    return bytes(data)


def test_a_member_inflates_no_further_than_it_says(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(bomb())
    place = open_place(tmp_path / "x.zip")
    tracemalloc.start()
    try:
        with pytest.raises(Unreadable, match="damaged zip archive"):
            (place / "a").read()
        assert tracemalloc.get_traced_memory()[1] < 2**22
    finally:
        tracemalloc.stop()


def test_altered_archives_are_read_or_refused_with_a_line(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    whole = zip_of(tmp_path / "whole.zip", {**TREE, "é/ü.png": b"x" * 99, "walks\\b": b"y"}).read_bytes()
    outcomes = {"read": 0, "refused": 0}
    for _ in range(2000):
        data = bytearray(whole)
        for _ in range(rng.integers(1, 4)):
            at, length = int(rng.integers(len(data))), int(rng.integers(1, 9))
            kind = rng.integers(3)
            if kind == 0:
                data[at] = rng.integers(256)
            elif kind == 1:
                data[at:at] = data[at : at + length]
            else:
                del data[at : at + length]
        path = tmp_path / "altered.zip"
        path.write_bytes(data)
        os.utime(path, ns=(0, int(rng.integers(2**60))))
        try:
            stack = [open_place(path)]
        except UsageError:
            outcomes["refused"] += 1
            continue
        while stack:
            place = stack.pop()
            try:
                stack += [place / entry.name for entry in place.entries()]
            except OSError:
                try:
                    place.read(2**20)
                    outcomes["read"] += 1
                except (Unreadable, OSError):
                    outcomes["refused"] += 1
    assert min(outcomes.values()) > 500, outcomes


def test_a_zipped_collection_gives_the_rows_and_rejects_of_its_folder(tmp_path: Path) -> None:
    walks = [casia_b(subject, "nm-01", "090") for subject in ("001", "002")]
    write_tree(tmp_path / "CASIA-B", CASIA_B.layouts[0], walks, num_frames=12)
    pictures = sorted((tmp_path / "CASIA-B").rglob("*.png"))
    pictures[3].write_bytes(pictures[3].read_bytes()[:60])
    shutil.make_archive(str(tmp_path / "inside"), "zip", tmp_path / "CASIA-B")
    shutil.make_archive(str(tmp_path / "above"), "zip", tmp_path, "CASIA-B")
    (tmp_path / "above.zip").rename(tmp_path / "CASIA-B.zip")

    def results(where: Path) -> list:
        root = layouts.find_root(open_place(where), CASIA_B)
        return [ingest_sequence(root, ref) for ref in layouts.list_sequences(root)]

    expected = results(tmp_path / "CASIA-B")
    assert [reject["reason"] for one in expected for reject in one.rejects].count("damaged image") == 1
    for name in ("inside.zip", "CASIA-B.zip"):
        found = results(tmp_path / name)
        np.testing.assert_equal([(one.row, one.rejects) for one in found], [(one.row, one.rejects) for one in expected])


def test_a_hundred_thousand_files_are_listed_without_reading_the_listing_again(tmp_path: Path, monkeypatch) -> None:
    script = """
import sys, zipfile
with zipfile.ZipFile(sys.argv[1], "w") as archive:
    for index in range(100_000):
        archive.writestr(f"{index // 1000:03d}/nm-01/090/{index:06d}.png", b"x")
"""
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "x.zip")], check=True, cwd=ROOT)
    read = []
    monkeypatch.setattr(zip_place, "list_members", lambda *given: read.append(1) or list_members(*given))
    place = open_place(tmp_path / "x.zip")
    files = [place / top / "nm-01/090" / name for top in names(place) for name in names(place / top / "nm-01/090")]
    assert len(files) == 100_000
    assert {file.read() for file in files[::100]} == {b"x"}
    assert len(read) == 1
