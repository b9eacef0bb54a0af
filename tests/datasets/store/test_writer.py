"""The manifest counts and describes every committed sequence, and each of them once."""

from pathlib import Path

from datasets.reports import text
from datasets.storage import open_place
from datasets.store.blocks import Blocks, block_name
from datasets.store.reader import Store
from datasets.store.writer import StoreWriter


def test_manifest_counts_and_describes(written: Path) -> None:
    store = Store.open(written)
    entry = store.collections["CASIA-B"]
    assert (entry["sequences"], entry["subjects"], entry["splits"].keys()) == (6, 1, {"train"})
    said = text.describe(store.manifest)
    assert "CASIA-B: 6 sequences, 1 subjects" in said
    assert "cite CASIA-B: somebody" in said


def test_finish_returns_the_store_that_a_reader_opens(written: Path) -> None:
    finished = StoreWriter.open(written).finish()
    assert finished.manifest == Store.open(written).manifest
    assert finished.rows().equals(Store.open(written).rows())


def test_sequences_that_two_runs_committed_count_once(made, written: Path) -> None:
    ids, rows, rejects = made(10)
    before = Store.open(written).collections["CASIA-B"]
    writer = StoreWriter.open(written)
    writer.blocks().write(ids[3:], rows[3:], [one for one in rejects if one["sequence_id"] in ids[3:]])
    assert writer.rows("CASIA-B", ["sequence_id"]).num_rows == 6 + 7  # as committed
    whole = writer.finish()
    assert Store.open(written).rows()["sequence_id"].to_pylist() == sorted(ids)
    frames = Store.open(written).rejects().select(["sequence_id", "frame"]).to_pylist()
    assert len(frames) == len({tuple(one.values()) for one in frames}) == len(rejects)
    entry = whole.collections["CASIA-B"]
    assert (before["sequences"], entry["sequences"]) == (6, 10)
    assert entry["dropped_frames"] == len(rejects)


def test_a_merged_block_replaces_its_pieces_before_they_are_removed(made, written: Path) -> None:
    """Killed between the commit of the merged block and the removal of its pieces."""
    blocks = Blocks(open_place(written))
    ids, rows, _ = made(10)
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
