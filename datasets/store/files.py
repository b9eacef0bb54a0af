"""The Parquet files of a store and their records: which columns are read, and the schema version check.

A record is what `blocks/<block>.json` and `manifest.json` hold of a file; its path is relative to the store. A reader
goes by records alone: a file without a record does not exist.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NotRequired, TypedDict

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from datasets.schema.errors import UsageError
from datasets.schema.rows import READABLE_VERSIONS, REJECT_SCHEMA, SEQUENCE_SCHEMA, VERSION_KEY
from datasets.storage import Place, thread_map

Row = dict[str, Any]  # a row of SEQUENCE_SCHEMA or REJECT_SCHEMA, by column


class FileRecord(TypedDict):
    """A Parquet file of a store."""

    path: str
    rows: int
    bytes: int
    skip: NotRequired[list[int]]  # numbers of the rows that another file holds too


def check_version(version: object, where: Place) -> None:
    """UsageError for anything written in a schema version that is not known."""
    if version not in READABLE_VERSIONS:
        known = " and ".join(map(str, READABLE_VERSIONS))
        raise UsageError(
            f"{where} has schema version {version}, this program reads version {known}: "
            "use the program that wrote it, or ingest the collections again"
        )


def read_file(store: Place, file: FileRecord, columns: list[str]) -> pa.Table:
    """Columns of one file, without the rows that `skip` names. UsageError for another schema version."""
    place = store / file["path"]
    with place.open() as source, pq.ParquetFile(source) as parquet:
        check_version(int((parquet.schema_arrow.metadata or {}).get(VERSION_KEY, 0)), place)
        table = parquet.read(columns=columns).replace_schema_metadata(None)
    schema = REJECT_SCHEMA if is_reject(file) else SEQUENCE_SCHEMA
    for number, name in enumerate(columns):  # a file of an earlier version lacks columns of a later one
        if name not in table.schema.names:
            table = table.add_column(number, schema.field(name), pa.nulls(table.num_rows, schema.field(name).type))
    table = table.cast(pa.schema([schema.field(name) for name in columns])) if columns else table
    if skipped := file.get("skip"):
        table = table.filter(pa.array(~np.isin(np.arange(table.num_rows), skipped)))
    return table


def read_files(store: Place, files: Sequence[FileRecord], columns: list[str], schema: pa.Schema) -> pa.Table:
    """Columns of several files of one schema, one after the other."""
    tables = list(thread_map(lambda file: read_file(store, file, columns), files))
    fields = pa.schema([schema.field(name) for name in columns])
    return pa.concat_tables(tables) if tables else fields.empty_table()


def is_reject(file: FileRecord) -> bool:
    """Whether a file holds rejects; else it is a shard."""
    return file["path"].startswith("rejects/")


def collection_of(file: FileRecord) -> str:
    """The collection whose rows or rejects a file holds."""
    (named,) = (part for part in file["path"].split("/") if part.startswith("collection="))
    return named.partition("=")[2]


def of_collections(files: Iterable[FileRecord], names: Iterable[str]) -> list[FileRecord]:
    """The files of some collections, in order."""
    wanted = set(names)
    return [file for file in files if collection_of(file) in wanted]
