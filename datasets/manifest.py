"""The manifest of a store: everything that its committed blocks hold together, and the way to read it.

    <store>/manifest.json      written last: the files with their rows, and what is known of each collection

A reader goes by the manifest alone. Runs that write into one store at the same time do not disturb each other: their
blocks have different names, a manifest gathers whatever is committed when it is written, and where two of them did the
same sequence, the manifest names the rows to skip.
"""

import json
from collections import defaultdict
from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from datasets import shards
from datasets.schema import REJECT_SCHEMA, SCHEMA_VERSION, SEQUENCE_SCHEMA, SPLITS, UsageError
from datasets.shards import Row, read_file, read_files
from datasets.storage import Place, at_once

Manifest = dict[str, object]

_MERGED = 256  # sequences of left-over pieces that become one block


def write_manifest(store: Place, about: dict[str, Row]) -> Manifest:
    """Gather what is committed into manifest.json and return it. about: what is to be said of a collection beside it.

    Pieces that a killed run left are merged first. Where another run commits blocks meanwhile, they are gathered too.
    """
    while True:
        merge_pieces(store)
        names = shards.block_names(store)
        manifest = _gather(store, about)
        (store / "manifest.json").write(json.dumps(manifest, indent=1).encode())
        if shards.block_names(store) == names:
            return manifest


def merge_pieces(store: Place) -> None:
    """Merge pieces that no task has merged, collection by collection."""
    by_root: dict[str, list[Row]] = defaultdict(list)
    for record in shards.committed_blocks(store):
        if record["piece"]:
            by_root[record["root"]].append(record)
    for pieces in by_root.values():
        batch: list[str] = []
        gathered = 0
        for record in pieces:
            batch.append(record["block"])
            gathered += record["sequences"]
            if gathered >= _MERGED or record is pieces[-1]:
                shards.merge(store, batch)
                batch, gathered = [], 0


def _gather(store: Place, about: dict[str, Row]) -> Manifest:
    blocks = [block for block in shards.committed_blocks(store) if not block["piece"]]
    roots: dict[str, str] = {}
    files: dict[bool, list[Row]] = {False: [], True: []}
    for block in blocks:
        for file in block["files"]:
            files[file["path"].startswith("rejects/")].append(dict(file))
            roots[_collection(file)] = block["root"]
    _skip_doubles(store, files[False], files[True])
    entries = {}
    for name in sorted(roots):
        rows, rejects = ([file for file in files[kind] if _collection(file) == name] for kind in (False, True))
        entries[name] = {"root": roots[name], **about.get(name, {}), **_summary(store, rows, rejects)}
    return {"schema_version": SCHEMA_VERSION, "collections": entries, "shards": files[False], "rejects": files[True]}


def _summary(store: Place, rows: list[Row], rejects: list[Row]) -> Row:
    """Counts of one collection: sequences, subjects and frames in all and by split; rejects by reason."""
    kept = read_files(store, rows, ["split", "subject", "num_frames", "dropped_frames"], SEQUENCE_SCHEMA)
    lost = read_files(store, rejects, ["frame", "reason"], REJECT_SCHEMA)
    of_sequences = lost.filter(pc.is_null(lost["frame"]))
    of_frames = lost.filter(pc.is_valid(lost["frame"]))
    by_split = {split: kept.filter(pc.equal(kept["split"], split)) for split in SPLITS}
    return {
        **_counts(kept),
        "dropped_frames": pc.sum(kept["dropped_frames"]).as_py() or 0,
        "rejected_sequences": of_sequences.num_rows,
        "reject_reasons": _tally(of_sequences["reason"]),
        "dropped_frame_reasons": _tally(of_frames["reason"]),
        "splits": {split: _counts(part) for split, part in by_split.items() if part.num_rows},
    }


def _counts(rows: pa.Table) -> dict[str, int]:
    return {
        "sequences": rows.num_rows,
        "subjects": pc.count_distinct(rows["subject"]).as_py(),
        "frames": pc.sum(rows["num_frames"]).as_py() or 0,
    }


def _tally(reasons: pa.ChunkedArray) -> dict[str, int]:
    return {entry["values"]: entry["counts"] for entry in pc.value_counts(reasons.combine_chunks()).to_pylist()}


def _collection(file: Row) -> str:
    (named,) = (part for part in str(file["path"]).split("/") if part.startswith("collection="))
    return named.partition("=")[2]


def _skip_doubles(store: Place, rows: list[Row], rejects: list[Row]) -> None:
    """Note in each file the rows that another file holds already: two runs at once may have done the same sequence."""
    done = _skip_known(store, rows, ["sequence_id"], np.zeros(0, np.uint64))
    _skip_known(store, rejects, ["sequence_id", "frame"], done)


def _skip_known(store: Place, files: list[Row], columns: list[str], known: np.ndarray) -> np.ndarray:
    """Marks every row whose key is known or was seen in an earlier file; returns all keys."""
    tables = at_once(lambda file: shards.keys_of(_keys(read_file(store, file, columns))), files)
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


def read_manifest(store: Place) -> Manifest:
    """The manifest of a store; UsageError where there is none, or one that this program cannot read."""
    try:
        manifest = json.loads((store / "manifest.json").read())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UsageError(
            f"{store} holds no finished shards (no manifest.json): run `python -m jobs.ingest` first"
        ) from error
    shards.check_version(manifest.get("schema_version"), store)
    return manifest


def read_rows(
    store: Place,
    collections: Iterable[str] | None = None,
    split: str | None = None,
    columns: list[str] | None = None,
) -> pa.Table:
    """Rows of a store in order of sequence_id, of the collections (all where None) and the split (all where None)."""
    manifest = read_manifest(store)
    known = set(manifest["collections"])
    wanted = known if collections is None else set(collections)
    if wanted - known:
        raise UsageError(f"{store} holds no {sorted(wanted - known)[0]}: it has {', '.join(sorted(known))}")
    files = [
        file
        for file in manifest["shards"]
        if _collection(file) in wanted and (split is None or f"/split={split}/" in file["path"])
    ]
    columns = columns or SEQUENCE_SCHEMA.names
    with_id = columns if "sequence_id" in columns else ["sequence_id", *columns]
    return read_files(store, files, with_id, SEQUENCE_SCHEMA).sort_by("sequence_id").select(columns)


def read_rejects(store: Place) -> pa.Table:
    """Every rejected sequence and dropped frame of a store."""
    return read_files(store, read_manifest(store)["rejects"], REJECT_SCHEMA.names, REJECT_SCHEMA)
