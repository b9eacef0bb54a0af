"""The store on disk: Parquet shards, rejects and the manifest; written whole or not at all, and read back.

    <store>/collection=CASIA-B/split=train/<block>.parquet     rows of SEQUENCE_SCHEMA
    <store>/rejects/collection=CASIA-B/<block>.parquet         rows of REJECT_SCHEMA
    <store>/blocks/<block>.json                                written after the two above: the block is committed
    <store>/manifest.json                                      written last: the committed files and their counts

A block is what one task made of some hundred sequences, named by a hash of their ids. Files of a block without its
record are left-overs of a killed task: no reader sees them, and the next run writes them anew. This file knows
nothing of how sequences are found or read, and nothing of a cluster.
"""

import hashlib
import json
import uuid
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from datasets.schema import REJECT_SCHEMA, SCHEMA_VERSION, SEQUENCE_SCHEMA, SPLITS, VERSION_KEY, UsageError

Row = dict[str, object]
Manifest = dict[str, object]

ROW_GROUP = 256  # sequences: about 1 MB, small enough to read a few at random
ZSTD_LEVEL = 9  # 36 bytes a frame on real silhouettes; level 3 takes 39, level 19 takes 34 at 20 times the time


def block_name(sequence_ids: Sequence[str]) -> str:
    """The name of the block that holds just these sequences."""
    return hashlib.sha256("\n".join(sequence_ids).encode()).hexdigest()[:16]


def write_block(store: Path, sequence_ids: Sequence[str], rows: list[Row], rejects: list[Row]) -> Row:
    """Write what became of some sequences of one collection and commit it; returns the block's record."""
    name = block_name(sequence_ids)
    by_folder: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_folder[f"collection={row['collection']}/split={row['split']}"].append(row)
    for reject in rejects:
        by_folder[f"rejects/collection={reject['collection']}"].append(reject)
    files = []
    for folder, content in sorted(by_folder.items()):
        path = f"{folder}/{name}.parquet"
        schema = REJECT_SCHEMA if folder.startswith("rejects/") else SEQUENCE_SCHEMA
        _write_parquet(store / path, pa.Table.from_pylist(content, schema=schema))
        files.append({"path": path, "rows": len(content), "bytes": (store / path).stat().st_size})
    record = {"block": name, "sequences": len(sequence_ids), "files": files}
    _write_whole(store / "blocks" / f"{name}.json", json.dumps(record).encode())
    return record


def committed_blocks(store: Path) -> list[Row]:
    """The records of all committed blocks, in order of name."""
    return [json.loads(path.read_text()) for path in sorted((store / "blocks").glob("*.json"))]


def committed_ids(store: Path) -> set[str]:
    """The ids of all sequences that a committed block holds, as a row or as a reject."""
    ids: set[str] = set()
    for block in committed_blocks(store):
        for file in block["files"]:
            ids.update(pq.read_table(store / file["path"], columns=["sequence_id"])["sequence_id"].to_pylist())
    return ids


def write_manifest(store: Path, roots: dict[str, str], about: dict[str, Row]) -> Manifest:
    """Gather the committed blocks into manifest.json and return it.

    roots: where each collection of this run was read from; those of earlier runs are kept. about: what is to be said of
    a collection beside its counts.
    """
    if (store / "manifest.json").is_file():
        earlier = read_manifest(store)["collections"]
        roots = {name: entry["root"] for name, entry in earlier.items()} | roots
    files = [file for block in committed_blocks(store) for file in block["files"]]
    rows = [file for file in files if not file["path"].startswith("rejects/")]
    rejects = [file for file in files if file["path"].startswith("rejects/")]
    columns = ["collection", "split", "subject", "num_frames", "dropped_frames"]
    kept = _read(store, rows, columns, SEQUENCE_SCHEMA)
    lost = _read(store, rejects, ["collection", "frame", "reason"], REJECT_SCHEMA)
    names = sorted(set(kept["collection"].to_pylist()) | set(lost["collection"].to_pylist()))
    manifest = {
        "schema_version": SCHEMA_VERSION,
        "collections": {
            name: {
                "root": roots.get(name),
                **about.get(name, {}),
                **_summary(
                    kept.filter(pc.equal(kept["collection"], name)), lost.filter(pc.equal(lost["collection"], name))
                ),
            }
            for name in names
        },
        "shards": rows,
        "rejects": rejects,
    }
    _write_whole(store / "manifest.json", json.dumps(manifest, indent=1).encode())
    return manifest


def _summary(kept: pa.Table, lost: pa.Table) -> Row:
    """Counts of one collection: sequences, subjects and frames in all and by split; rejects by reason."""
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


def read_manifest(store: Path) -> Manifest:
    """The manifest of a store; UsageError where there is none, or one that this program is too old to read."""
    path = store / "manifest.json"
    if not path.is_file():
        raise UsageError(f"{store} holds no finished shards (no manifest.json): run `python -m jobs.ingest` first")
    manifest = json.loads(path.read_text())
    _check_version(manifest.get("schema_version"), store)
    return manifest


def _check_version(version: int | None, where: Path) -> None:
    if version != SCHEMA_VERSION:
        raise UsageError(
            f"{where} has schema version {version}, this program reads version {SCHEMA_VERSION}: "
            "use the program that wrote it, or ingest the collections again"
        )


def read_rows(
    store: Path,
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
    files = []
    for file in manifest["shards"]:
        collection, of_split = (part.partition("=")[2] for part in file["path"].split("/")[:2])
        if collection in wanted and split in (None, of_split):
            files.append(file)
    columns = columns or SEQUENCE_SCHEMA.names
    with_id = columns if "sequence_id" in columns else ["sequence_id", *columns]
    return _read(store, files, with_id, SEQUENCE_SCHEMA).sort_by("sequence_id").select(columns)


def read_rejects(store: Path) -> pa.Table:
    """Every rejected sequence and dropped frame of a store."""
    return _read(store, read_manifest(store)["rejects"], REJECT_SCHEMA.names, REJECT_SCHEMA)


def _read(store: Path, files: list[Row], columns: list[str], schema: pa.Schema) -> pa.Table:
    tables = []
    for file in files:
        with pq.ParquetFile(store / file["path"]) as parquet:
            _check_version(int((parquet.schema_arrow.metadata or {}).get(VERSION_KEY, 0)), store / file["path"])
            tables.append(parquet.read(columns=columns).replace_schema_metadata(None))
    fields = pa.schema([schema.field(name) for name in columns])
    return pa.concat_tables(tables) if tables else fields.empty_table()


def _write_parquet(path: Path, table: pa.Table) -> None:
    """A whole Parquet file under its name, or none: written beside it and renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        pq.write_table(
            table,
            beside,
            compression="zstd",
            compression_level=ZSTD_LEVEL,
            row_group_size=ROW_GROUP,
            use_dictionary=[name for name in table.schema.names if name in ("collection", "split", "subject", "view")],
        )
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _write_whole(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        beside.write_bytes(content)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
