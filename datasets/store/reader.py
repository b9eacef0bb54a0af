"""Reading a store: manifest, files, rows and rejects, of the schema version that this program writes."""

import json
from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from datasets.schema.errors import UsageError
from datasets.schema.rows import REJECT_SCHEMA, SCHEMA_VERSION, SEQUENCE_SCHEMA, VERSION_KEY
from datasets.storage import Place, at_once

Row = dict[str, object]


Manifest = dict[str, object]


def check_version(version: object, where: Place) -> None:
    """UsageError for anything written in another schema version."""
    if version != SCHEMA_VERSION:
        raise UsageError(
            f"{where} has schema version {version}, this program reads version {SCHEMA_VERSION}: "
            "use the program that wrote it, or ingest the collections again"
        )


def read_file(store: Place, file: Row, columns: list[str]) -> pa.Table:
    """Columns of one file of a store, without the rows that `skip` names. UsageError for another schema version."""
    schema = REJECT_SCHEMA if str(file["path"]).startswith("rejects/") else SEQUENCE_SCHEMA
    place = store / file["path"]
    with place.open() as source, pq.ParquetFile(source) as parquet:
        check_version(int((parquet.schema_arrow.metadata or {}).get(VERSION_KEY, 0)), place)
        table = parquet.read(columns=columns).replace_schema_metadata(None)
    table = table.cast(pa.schema([schema.field(name) for name in columns])) if columns else table
    if skipped := file.get("skip"):
        table = table.filter(pa.array(~np.isin(np.arange(table.num_rows), skipped)))
    return table


def read_files(store: Place, files: Sequence[Row], columns: list[str], schema: pa.Schema) -> pa.Table:
    """Columns of several files of one schema, one after the other."""
    tables = list(at_once(lambda file: read_file(store, file, columns), files))
    fields = pa.schema([schema.field(name) for name in columns])
    return pa.concat_tables(tables) if tables else fields.empty_table()


def is_reject(file: Row) -> bool:
    """Whether a file of a store holds rejects; else it is a shard."""
    return str(file["path"]).startswith("rejects/")


def collection_of(file: Row) -> str:
    """The collection of which a file of a store is."""
    (named,) = (part for part in str(file["path"]).split("/") if part.startswith("collection="))
    return named.partition("=")[2]


def read_manifest(store: Place) -> Manifest:
    """The manifest of a store; UsageError where there is none, or one that this program cannot read."""
    try:
        manifest = json.loads((store / "manifest.json").read())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UsageError(
            f"{store} holds no finished shards (no manifest.json): run `python -m jobs.ingest` first"
        ) from error
    check_version(manifest.get("schema_version"), store)
    return manifest


def files_of(store: Place, collections: Iterable[str] | None = None, split: str | None = None) -> list[Row]:
    """The files with the rows of some collections (all where None) and one split (all where None), to be read alone."""
    manifest = read_manifest(store)
    known = set(manifest["collections"])
    wanted = known if collections is None else set(collections)
    if wanted - known:
        raise UsageError(f"{store} holds no {sorted(wanted - known)[0]}: it has {', '.join(sorted(known))}")
    return [
        file
        for file in manifest["shards"]
        if collection_of(file) in wanted and (split is None or f"/split={split}/" in file["path"])
    ]


def read_rows(
    store: Place,
    collections: Iterable[str] | None = None,
    split: str | None = None,
    columns: list[str] | None = None,
) -> pa.Table:
    """Rows of a store in order of sequence_id, of the collections (all where None) and the split (all where None)."""
    files = files_of(store, collections, split)
    columns = columns or SEQUENCE_SCHEMA.names
    with_id = columns if "sequence_id" in columns else ["sequence_id", *columns]
    return read_files(store, files, with_id, SEQUENCE_SCHEMA).sort_by("sequence_id").select(columns)


def read_rejects(store: Place) -> pa.Table:
    """Every rejected sequence and dropped frame of a store."""
    return read_files(store, read_manifest(store)["rejects"], REJECT_SCHEMA.names, REJECT_SCHEMA)
