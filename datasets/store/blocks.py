"""The blocks of a store: sequences are committed block by block, each whole or not at all.

    <store>/collection=CASIA-B/split=train/<block>.parquet     rows of SEQUENCE_SCHEMA
    <store>/rejects/collection=CASIA-B/<block>.parquet         rows of REJECT_SCHEMA
    <store>/blocks/<block>.json                                written after the two above: the block is committed

A block is what one task made of some sequences, named by a hash of their ids. Files of a block without its record were
left by a killed task: no reader sees them, and the next run writes them anew. A task may commit its work in pieces, so
that a kill loses less of it, and then merges them into one block; readers do not see pieces.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from typing_extensions import TypedDict

from datasets.schema.errors import Damaged
from datasets.schema.rows import REJECT_SCHEMA, SEQUENCE_SCHEMA
from datasets.storage import Place, read_json, thread_map
from datasets.store.files import FileRecord, Row, collection_of, digest_of, is_reject, read_file
from datasets.store.sequence_ids import keys_of

ROW_GROUP = 256  # sequences: about 1 MB, small enough to read a few at random
ZSTD_LEVEL = 9  # 36 bytes a frame on real silhouettes; level 3 takes 39, level 19 takes 34 at 20 times the time
_MERGED = 256  # sequences of left-over pieces that become one block


class BlockRecord(TypedDict):
    """A committed block or piece."""

    block: str
    sequences: int
    rejected: int
    piece: bool
    replaces: list[str]  # pieces that it was merged from
    files: list[FileRecord]


def block_name(sequence_ids: Sequence[str], attempt: str = "") -> str:
    """The name of the block that holds exactly these sequences, in whatever order."""
    return hashlib.sha256("\n".join([*sorted(sequence_ids), attempt]).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Blocks:
    """The committed blocks of a store; travels to tasks, which commit theirs.

    attempt: part of the names of new blocks; tells a block from that of the same sequences that were rejected before.
    """

    store: Place
    attempt: str = ""

    def commit(
        self, sequence_ids: Sequence[str], make: Callable[[slice], tuple[list[Row], list[Row]]], piece: int
    ) -> int:
        """Make and commit a block of one collection in pieces of `piece` sequences; returns how many are rejected.

        make: rows and rejects of some of the sequences. A task that was killed is started again: it is not called for
        what is committed already, whole or in pieces.
        """
        if len(sequence_ids) <= piece:
            return self._commit_once(sequence_ids, slice(None), make, piece=False)["rejected"]
        if whole := self.find(sequence_ids):
            return whole["rejected"]
        cuts = [slice(start, start + piece) for start in range(0, len(sequence_ids), piece)]
        pieces = [self._commit_once(sequence_ids[cut], cut, make, piece=True) for cut in cuts]
        self.merge([one["block"] for one in pieces])
        return sum(one["rejected"] for one in pieces)

    def write(
        self, sequence_ids: Sequence[str], rows: list[Row], rejects: list[Row], piece: bool = False
    ) -> BlockRecord:
        """Write the rows and rejects of some sequences of one collection and commit them; returns the block's record.

        piece: whether it is to be merged with others, and until then is no part of the store that readers see.
        """
        tables: dict[str, pa.Table] = {}
        for content, schema, prefix in ((rows, SEQUENCE_SCHEMA, ""), (rejects, REJECT_SCHEMA, "rejects/")):
            by_folder: dict[str, list[Row]] = defaultdict(list)
            for row in content:
                split = f"/split={row['split']}" if schema is SEQUENCE_SCHEMA else ""
                by_folder[f"{prefix}collection={row['collection']}{split}"].append(row)
            tables |= {folder: pa.Table.from_pylist(some, schema=schema) for folder, some in by_folder.items()}
        rejected = len(sequence_ids) - len(rows)
        return self._write(tables, sequence_ids, rejected, piece, replaces=[])

    def merge(self, names: Sequence[str]) -> None:
        """Merge pieces of one collection into one block and remove the pieces; a concurrent run may have done so."""
        records = [record for name in sorted(set(names)) if (record := self.record(name))]
        tables: dict[str, list[pa.Table]] = defaultdict(list)
        ids: set[str] = set()
        try:
            for file in (file for record in records for file in record["files"]):
                schema = REJECT_SCHEMA if is_reject(file) else SEQUENCE_SCHEMA
                table = read_file(self.store, file, schema.names)
                ids.update(table["sequence_id"].to_pylist())
                tables[file["path"].rpartition("/")[0]].append(table.replace_schema_metadata(schema.metadata))
        except Damaged:
            if all(self.record(record["block"]) for record in records):
                raise
            return  # just removed by the other run: what is left is merged at the end of either run
        if not records:
            return
        whole = {folder: pa.concat_tables(some) for folder, some in tables.items()}
        rejected, replaces = sum(record["rejected"] for record in records), [record["block"] for record in records]
        merged = self._write(whole, list(ids), rejected, piece=False, replaces=replaces)
        for record in records:
            if record["block"] != merged["block"]:
                self.remove(record)

    def merge_left_over(self) -> None:
        """Merge the pieces that no task has merged, collection by collection."""
        by_collection: dict[str, list[BlockRecord]] = defaultdict(list)
        for record in self.committed():
            if record["piece"]:
                by_collection[collection_of(record["files"][0])].append(record)
        for pieces in by_collection.values():
            batch: list[str] = []
            gathered = 0
            for record in pieces:
                batch.append(record["block"])
                gathered += record["sequences"]
                if gathered >= _MERGED or record is pieces[-1]:
                    self.merge(batch)
                    batch, gathered = [], 0

    def find(self, sequence_ids: Sequence[str]) -> BlockRecord | None:
        """The record of the committed block that holds exactly these sequences; None where there is none."""
        return self.record(block_name(sequence_ids, self.attempt))

    def names(self) -> list[str]:
        """The names of all blocks with a record, in order."""
        try:
            entries = (self.store / "blocks").entries()
        except FileNotFoundError:
            return []
        names = [entry.name for entry in entries if entry.name.endswith(".json") and entry.name[0] != "."]
        return [name.removesuffix(".json") for name in names]

    def committed(self) -> list[BlockRecord]:
        """The records of all committed blocks and pieces, in order of name, without those that another one replaces."""
        records = [record for record in thread_map(self.record, self.names()) if record]
        replaced = {name for record in records for name in record["replaces"]}
        return [record for record in records if record["block"] not in replaced]

    def keys(self, rejects: bool = True) -> np.ndarray:
        """The keys of all sequences that a committed block holds as a row, or also as a reject: uint64, in order."""
        while True:
            names = self.names()
            files = [file for block in self.committed() for file in block["files"] if rejects or not is_reject(file)]
            try:
                keys = [np.zeros(0, np.uint64), *thread_map(self._keys, files)]
            except Damaged:
                if self.names() == names:
                    raise
                continue  # a concurrent run has just merged some pieces: they have another name now
            return np.unique(np.concatenate(keys))

    def _commit_once(
        self,
        sequence_ids: Sequence[str],
        cut: slice,
        make: Callable[[slice], tuple[list[Row], list[Row]]],
        piece: bool,
    ) -> BlockRecord:
        return self.find(sequence_ids) or self.write(sequence_ids, *make(cut), piece=piece)

    def _write(
        self, tables: dict[str, pa.Table], sequence_ids: Sequence[str], rejected: int, piece: bool, replaces: list[str]
    ) -> BlockRecord:
        """Write the files of a block, then its record, and return that."""
        name, files = block_name(sequence_ids, self.attempt), []
        for folder, table in sorted(tables.items()):
            path, content = f"{folder}/{name}.parquet", _as_parquet(table)
            (self.store / path).write(content)
            digest = digest_of(content)
            files.append(FileRecord(path=path, rows=table.num_rows, bytes=content.size, digest=digest))
        record = BlockRecord(
            block=name,
            sequences=len(sequence_ids),
            rejected=rejected,
            piece=piece,
            replaces=[replaced for replaced in replaces if replaced != name],
            files=files,
        )
        self.put(record)
        return record

    def put(self, record: BlockRecord) -> None:
        """Write the record of a block, whose files lie in the store."""
        (self.store / f"blocks/{record['block']}.json").write(json.dumps(record).encode())

    def remove(self, record: BlockRecord) -> None:
        """Remove a block. The record first: files without a record do not exist."""
        (self.store / f"blocks/{record['block']}.json").remove()
        for file in record["files"]:
            (self.store / file["path"]).remove()

    def record(self, name: str) -> BlockRecord | None:
        """The record of a block; None where there is none. UsageError where it cannot be read."""
        try:
            mend = "its sequences are lost until the same `python -m jobs.ingest` is run again"
            return read_json(BlockRecord, self.store / f"blocks/{name}.json", mend)
        except FileNotFoundError:  # replaced since it was listed, by a concurrent run
            return None

    def _keys(self, file: FileRecord) -> np.ndarray:
        """The keys of the sequences in a file; a reject of one frame is of a sequence that another file has."""
        if not is_reject(file):
            return keys_of(read_file(self.store, file, ["sequence_id"])["sequence_id"].to_pylist())
        rows = read_file(self.store, file, ["sequence_id", "frame"])
        return keys_of(rows.filter(pc.is_null(rows["frame"]))["sequence_id"].to_pylist())


def _as_parquet(table: pa.Table) -> pa.Buffer:
    """A table as the bytes of a Parquet file, whose readers notice other bytes in what they read."""
    sink = pa.BufferOutputStream()
    pq.write_table(
        table,
        sink,
        compression="zstd",
        compression_level=ZSTD_LEVEL,
        row_group_size=ROW_GROUP,
        write_page_checksum=True,
        use_dictionary=[name for name in table.schema.names if name in ("collection", "split", "subject", "view")],
    )
    return sink.getvalue()
