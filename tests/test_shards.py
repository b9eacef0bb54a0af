"""The store: what is committed is read back, what is not does not exist, and versions are checked."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datasets import catalog, contours, corpus, harmonise, layouts, manifest, report, shards
from datasets.schema import SCHEMA_VERSION, SEQUENCE_SCHEMA, VERSION_KEY, UsageError
from datasets.storage import at


def some_rows(root: Path, count: int) -> tuple[list[str], list[dict], list[dict]]:
    spec = catalog.CASIA_B
    found = layouts.find_root(at(root), spec)
    refs = list(layouts.list_sequences(found))[:count]
    made = [harmonise.harmonise(found, ref) for ref in refs]
    return [ref.sequence_id for ref in refs], [one.row for one in made], [r for one in made for r in one.rejects]


@pytest.fixture
def written(walks: Path, tmp_path: Path) -> Path:
    ids, rows, rejects = some_rows(walks / "CASIA-B", 6)
    shards.write_block(at(tmp_path), ids, rows, rejects)
    facts = {"root": "somewhere", "published": {}, "anonymous": "", "citation": "somebody", "access": "ask"}
    manifest.describe_collection(at(tmp_path), "CASIA-B", facts)
    manifest.write_manifest(at(tmp_path))
    return tmp_path


def test_rows_come_back_as_they_were_written(walks: Path, written: Path) -> None:
    _, rows, _ = some_rows(walks / "CASIA-B", 6)
    table = manifest.read_rows(at(written))
    assert table.schema.remove_metadata() == SEQUENCE_SCHEMA.remove_metadata()
    for expected, got in zip(sorted(rows, key=lambda row: row["sequence_id"]), table.to_pylist(), strict=True):
        assert got["frame_numbers"] == expected["frame_numbers"]
        np.testing.assert_array_equal(
            contours.decode(corpus.contours_of(got)), contours.decode(corpus.contours_of(expected))
        )


def test_every_frame_is_a_row_s_or_a_reject_s(walks: Path, written: Path) -> None:
    frames = sum(manifest.read_rows(at(written), columns=["num_frames"])["num_frames"].to_pylist())
    dropped = manifest.read_rejects(at(written))
    folders = manifest.read_rows(at(written), columns=["source"])["source"].to_pylist()
    assert frames + dropped.num_rows == sum(len(list((walks / "CASIA-B" / one).iterdir())) for one in folders)
    assert dropped.num_rows > 0
    assert set(dropped["reason"].to_pylist()) == {"nearly empty frame"}
    assert (
        sum(manifest.read_rows(at(written), columns=["dropped_frames"])["dropped_frames"].to_pylist())
        == dropped.num_rows
    )


def test_manifest_counts_and_describes(written: Path) -> None:
    entry = manifest.read_manifest(at(written))["collections"]["CASIA-B"]
    assert (entry["sequences"], entry["subjects"], entry["splits"].keys()) == (6, 1, {"train"})
    said = report.describe(manifest.read_manifest(at(written)))
    assert "CASIA-B: 6 sequences, 1 subjects" in said
    assert "cite CASIA-B: somebody" in said


def test_files_of_a_block_that_was_not_committed_do_not_exist(walks: Path, written: Path) -> None:
    ids, rows, rejects = some_rows(walks / "CASIA-B", 10)
    shards.write_block(at(written), ids[6:], rows[6:], rejects)
    (written / "blocks" / f"{shards.block_name(ids[6:])}.json").unlink()  # killed just before the commit
    np.testing.assert_array_equal(shards.committed_keys(at(written)), np.unique(shards.keys_of(ids[:6])))
    entry = manifest.write_manifest(at(written))["collections"]["CASIA-B"]
    assert (entry["sequences"], entry["root"]) == (6, "somewhere")


def test_a_split_or_collection_can_be_asked_for(store: Path) -> None:
    assert set(manifest.read_rows(at(store), split="test")["collection"].to_pylist()) == {"CASIA-B"}
    assert set(manifest.read_rows(at(store), ["GaitLU-1M"])["split"].to_pylist()) == {"train"}
    with pytest.raises(UsageError, match="holds no OU-MVLP: it has CASIA-B, GaitLU-1M"):
        manifest.read_rows(at(store), ["OU-MVLP"])


def test_a_newer_store_is_refused(written: Path) -> None:
    newer = json.loads((written / "manifest.json").read_text()) | {"schema_version": SCHEMA_VERSION + 1}
    (written / "manifest.json").write_text(json.dumps(newer))
    with pytest.raises(UsageError, match=f"schema version {SCHEMA_VERSION + 1}, this program reads version"):
        manifest.read_rows(at(written))


def test_a_newer_shard_is_refused(written: Path) -> None:
    path = written / manifest.read_manifest(at(written))["shards"][0]["path"]
    newer = pq.read_table(path).replace_schema_metadata({VERSION_KEY: b"99"})
    pq.write_table(newer, path)
    with pytest.raises(UsageError, match=r"\.parquet has schema version 99"):
        manifest.read_rows(at(written))


def test_a_folder_without_a_manifest_is_no_store(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"run `python -m jobs\.ingest` first"):
        manifest.read_manifest(at(tmp_path))


def test_nothing_is_left_half_written(written: Path, monkeypatch) -> None:
    before = sorted(written.rglob("*"))

    def full(*_args, **_kwargs) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq, "write_table", full)
    row = dict.fromkeys(SEQUENCE_SCHEMA.names) | {"collection": "C", "split": "s"}
    with pytest.raises(OSError, match="No space left"):
        shards.write_block(at(written), ["x"], [row], [])
    assert [path for path in sorted(written.rglob("*")) if path.is_file()] == [p for p in before if p.is_file()]


def test_empty_tables_keep_their_columns(written: Path) -> None:
    assert manifest.read_rows(at(written), split="none").num_rows == 0
    assert isinstance(manifest.read_rows(at(written), split="none"), pa.Table)
