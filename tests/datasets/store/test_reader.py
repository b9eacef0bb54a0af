"""A store is opened once: what was written is read back, and other versions are refused."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datasets.catalog.registry import CATALOG
from datasets.contours import codec
from datasets.contours.codec import contours_of
from datasets.schema.errors import UsageError
from datasets.schema.rows import SCHEMA_VERSION, SEQUENCE_SCHEMA, VERSION_KEY
from datasets.store.reader import Store


def test_rows_come_back_as_they_were_written(made, written: Path) -> None:
    _, rows, _ = made(6)
    table = Store.open(written).rows()
    assert table.schema.remove_metadata() == SEQUENCE_SCHEMA.remove_metadata()
    for expected, got in zip(sorted(rows, key=lambda row: row["sequence_id"]), table.to_pylist(), strict=True):
        assert got["frame_numbers"] == expected["frame_numbers"]
        np.testing.assert_array_equal(codec.decode(contours_of(got)), codec.decode(contours_of(expected)))


def test_every_frame_is_a_row_s_or_a_reject_s(walks: Path, written: Path) -> None:
    store = Store.open(written)
    frames = sum(store.rows(columns=["num_frames"])["num_frames"].to_pylist())
    dropped = store.rejects()
    folders = store.rows(columns=["source"])["source"].to_pylist()
    assert frames + dropped.num_rows == sum(len(list((walks / "CASIA-B" / one).iterdir())) for one in folders)
    assert dropped.num_rows > 0
    assert set(dropped["reason"].to_pylist()) == {"nearly empty frame"}
    assert sum(store.rows(columns=["dropped_frames"])["dropped_frames"].to_pylist()) == dropped.num_rows


def test_a_split_or_collection_can_be_asked_for(store: Path) -> None:
    there = Store.open(store)
    assert set(there.rows(split="test")["collection"].to_pylist()) == {"CASIA-B"}
    assert set(there.rows(["GaitLU-1M"])["split"].to_pylist()) == {"train"}
    assert there.specs() == {name: CATALOG[name] for name in ("CASIA-B", "GaitLU-1M")}
    with pytest.raises(UsageError, match="holds no OU-MVLP: it has CASIA-B, GaitLU-1M"):
        there.rows(["OU-MVLP"])


def test_the_manifest_is_read_once(written: Path) -> None:
    """An open store does not change while another process writes to it."""
    there = Store.open(written)
    (written / "manifest.json").unlink()
    assert there.rows().num_rows == 6 and there.spec("CASIA-B").name == "CASIA-B"


def test_a_newer_store_is_refused(written: Path) -> None:
    newer = json.loads((written / "manifest.json").read_text()) | {"schema_version": SCHEMA_VERSION + 1}
    (written / "manifest.json").write_text(json.dumps(newer))
    with pytest.raises(UsageError, match=f"schema version {SCHEMA_VERSION + 1}, this program reads version"):
        Store.open(written)


@pytest.mark.parametrize("content", [b'{"schema_version": 1, "coll', b"\xff", b"", b"\0" * 99])
def test_a_damaged_manifest_is_refused(written: Path, content: bytes) -> None:
    (written / "manifest.json").write_bytes(content)
    with pytest.raises(UsageError, match=r"manifest\.json is damaged \(.*\): no sequence is lost: run the same"):
        Store.open(written)


def test_a_newer_shard_is_refused(written: Path) -> None:
    there = Store.open(written)
    path = written / there.manifest["shards"][0]["path"]
    newer = pq.read_table(path).replace_schema_metadata({VERSION_KEY: b"99"})
    pq.write_table(newer, path)
    with pytest.raises(UsageError, match=r"\.parquet has schema version 99"):
        there.rows(columns=["sequence_id"])


def test_a_folder_without_a_manifest_is_no_store(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"run `python -m jobs\.ingest` first"):
        Store.open(tmp_path)


def test_empty_tables_keep_their_columns(written: Path) -> None:
    none = Store.open(written).rows(split="none")
    assert isinstance(none, pa.Table)
    assert none.num_rows == 0 and none.schema.names == SEQUENCE_SCHEMA.names
