"""The manifest of a store: everything that its committed blocks hold together, and the way to read it.

    <store>/collections/<name>.json    what is to be said of a collection: its root, whom to cite, how it was read
    <store>/manifest.json              written last: the files with their rows, and what is known of each collection

A reader goes by the manifest alone. Runs that write into one store at the same time do not disturb each other: their
blocks have different names, a manifest gathers whatever is committed when it is written, and where two of them did the
same sequence, the manifest names the rows to skip.
"""

import json
from collections import defaultdict

import numpy as np
import pyarrow as pa

from datasets.schema.rows import REJECT_SCHEMA, SCHEMA_VERSION, SEQUENCE_SCHEMA
from datasets.storage import Place, at_once
from datasets.store import blocks as shards
from datasets.store.reader import Manifest, Row, collection_of, is_reject, read_file, read_files
from datasets.store.sequence_ids import keys_of
from datasets.store.summary import KEPT_COLUMNS, LOST_COLUMNS, Summary

_MERGED = 256  # sequences of left-over pieces that become one block


def describe_collection(store: Place, name: str, facts: Row) -> None:
    """Note what is to be said of a collection beside its counts, before anything of it is written.

    facts: `published` and `anonymous` as in CollectionSpec; the others stand in the manifest as they are given.
    """
    (store / f"collections/{name}.json").write(json.dumps(facts, indent=1).encode())


def described(store: Place) -> dict[str, Row]:
    """What was noted of each collection that a run has begun to write, by name."""
    try:
        entries = (store / "collections").entries()
    except FileNotFoundError:
        return {}
    names = [one.name.removesuffix(".json") for one in entries if one.name.endswith(".json") and one.name[0] != "."]
    facts = at_once(lambda name: json.loads((store / f"collections/{name}.json").read()), names)
    return dict(zip(names, facts, strict=True))


def write_manifest(store: Place) -> Manifest:
    """Gather what is committed into manifest.json and return it.

    Pieces that a killed run left are merged first. Where another run commits blocks meanwhile, they are gathered too.
    """
    while True:
        merge_pieces(store)
        names = shards.block_names(store)
        manifest = _gather(store)
        (store / "manifest.json").write(json.dumps(manifest, indent=1).encode())
        if shards.block_names(store) == names:
            return manifest


def merge_pieces(store: Place) -> None:
    """Merge pieces that no task has merged, collection by collection."""
    by_collection: dict[str, list[Row]] = defaultdict(list)
    for record in shards.committed_blocks(store):
        if record["piece"]:
            by_collection[collection_of(record["files"][0])].append(record)
    for pieces in by_collection.values():
        batch: list[str] = []
        gathered = 0
        for record in pieces:
            batch.append(record["block"])
            gathered += record["sequences"]
            if gathered >= _MERGED or record is pieces[-1]:
                shards.merge(store, batch)
                batch, gathered = [], 0


def _gather(store: Place) -> Manifest:
    blocks = [block for block in shards.committed_blocks(store) if not block["piece"]]
    files = [dict(file) for block in blocks for file in block["files"]]
    rows = [file for file in files if not is_reject(file)]
    rejects = [file for file in files if is_reject(file)]
    _skip_doubles(store, rows, rejects)
    facts = described(store)
    entries = {}
    for name in sorted({collection_of(file) for file in files}):
        said = dict(facts[name])
        counted = Summary(said.pop("published"), said.pop("anonymous"))
        for file in (file for file in files if collection_of(file) == name):
            if is_reject(file):
                counted.add(SEQUENCE_SCHEMA.empty_table(), read_file(store, file, LOST_COLUMNS))
            else:
                counted.add(read_file(store, file, KEPT_COLUMNS), REJECT_SCHEMA.empty_table())
        entries[name] = {**said, **counted.result()}
    return {"schema_version": SCHEMA_VERSION, "collections": entries, "shards": rows, "rejects": rejects}


def committed_rows(store: Place, collection: str, columns: list[str]) -> pa.Table:
    """Columns of all committed rows of a collection, also of a run that was killed before it wrote a manifest."""
    files = [file for block in shards.committed_blocks(store) for file in block["files"] if not is_reject(file)]
    return read_files(store, [file for file in files if collection_of(file) == collection], columns, SEQUENCE_SCHEMA)


def _skip_doubles(store: Place, rows: list[Row], rejects: list[Row]) -> None:
    """Note in each file the rows that another file holds already: two runs at once may have done the same sequence."""
    done = _skip_known(store, rows, ["sequence_id"], np.zeros(0, np.uint64))
    _skip_known(store, rejects, ["sequence_id", "frame"], done)


def _skip_known(store: Place, files: list[Row], columns: list[str], known: np.ndarray) -> np.ndarray:
    """Marks every row whose key is known or was seen in an earlier file; returns all keys."""
    tables = at_once(lambda file: keys_of(_keys(read_file(store, file, columns))), files)
    keys = list(tables)
    every = np.concatenate([known, *keys])
    _, first = np.unique(every, return_index=True)
    fresh = np.zeros(len(every), dtype=bool)
    fresh[first] = True
    start = len(known)
    for file, mine in zip(files, keys, strict=True):
        if len(doubles := np.flatnonzero(~fresh[start : start + len(mine)])):
            file["skip"] = doubles.tolist()
        start += len(mine)
    return every


def _keys(table: pa.Table) -> list[str]:
    """The id of a row, or of a frame where a reject is one of a frame."""
    ids = table["sequence_id"].to_pylist()
    if "frame" not in table.schema.names:
        return ids
    frames = table["frame"].to_pylist()
    return [one if frame is None else f"{one}\n{frame}" for one, frame in zip(ids, frames, strict=True)]
