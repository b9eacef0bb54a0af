"""Blocks are committed whole or not at all, and what is committed is not made again."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from datasets.schema.rows import SEQUENCE_SCHEMA
from datasets.storage import open_place
from datasets.store.blocks import Blocks, block_name
from datasets.store.reader import Store
from datasets.store.sequence_ids import keys_of
from datasets.store.writer import StoreWriter


def test_files_of_a_block_that_was_not_committed_do_not_exist(made, written: Path) -> None:
    ids, rows, rejects = made(10)
    blocks = Blocks(open_place(written))
    blocks.write(ids[6:], rows[6:], rejects)
    (written / "blocks" / f"{block_name(ids[6:])}.json").unlink()  # killed just before the commit
    np.testing.assert_array_equal(blocks.keys(), np.unique(keys_of(ids[:6])))
    entry = StoreWriter.open(written).finish().collections["CASIA-B"]
    assert (entry["sequences"], entry["root"]) == (6, "somewhere")


def test_a_failed_write_leaves_no_file(written: Path, monkeypatch) -> None:
    before = sorted(written.rglob("*"))

    def full(*_args, **_kwargs) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq, "write_table", full)
    row = dict.fromkeys(SEQUENCE_SCHEMA.names) | {"collection": "C", "split": "s"}
    with pytest.raises(OSError, match="No space left"):
        Blocks(open_place(written)).write(["x"], [row], [])
    assert [path for path in sorted(written.rglob("*")) if path.is_file()] == [p for p in before if p.is_file()]


def test_pieces_are_not_read_until_they_are_merged(made, written: Path) -> None:
    blocks = Blocks(open_place(written))
    ids, rows, _ = made(12)
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


def test_a_restarted_task_makes_only_what_is_not_committed(made, tmp_path: Path) -> None:
    ids, rows, rejects = made(10)
    blocks, asked = Blocks(open_place(tmp_path)), []

    def make(some: slice) -> tuple[list[dict], list[dict]]:
        """The first of each piece is rejected; the first two attempts die in the third piece."""
        asked.append(some.start)
        if some.start == 8 and asked.count(8) <= 2:
            raise KeyboardInterrupt
        return rows[some][1:], [rejects[0] | {"sequence_id": ids[some][0], "frame": None}]

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            blocks.commit(ids, make, piece=4)
    assert blocks.commit(ids, make, piece=4) == 3  # are rejected
    assert asked == [0, 4, 8, 8, 8]
    assert [record["block"] for record in blocks.committed()] == [block_name(ids)]
    assert blocks.commit(ids, make, piece=4) == blocks.commit(ids, make, piece=10) == 3
    assert len(asked) == 5
    assert Blocks(open_place(tmp_path), attempt="again").find(ids) is None


def test_keys_of_rejected_sequences_can_be_left_out(made, tmp_path: Path) -> None:
    ids, rows, rejects = made(6)
    blocks = Blocks(open_place(tmp_path))
    blocks.write(ids, rows[1:], [rejects[0] | {"sequence_id": ids[0], "frame": None}])
    np.testing.assert_array_equal(blocks.keys(), np.unique(keys_of(ids)))
    np.testing.assert_array_equal(blocks.keys(rejects=False), np.unique(keys_of(ids[1:])))
