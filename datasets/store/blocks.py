"""The shards of a store: sequences written block by block, whole or not at all, and read back.

    <store>/collection=CASIA-B/split=train/<block>.parquet     rows of SEQUENCE_SCHEMA
    <store>/rejects/collection=CASIA-B/<block>.parquet         rows of REJECT_SCHEMA
    <store>/blocks/<block>.json                                written after the two above: the block is committed

A block is what one task made of some sequences, named by a hash of their ids. Files of a block without its record are
left-overs of a killed task: no reader sees them, and the next run writes them anew. A task may commit its work in
pieces, so that less of it is lost, and then merges them into one block. What all blocks hold together is
datasets/store/manifest.py's matter; this file knows nothing of how sequences are found or read, and nothing of a
cluster.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from datasets.schema.rows import REJECT_SCHEMA, SEQUENCE_SCHEMA
from datasets.storage import Place, at_once
from datasets.store.reader import Row, read_file
from datasets.store.sequence_ids import keys_of

ROW_GROUP = 256  # sequences: about 1 MB, small enough to read a few at random
ZSTD_LEVEL = 9  # 36 bytes a frame on real silhouettes; level 3 takes 39, level 19 takes 34 at 20 times the time


def block_name(sequence_ids: Sequence[str], attempt: str = "") -> str:
    """The name of the block that holds just these sequences, in whatever order.

    attempt: anything that tells it from the block of the same sequences in which they were rejected before.
    """
    return hashlib.sha256("\n".join([*sorted(sequence_ids), attempt]).encode()).hexdigest()[:16]


def write_block(
    store: Place,
    sequence_ids: Sequence[str],
    rows: list[Row],
    rejects: list[Row],
    piece: bool = False,
    attempt: str = "",
) -> Row:
    """Write what became of some sequences of one collection and commit it; returns the block's record.

    piece: whether it is to be merged with others, and until then is no part of the store that readers see.
    """
    tables = {}
    for content, schema, prefix in ((rows, SEQUENCE_SCHEMA, ""), (rejects, REJECT_SCHEMA, "rejects/")):
        by_folder: dict[str, list[Row]] = defaultdict(list)
        for row in content:
            split = f"/split={row['split']}" if schema is SEQUENCE_SCHEMA else ""
            by_folder[f"{prefix}collection={row['collection']}{split}"].append(row)
        tables |= {folder: pa.Table.from_pylist(some, schema=schema) for folder, some in by_folder.items()}
    facts = {"sequences": len(sequence_ids), "rejected": len(sequence_ids) - len(rows), "piece": piece, "replaces": []}
    return _commit(store, block_name(sequence_ids, attempt), tables, facts)


def merge(store: Place, names: Sequence[str], attempt: str = "") -> None:
    """Make one block of pieces of one collection, and take the pieces away; a run beside this one may have done so."""
    records = [record for name in sorted(set(names)) if (record := _record(store, name))]
    tables: dict[str, list[pa.Table]] = defaultdict(list)
    ids: set[str] = set()
    try:
        for file in (file for record in records for file in record["files"]):
            schema = REJECT_SCHEMA if file["path"].startswith("rejects/") else SEQUENCE_SCHEMA
            table = read_file(store, file, schema.names)
            ids.update(table["sequence_id"].to_pylist())
            tables[file["path"].rpartition("/")[0]].append(table.replace_schema_metadata(schema.metadata))
    except FileNotFoundError:  # just taken away: what is left is merged at the end of either run
        return
    if not records:
        return
    whole = {folder: pa.concat_tables(some) for folder, some in tables.items()}
    rejected, names = sum(record["rejected"] for record in records), [record["block"] for record in records]
    facts = {"sequences": len(ids), "rejected": rejected, "piece": False, "replaces": names}
    merged = _commit(store, block_name(list(ids), attempt), whole, facts)
    for record in records:
        if record["block"] != merged["block"]:
            _remove_block(store, record)


def _commit(store: Place, name: str, tables: dict[str, pa.Table], facts: Row) -> Row:
    """Write the files of a block, then its record, and return that."""
    files = []
    for folder, table in sorted(tables.items()):
        path = f"{folder}/{name}.parquet"
        files.append({"path": path, "rows": table.num_rows, "bytes": _write_parquet(store / path, table)})
    facts["replaces"] = [replaced for replaced in facts["replaces"] if replaced != name]
    record = {"block": name, **facts, "files": files}
    (store / f"blocks/{name}.json").write(json.dumps(record).encode())
    return record


def _remove_block(store: Place, record: Row) -> None:
    """The record first: files without a record do not exist."""
    (store / f"blocks/{record['block']}.json").remove()
    for file in record["files"]:
        (store / file["path"]).remove()


def find_block(store: Place, sequence_ids: Sequence[str], attempt: str = "") -> Row | None:
    """The record of the committed block that holds just these sequences; None where there is none."""
    return _record(store, block_name(sequence_ids, attempt))


def block_names(store: Place) -> list[str]:
    """The names of all blocks with a record, in order."""
    try:
        entries = (store / "blocks").entries()
    except FileNotFoundError:
        return []
    return [
        entry.name.removesuffix(".json") for entry in entries if entry.name.endswith(".json") and entry.name[0] != "."
    ]


def committed_blocks(store: Place) -> list[Row]:
    """The records of all committed blocks and pieces, in order of name, without those that another one replaces."""
    records = [record for record in at_once(lambda name: _record(store, name), block_names(store)) if record]
    replaced = {name for record in records for name in record["replaces"]}
    return [record for record in records if record["block"] not in replaced]


def _record(store: Place, name: str) -> Row | None:
    try:
        return json.loads((store / f"blocks/{name}.json").read())
    except FileNotFoundError:  # replaced since it was listed, by a run beside this one
        return None


def committed_keys(store: Place, rejects: bool = True) -> np.ndarray:
    """The keys of all sequences that a committed block holds as a row, or also as a reject: uint64, in order."""
    while True:
        files = [file for block in committed_blocks(store) for file in block["files"]]
        files = [file for file in files if rejects or not str(file["path"]).startswith("rejects/")]
        try:
            keys = [np.zeros(0, np.uint64), *at_once(lambda file: _keys(store, file), files)]
        except FileNotFoundError:  # a run beside this one has just merged some pieces: they have another name now
            continue
        return np.unique(np.concatenate(keys))


def _keys(store: Place, file: Row) -> np.ndarray:
    return keys_of(read_file(store, file, ["sequence_id"])["sequence_id"].to_pylist())


def _write_parquet(place: Place, table: pa.Table) -> int:
    """Write a Parquet file, whole or not at all; returns its size."""
    sink = pa.BufferOutputStream()
    pq.write_table(
        table,
        sink,
        compression="zstd",
        compression_level=ZSTD_LEVEL,
        row_group_size=ROW_GROUP,
        use_dictionary=[name for name in table.schema.names if name in ("collection", "split", "subject", "view")],
    )
    content = sink.getvalue()
    place.write(content)
    return content.size
