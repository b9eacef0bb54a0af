"""A table of embeddings: its files, and how it is claimed, written in parts, finished and read.

    <table>/table.json                                    its identity; `sequences` once it is complete
            collection=CASIA-B/split=test/<part>.parquet  some sequences: their names, and a column for each method

A part holds the embeddings of a few rows of one shard and is written atomically, so that a killed job is resumed. Parts
of rows that the store has lost or changed since are not read.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from datasets.schema.errors import Damaged, UsageError
from datasets.storage import Place, read_json, thread_map
from datasets.store.files import FileRecord, Row
from evaluation.distances.int8_embeddings import Embeddings, Int8Embeddings, quantise
from orchestration.run.precision import Precision

Form = Literal["float32", "int8"]
NAMES = ("sequence_id", "collection", "split", "subject", "condition", "view", "modality", "labels", "num_frames")
TABLE = "table.json"
_SCALES = " scales"  # suffix of the column with the scales of an int8 method
_ROWS = 64  # in a part: what a killed actor loses at most
_PARTS = 16  # that are read together


@dataclass(frozen=True)
class Part:
    """Rows `start` to `stop` of one file of a store, as `read_file` gives them."""

    file: FileRecord
    start: int
    stop: int

    @property
    def path(self) -> str:
        """Relative to the table; changes where the file was rewritten, or other rows of it are skipped."""
        path = self.file["path"].removesuffix(".parquet")
        version = hashlib.sha256(json.dumps(self.file, sort_keys=True).encode()).hexdigest()[:8]
        return f"{path}-{version}-{self.start:06d}.parquet"


def parts_of(file: FileRecord) -> list[Part]:
    """The parts of a file of a store, in order."""
    rows = file["rows"] - len(file.get("skip", []))
    return [Part(file, start, min(start + _ROWS, rows)) for start in range(0, rows, _ROWS)]


def recorded_precision(table: Place) -> Precision | None:
    """The precision in which a table was begun; None where there is no table yet."""
    return _read(table).get("precision") if (table / TABLE).exists() else None


def claim(table: Place, identity: Row) -> None:
    """Begin a table, or resume one of the same identity; UsageError for a place that holds anything else."""
    if (table / TABLE).exists():
        there = _read(table)
        changed = [name for name in identity if there.get(name) != identity[name]]
        if changed:
            raise UsageError(
                f"{table} holds embeddings with {changed[0]} {there.get(changed[0])}, not {identity[changed[0]]}: "
                "give another place"
            )
        return
    if table.exists() and not table.is_empty_folder():
        raise UsageError(f"{table} exists and is no table of embeddings: give another place")
    (table / TABLE).write(json.dumps(identity, indent=1).encode())


def missing(table: Place, parts: Sequence[Part]) -> list[Part]:
    """The parts that are not written yet."""
    there = thread_map(lambda part: (table / part.path).exists(), parts)
    return [part for part, found in zip(parts, there, strict=True) if not found]


def finish(table: Place, parts: Sequence[Part], sequences: int) -> None:
    """Mark the table as complete, and delete files that are no part of it any more."""
    kept = {part.path for part in parts}
    for folder in sorted({path.rpartition("/")[0] for path in kept}):
        for entry in (table / folder).entries():
            if entry.kind == "file" and f"{folder}/{entry.name}" not in kept:
                (table / f"{folder}/{entry.name}").remove()
    identity = _read(table)
    said = {**identity, "parts": sorted(kept), "sequences": sequences}
    (table / TABLE).write(json.dumps(said, indent=1).encode())


def write_part(place: Place, rows: pa.Table, embeddings: Mapping[str, np.ndarray], form: Form) -> None:
    """Write a part. rows: NAMES at least. embeddings: float32 [n, C, P] by method; quantised where form is int8."""
    table = rows.select(list(NAMES))
    for method, values in embeddings.items():
        if form == "int8":
            small = quantise(values)
            table = table.append_column(method, _tensors(small.values))
            table = table.append_column(method + _SCALES, _tensors(small.scales))
        else:
            table = table.append_column(method, _tensors(values))
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", compression_level=1, use_dictionary=False, write_page_checksum=True)
    place.write(sink.getvalue())


@dataclass(frozen=True, eq=False)
class EmbeddingTable:
    """A complete table. names: NAMES of its sequences, in order of sequence_id; embeddings are read by method."""

    place: Place
    names: pa.Table
    methods: tuple[str, ...]
    form: Form
    _parts: tuple[str, ...]
    _order: np.ndarray  # of the rows of all parts
    _part_of: np.ndarray  # of each row of all parts

    def embeddings(self, method: str) -> Embeddings:
        """The embeddings by one method: float32 [n, C, P], or int8 with scales."""
        if method not in self.methods:
            raise UsageError(f"{self.place} has no embeddings of {method!r}: it has {', '.join(self.methods)}")
        values = self._read(method)
        return values if self.form == "float32" else Int8Embeddings(values, self._read(method + _SCALES))

    def shard_of(self, number: int) -> str:
        """The path of the shard that holds a sequence, by its number."""
        folder, _, file = self._parts[self._part_of[self._order[number]]].rpartition("/")
        return f"{folder}/{file.rsplit('-', 2)[0]}.parquet"

    def _read(self, column: str) -> np.ndarray:
        """A column of tensors in the order of `names`, without a second copy of all of it."""
        numbers = np.empty(len(self._order), dtype=np.int64)
        numbers[self._order] = np.arange(len(self._order))
        whole, filled = None, 0
        for start in range(0, len(self._parts), _PARTS):
            some = self._parts[start : start + _PARTS]
            for one in thread_map(lambda path: _read_column(self.place / path, column), some):
                if whole is None:
                    whole = np.empty((len(numbers), *one.shape[1:]), dtype=one.dtype)
                whole[numbers[filled : filled + len(one)]] = one
                filled += len(one)
        assert whole is not None and filled == len(whole), f"{self.place}: {filled} of {len(self._order)} rows"
        return whole


def read_table(place: Place, collection: str | None = None) -> EmbeddingTable:
    """Open a table, of one collection alone where it is named; UsageError where there is no complete one."""
    try:
        said = _read(place)
    except FileNotFoundError as error:
        raise UsageError(f"{place} is no table of embeddings (no {TABLE}): run `python -m jobs.embed` first") from error
    if "sequences" not in said:
        raise UsageError(f"{place} is not finished: run the same `python -m jobs.embed` again")
    parts = [path for path in said["parts"] if collection is None or path.startswith(f"collection={collection}/")]
    if not parts:
        raise UsageError(f"{place} has no embeddings of {collection}: embed it with --collections {collection}")
    tables = list(thread_map(lambda path: _read_names(place / path), parts))
    names, part_of = pa.concat_tables(tables), np.repeat(np.arange(len(parts)), [one.num_rows for one in tables])
    order = np.argsort(np.asarray(names["sequence_id"].to_pylist(), dtype=object), kind="stable").astype(np.int64)
    methods, form = tuple(said["methods"]), said["form"]
    return EmbeddingTable(place, names.take(order), methods, form, tuple(parts), order, part_of)


def _read(table: Place) -> dict[str, Any]:
    """What table.json says. Damaged where it is not what was written."""
    mend = f"delete {table}, and run the same command again, which embeds all anew"
    return read_json(dict[str, Any], table / TABLE, mend)


def _read_names(place: Place) -> pa.Table:
    return _read_part(place, list(NAMES))


def _read_column(place: Place, column: str) -> np.ndarray:
    """A column of tensors, [n, ...]."""
    return _read_part(place, [column])[column].combine_chunks().to_numpy_ndarray()


def _read_part(place: Place, columns: list[str]) -> pa.Table:
    """Columns of a part. Damaged where it is gone, or not what was written."""
    try:
        with place.open() as source:
            return pq.read_table(source, columns=columns, page_checksum_verification=True)
    except (OSError, pa.ArrowException) as error:
        there = place.exists()  # OSError where a network is gone
        if there and isinstance(error, OSError) and error.errno is not None:
            raise  # the machine's
        why = " ".join(str(error).split()) if there else "it is gone"
        raise Damaged(
            f"{place} is damaged ({why}): at most {_ROWS} sequences are lost; "
            "delete it, and run the command that wrote the table again, which embeds them anew"
        ) from error


def _tensors(values: np.ndarray) -> pa.Array:
    """[n, ...] as one column of tensors."""
    return pa.FixedShapeTensorArray.from_numpy_ndarray(np.ascontiguousarray(values))
