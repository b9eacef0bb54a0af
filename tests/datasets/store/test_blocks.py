"""The store: what is committed is read back, what is not does not exist, and versions are checked."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datasets.catalog import registry
from datasets.contours import codec
from datasets.contours.codec import contours_of
from datasets.ingest import layouts, sequence_to_row
from datasets.reports import text
from datasets.schema.errors import UsageError
from datasets.schema.rows import SCHEMA_VERSION, SEQUENCE_SCHEMA, VERSION_KEY
from datasets.storage import open_place
from datasets.store.blocks import Blocks, block_name
from datasets.store.reader import Store
from datasets.store.sequence_ids import keys_of
from datasets.store.writer import StoreWriter


def some_rows(root: Path, count: int) -> tuple[list[str], list[dict], list[dict]]:
    spec = registry.CASIA_B
    found = layouts.find_root(open_place(root), spec)
    refs = list(layouts.list_sequences(found))[:count]
    made = [sequence_to_row.ingest_sequence(found, ref) for ref in refs]
    return [ref.sequence_id for ref in refs], [one.row for one in made], [r for one in made for r in one.rejects]


@pytest.fixture
def written(walks: Path, tmp_path: Path) -> Path:
    ids, rows, rejects = some_rows(walks / "CASIA-B", 6)
    facts = {"root": "somewhere", "published": {}, "anonymous": "", "citation": "somebody", "access": "ask"}
    writer = StoreWriter.open(tmp_path)
    writer.describe("CASIA-B", facts)
    writer.blocks().write(ids, rows, rejects)
    writer.finish()
    return tmp_path


def test_rows_come_back_as_they_were_written(walks: Path, written: Path) -> None:
    _, rows, _ = some_rows(walks / "CASIA-B", 6)
    table = Store.open(written).rows()
    assert table.schema.remove_metadata() == SEQUENCE_SCHEMA.remove_metadata()
    for expected, got in zip(sorted(rows, key=lambda row: row["sequence_id"]), table.to_pylist(), strict=True):
        assert got["frame_numbers"] == expected["frame_numbers"]
        np.testing.assert_array_equal(codec.decode(contours_of(got)), codec.decode(contours_of(expected)))


def test_every_frame_is_a_row_s_or_a_reject_s(walks: Path, written: Path) -> None:
    frames = sum(Store.open(written).rows(columns=["num_frames"])["num_frames"].to_pylist())
    dropped = Store.open(written).rejects()
    folders = Store.open(written).rows(columns=["source"])["source"].to_pylist()
    assert frames + dropped.num_rows == sum(len(list((walks / "CASIA-B" / one).iterdir())) for one in folders)
    assert dropped.num_rows > 0
    assert set(dropped["reason"].to_pylist()) == {"nearly empty frame"}
    assert sum(Store.open(written).rows(columns=["dropped_frames"])["dropped_frames"].to_pylist()) == dropped.num_rows


def test_manifest_counts_and_describes(written: Path) -> None:
    entry = Store.open(written).collections["CASIA-B"]
    assert (entry["sequences"], entry["subjects"], entry["splits"].keys()) == (6, 1, {"train"})
    said = text.describe(Store.open(written).manifest)
    assert "CASIA-B: 6 sequences, 1 subjects" in said
    assert "cite CASIA-B: somebody" in said


def test_files_of_a_block_that_was_not_committed_do_not_exist(walks: Path, written: Path) -> None:
    ids, rows, rejects = some_rows(walks / "CASIA-B", 10)
    Blocks(open_place(written)).write(ids[6:], rows[6:], rejects)
    (written / "blocks" / f"{block_name(ids[6:])}.json").unlink()  # killed just before the commit
    np.testing.assert_array_equal(Blocks(open_place(written)).keys(), np.unique(keys_of(ids[:6])))
    entry = StoreWriter.open(written).finish().collections["CASIA-B"]
    assert (entry["sequences"], entry["root"]) == (6, "somewhere")


def test_a_split_or_collection_can_be_asked_for(store: Path) -> None:
    assert set(Store.open(store).rows(split="test")["collection"].to_pylist()) == {"CASIA-B"}
    assert set(Store.open(store).rows(["GaitLU-1M"])["split"].to_pylist()) == {"train"}
    with pytest.raises(UsageError, match="holds no OU-MVLP: it has CASIA-B, GaitLU-1M"):
        Store.open(store).rows(["OU-MVLP"])


def test_a_newer_store_is_refused(written: Path) -> None:
    newer = json.loads((written / "manifest.json").read_text()) | {"schema_version": SCHEMA_VERSION + 1}
    (written / "manifest.json").write_text(json.dumps(newer))
    with pytest.raises(UsageError, match=f"schema version {SCHEMA_VERSION + 1}, this program reads version"):
        Store.open(written).rows()


def test_a_newer_shard_is_refused(written: Path) -> None:
    path = written / Store.open(written).manifest["shards"][0]["path"]
    newer = pq.read_table(path).replace_schema_metadata({VERSION_KEY: b"99"})
    pq.write_table(newer, path)
    with pytest.raises(UsageError, match=r"\.parquet has schema version 99"):
        Store.open(written).rows()


def test_a_folder_without_a_manifest_is_no_store(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"run `python -m jobs\.ingest` first"):
        Store.open(tmp_path)


def test_nothing_is_left_half_written(written: Path, monkeypatch) -> None:
    before = sorted(written.rglob("*"))

    def full(*_args, **_kwargs) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq, "write_table", full)
    row = dict.fromkeys(SEQUENCE_SCHEMA.names) | {"collection": "C", "split": "s"}
    with pytest.raises(OSError, match="No space left"):
        Blocks(open_place(written)).write(["x"], [row], [])
    assert [path for path in sorted(written.rglob("*")) if path.is_file()] == [p for p in before if p.is_file()]


def test_empty_tables_keep_their_columns(written: Path) -> None:
    assert Store.open(written).rows(split="none").num_rows == 0
    assert isinstance(Store.open(written).rows(split="none"), pa.Table)


def test_sequences_that_two_runs_did_count_once(walks: Path, written: Path) -> None:
    ids, rows, rejects = some_rows(walks / "CASIA-B", 10)
    before = Store.open(written).collections["CASIA-B"]
    Blocks(open_place(written)).write(ids[3:], rows[3:], [one for one in rejects if one["sequence_id"] in ids[3:]])
    whole = StoreWriter.open(written).finish()
    assert Store.open(written).rows()["sequence_id"].to_pylist() == sorted(ids)
    frames = Store.open(written).rejects().select(["sequence_id", "frame"]).to_pylist()
    assert len(frames) == len({tuple(one.values()) for one in frames}) == len(rejects)
    entry = whole.collections["CASIA-B"]
    assert (before["sequences"], entry["sequences"]) == (6, 10)
    assert entry["dropped_frames"] == len(rejects)


def test_pieces_are_no_part_of_the_store_until_they_are_merged(walks: Path, written: Path) -> None:
    blocks = Blocks(open_place(written))
    ids, rows, _ = some_rows(walks / "CASIA-B", 12)
    pieces = []
    for start in (6, 8, 10):
        mine = slice(start, start + 2)
        pieces.append(blocks.write(ids[mine], rows[mine], [], piece=True)["block"])
    assert len(blocks.keys()) == 12
    assert Store.open(written).rows().num_rows == 6
    blocks.merge(pieces[:2])
    assert len(blocks.names()) == 3
    assert blocks.find(ids[6:10])["sequences"] == 4
    assert StoreWriter.open(written).finish().collections["CASIA-B"]["sequences"] == 12  # the one left over is merged
    assert not set(pieces[:2]) & set(blocks.names())
    assert not any(record["piece"] for record in blocks.committed())
    held = {path.name for path in written.rglob("*.parquet")}
    assert held == {Path(file["path"]).name for block in blocks.committed() for file in block["files"]}


def test_a_block_that_replaces_pieces_counts_before_they_are_gone(walks: Path, written: Path) -> None:
    """Killed between the commit of the merged block and the removal of its pieces."""
    blocks = Blocks(open_place(written))
    ids, rows, _ = some_rows(walks / "CASIA-B", 10)
    for start in (6, 8):
        blocks.write(ids[start : start + 2], rows[start : start + 2], [], piece=True)
    names = [block_name(ids[start : start + 2]) for start in (6, 8)]
    records = {name: (written / f"blocks/{name}.json").read_bytes() for name in names}
    files = {path: path.read_bytes() for path in written.rglob("*.parquet")}
    blocks.merge(names)
    for name, record in records.items():
        (written / f"blocks/{name}.json").write_bytes(record)
    for path, content in files.items():
        path.write_bytes(content)
    assert StoreWriter.open(written).finish().collections["CASIA-B"]["sequences"] == 10
    assert Store.open(written).rows().num_rows == 10
