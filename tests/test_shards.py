"""The store: what is committed is read back, what is not does not exist, and versions are checked."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datasets import catalog, contours, corpus, harmonise, layouts, report, shards
from datasets.schema import SCHEMA_VERSION, SEQUENCE_SCHEMA, VERSION_KEY, UsageError


def some_rows(root: Path, count: int) -> tuple[list[str], list[dict], list[dict]]:
    spec = catalog.CASIA_B
    refs = list(layouts.list_sequences(root, spec, spec.layouts[0]))[:count]
    made = [harmonise.harmonise(root, ref, spec, spec.layouts[0]) for ref in refs]
    return [ref.sequence_id for ref in refs], [one.row for one in made], [r for one in made for r in one.rejects]


@pytest.fixture
def written(walks: Path, tmp_path: Path) -> Path:
    ids, rows, rejects = some_rows(walks / "CASIA-B", 6)
    shards.write_block(tmp_path, ids, rows, rejects)
    shards.write_manifest(tmp_path, {"CASIA-B": "somewhere"}, {"CASIA-B": {"published": {}, "citation": "somebody"}})
    return tmp_path


def test_rows_come_back_as_they_were_written(walks: Path, written: Path) -> None:
    _, rows, _ = some_rows(walks / "CASIA-B", 6)
    table = shards.read_rows(written)
    assert table.schema.remove_metadata() == SEQUENCE_SCHEMA.remove_metadata()
    for expected, got in zip(sorted(rows, key=lambda row: row["sequence_id"]), table.to_pylist(), strict=True):
        assert got["frame_numbers"] == expected["frame_numbers"]
        np.testing.assert_array_equal(
            contours.decode(corpus.contours_of(got)), contours.decode(corpus.contours_of(expected))
        )


def test_every_frame_is_a_row_s_or_a_reject_s(walks: Path, written: Path) -> None:
    frames = sum(shards.read_rows(written, columns=["num_frames"])["num_frames"].to_pylist())
    dropped = shards.read_rejects(written)
    folders = shards.read_rows(written, columns=["source"])["source"].to_pylist()
    assert frames + dropped.num_rows == sum(len(list((walks / "CASIA-B" / one).iterdir())) for one in folders)
    assert dropped.num_rows > 0
    assert set(dropped["reason"].to_pylist()) == {"nearly empty frame"}
    assert sum(shards.read_rows(written, columns=["dropped_frames"])["dropped_frames"].to_pylist()) == dropped.num_rows


def test_manifest_counts_and_describes(written: Path) -> None:
    entry = shards.read_manifest(written)["collections"]["CASIA-B"]
    assert (entry["sequences"], entry["subjects"], entry["splits"].keys()) == (6, 1, {"train"})
    said = report.describe(shards.read_manifest(written))
    assert "CASIA-B: 6 sequences, 1 subjects" in said
    assert "cite CASIA-B: somebody" in said


def test_files_of_a_block_that_was_not_committed_do_not_exist(walks: Path, written: Path) -> None:
    ids, rows, rejects = some_rows(walks / "CASIA-B", 10)
    shards.write_block(written, ids[6:], rows[6:], rejects)
    (written / "blocks" / f"{shards.block_name(ids[6:])}.json").unlink()  # killed just before the commit
    assert shards.committed_ids(written) == set(ids[:6])
    entry = shards.write_manifest(written, {}, {})["collections"]["CASIA-B"]
    assert (entry["sequences"], entry["root"]) == (6, "somewhere")


def test_a_split_or_collection_can_be_asked_for(store: Path) -> None:
    assert set(shards.read_rows(store, split="test")["collection"].to_pylist()) == {"CASIA-B"}
    assert set(shards.read_rows(store, ["GaitLU-1M"])["split"].to_pylist()) == {"train"}
    with pytest.raises(UsageError, match="holds no OU-MVLP: it has CASIA-B, GaitLU-1M"):
        shards.read_rows(store, ["OU-MVLP"])


def test_a_newer_store_is_refused(written: Path) -> None:
    manifest = json.loads((written / "manifest.json").read_text())
    manifest["schema_version"] = SCHEMA_VERSION + 1
    (written / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UsageError, match=f"schema version {SCHEMA_VERSION + 1}, this program reads version"):
        shards.read_rows(written)


def test_a_newer_shard_is_refused(written: Path) -> None:
    path = written / shards.read_manifest(written)["shards"][0]["path"]
    newer = pq.read_table(path).replace_schema_metadata({VERSION_KEY: b"99"})
    pq.write_table(newer, path)
    with pytest.raises(UsageError, match=r"\.parquet has schema version 99"):
        shards.read_rows(written)


def test_a_folder_without_a_manifest_is_no_store(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"run `python -m jobs\.ingest` first"):
        shards.read_manifest(tmp_path)


def test_nothing_is_left_half_written(written: Path, monkeypatch) -> None:
    before = sorted(written.rglob("*"))

    def full(*_args, **_kwargs) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq, "write_table", full)
    with pytest.raises(OSError, match="No space left"):
        shards.write_block(
            written, ["x"], [dict.fromkeys(SEQUENCE_SCHEMA.names) | {"collection": "C", "split": "s"}], []
        )
    assert [path for path in sorted(written.rglob("*")) if path.is_file()] == [p for p in before if p.is_file()]


def test_empty_tables_keep_their_columns(written: Path) -> None:
    assert shards.read_rows(written, split="none").num_rows == 0
    assert isinstance(shards.read_rows(written, split="none"), pa.Table)
