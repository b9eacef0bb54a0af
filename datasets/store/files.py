"""The Parquet files of a store and their records: which columns are read, and the schema version check.

A record is what `blocks/<block>.json` and `manifest.json` hold of a file; its path is relative to the store. A reader
goes by records alone: a file without a record does not exist.
"""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any, NotRequired

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from typing_extensions import TypedDict

from datasets.schema.errors import Damaged, Unreadable, UsageError
from datasets.schema.rows import FRAME_COLUMNS, READABLE_VERSIONS, REJECT_SCHEMA, SEQUENCE_SCHEMA, VERSION_KEY
from datasets.storage import Place, thread_map

_OTHERS = "its bytes are others than those that were written"
Row = dict[str, Any]  # a row of SEQUENCE_SCHEMA or REJECT_SCHEMA, by column


class FileRecord(TypedDict):
    """A Parquet file of a store."""

    path: str
    rows: int
    bytes: int
    digest: NotRequired[str]  # of the bytes; stores of earlier versions have none
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
    """Columns of one file, without the rows that `skip` names.

    UsageError for another schema version. Damaged where the file is gone, or not what was written.
    """
    try:
        table = _read_parquet(store / file["path"], file, columns)
    except (OSError, pa.ArrowException, Damaged) as error:
        if (why := damage_of(store, file)) is None:
            raise  # the machine's, as a network that is gone
        raise Damaged(
            f"{store / file['path']} is damaged ({why}): {cost_of(file)} until the same `python -m jobs.ingest` of "
            f"{collection_of(file)} is run again, which makes them anew"
        ) from error
    schema = REJECT_SCHEMA if is_reject(file) else SEQUENCE_SCHEMA
    for number, name in enumerate(columns):  # a file of an earlier version lacks columns of a later one
        if name not in table.schema.names:
            table = table.add_column(number, schema.field(name), pa.nulls(table.num_rows, schema.field(name).type))
    table = table.cast(pa.schema([schema.field(name) for name in columns])) if columns else table
    if skipped := file.get("skip"):
        table = table.filter(pa.array(~np.isin(np.arange(table.num_rows), skipped)))
    return table


def _read_parquet(place: Place, file: FileRecord, columns: list[str]) -> pa.Table:
    """Columns of one file. Where frames are among them, which are nearly all of it, all of its bytes are checked.

    Else the checksums of pages are, which do not cover dictionaries and what lies between the pages.
    """
    with _open(place, file, columns) as source, pq.ParquetFile(source, page_checksum_verification=True) as parquet:
        check_version(int((parquet.schema_arrow.metadata or {}).get(VERSION_KEY, 0)), place)
        if parquet.metadata.num_rows != file["rows"]:
            rows = f"{parquet.metadata.num_rows:,} rows, and not {file['rows']:,}"
            raise Damaged(f"{place} has {rows}: run the same `python -m jobs.ingest` again, which counts them anew")
        return parquet.read(columns=columns).replace_schema_metadata(None)


def _open(place: Place, file: FileRecord, columns: list[str]) -> pa.NativeFile:
    if "digest" not in file or set(FRAME_COLUMNS).isdisjoint(columns):
        return place.open()
    content = place.read()
    if digest_of(content) != file["digest"]:
        raise Damaged(f"{place} {_OTHERS}")
    return pa.BufferReader(content)


def damage_of(store: Place, file: FileRecord) -> str | None:
    """Why a file is not what was written; None where it is. Reads all of it. OSError where that is not possible.

    A file without a digest is read as Parquet instead.
    """
    try:
        content = (store / file["path"]).read()
    except (FileNotFoundError, NotADirectoryError):
        return "it is gone"
    except Unreadable as error:
        return str(error)
    if len(content) != file["bytes"]:
        return f"it has {len(content):,} of {file['bytes']:,} bytes"
    if "digest" in file:
        return None if digest_of(content) == file["digest"] else _OTHERS
    try:
        rows = pq.read_table(pa.BufferReader(content)).num_rows
    except (OSError, pa.ArrowException) as error:
        return " ".join(str(error).split())
    return None if rows == file["rows"] else f"it has {rows:,} of {file['rows']:,} rows"


def digest_of(content: bytes | pa.Buffer) -> str:
    """By which bytes are told from others."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def cost_of(file: FileRecord) -> str:
    """What is lost with a file."""
    return f"its {'rejects' if is_reject(file) else 'sequences'} ({file['rows']:,}) are lost"


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
