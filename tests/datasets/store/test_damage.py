"""Damage in a store is found in every file, by readers in what they read, and forgotten so that it is made anew."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from datasets.schema.errors import Damaged, UsageError
from datasets.schema.rows import FRAME_COLUMNS, SEQUENCE_SCHEMA
from datasets.storage import open_place
from datasets.store.damage import examine, mend
from datasets.store.reader import Store
from datasets.store.writer import StoreWriter


def shard_of(written: Path) -> Path:
    return written / Store.open(written).manifest["shards"][0]["path"]


def alter(file: Path) -> None:
    """Other bytes where the frames are, and of the same length."""
    content = bytearray(file.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 20] = bytes(one ^ 0x55 for one in content[middle : middle + 20])
    file.write_bytes(content)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


def without_digests(written: Path) -> None:
    """A store of an earlier version."""
    for path in (written / "manifest.json", *(written / "blocks").iterdir()):
        said = json.loads(path.read_text())
        for file in [*said.get("files", []), *said.get("shards", []), *said.get("rejects", [])]:
            del file["digest"]
        path.write_text(json.dumps(said))


def empty(file: Path) -> None:
    file.write_bytes(b"")


DAMAGES = [(Path.unlink, "it is gone"), (cut, "bytes"), (empty, "it has 0 of"), (alter, "")]


@pytest.mark.parametrize(("damage", "why"), DAMAGES)
@pytest.mark.parametrize("digests", [True, False])
def test_a_damaged_file_is_one_line(written: Path, damage: Callable[[Path], None], why: str, digests: bool) -> None:
    if not digests:
        without_digests(written)
    shard = shard_of(written)
    there = Store.open(written)
    damage(shard)
    with pytest.raises(Damaged) as refused:
        there.rows(columns=SEQUENCE_SCHEMA.names)
    said = str(refused.value)
    assert said.startswith(f"{shard} is damaged (") and why in said and "\n" not in said
    assert "its sequences (6) are lost until the same `python -m jobs.ingest` of CASIA-B is run again" in said
    (found,) = examine(open_place(written)).damages
    assert written / found.path == shard and why in found.why and found.collection == "CASIA-B"


def test_every_single_altered_byte_is_found(written: Path) -> None:
    shard = shard_of(written)
    content = shard.read_bytes()
    for position in range(0, len(content), len(content) // 40):
        shard.write_bytes(content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :])
        assert [one.path for one in examine(open_place(written)).damages] == [str(shard.relative_to(written))]
    shard.write_bytes(content)
    health = examine(open_place(written))
    assert health.damages == [] and health.undigested == 0
    assert (health.files, health.size) == (2, sum(one.stat().st_size for one in written.rglob("*.parquet")))


def test_no_frame_is_read_from_a_file_with_one_other_bit(written: Path) -> None:
    """Not even where decompression and the checksums of pages would not notice it."""
    there, shard = Store.open(written), shard_of(written)
    content = shard.read_bytes()
    for position in range(0, len(content), len(content) // 40):
        shard.write_bytes(content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :])
        with pytest.raises(Damaged, match=r"is damaged \("):
            there.rows(columns=FRAME_COLUMNS)


def test_a_store_of_an_earlier_version_is_said_to_be_one(written: Path) -> None:
    without_digests(written)
    assert examine(open_place(written)).undigested == 2


@pytest.mark.parametrize("content", [b"", b"\0" * 50, b"\xff\xfe", b'{"schema', b"[]", b"{}"])
@pytest.mark.parametrize("which", ["blocks", "collections", "manifest"])
def test_damaged_records_are_found(written: Path, which: str, content: bytes) -> None:
    (file,) = (written / which).iterdir() if which != "manifest" else [written / "manifest.json"]
    file.write_bytes(content)
    if which == "manifest" and content == b"{}":
        with pytest.raises(UsageError, match="schema version None"):
            examine(open_place(written))
        return
    (found,) = examine(open_place(written)).damages
    assert written / found.path == file


def test_the_record_of_a_block_comes_back_from_the_manifest(written: Path) -> None:
    before = Store.open(written)
    (record,) = (written / "blocks").iterdir()
    said = json.loads(record.read_text())
    for damage in (Path.unlink, cut):
        damage(record)
        mend(open_place(written), [])
        again = json.loads(record.read_text())
        assert again["files"] == said["files"] and (again["sequences"], again["rejected"]) == (6, 0)
        assert examine(open_place(written)).damages == []
        assert StoreWriter.open(written).finish().rows().equals(before.rows())


def test_the_manifest_is_written_anew_from_the_blocks(written: Path) -> None:
    before = Store.open(written).manifest
    cut(written / "manifest.json")
    mend(open_place(written), [])
    assert StoreWriter.open(written).finish().manifest == before


def test_what_is_lost_is_forgotten_and_what_is_whole_stays(made, written: Path) -> None:
    writer = StoreWriter.open(written)
    ids, rows, rejects = made(12)
    rows = [{**row, "split": "test" if number % 2 else "train"} for number, row in enumerate(rows)]
    writer.blocks().write(ids[6:], rows[6:], [one for one in rejects if one["sequence_id"] in ids[6:]])
    whole = writer.finish()
    (path,) = (file["path"] for file in whole.manifest["shards"] if "split=test" in file["path"])
    cut(written / path)
    mend(open_place(written), ["CASIA-B"])
    assert not (written / path).exists()
    blocks = StoreWriter.open(written).blocks()
    assert len(blocks.keys(rejects=False)) == 9
    blocks.write(ids[7:12:2], rows[7:12:2], [])
    assert StoreWriter.open(written).finish().rows()["sequence_id"].to_pylist() == sorted(ids)
    assert examine(open_place(written)).damages == []


@pytest.mark.parametrize("damage", [cut, Path.unlink])
def test_what_no_root_makes_anew_stays_as_it_is(written: Path, damage: Callable[[Path], None]) -> None:
    damage(shard_of(written))
    files = {path: path.read_bytes() for path in written.rglob("*.*")}
    with pytest.raises(UsageError, match=r"damaged files of CASIA-B, .* give --root CASIA-B=<folder> too"):
        mend(open_place(written), ["Gait3D"])
    assert {path: path.read_bytes() for path in written.rglob("*.*")} == files


def test_what_is_no_store_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_bytes(b"mine")
    mend(open_place(tmp_path), ["CASIA-B"])
    assert (tmp_path / "manifest.json").read_bytes() == b"mine"
    with pytest.raises(UsageError, match=r"manifest\.json is damaged"):
        examine(open_place(tmp_path))
