"""The table of embeddings on disk or in object storage: what it is of, its parts, and reading it back.

    <table>/table.json                                    what it is of; `sequences` once all of it is there
            collection=CASIA-B/split=test/<part>.parquet  some sequences: their names, and a column for each method

A part is made of a few rows of one shard, and is there whole or not at all: what a killed job left is gone on from, and
parts of rows that the store has lost or changed since are not read. Knows neither networks nor how parts are made.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from datasets.schema.errors import UsageError
from datasets.storage import Place, at_once
from datasets.store.files import FileRecord, Row
from evaluation.distances.embeddings import Embeddings, Int8Embeddings, quantise

Form = Literal["float32", "int8"]
NAMES = ("sequence_id", "collection", "split", "subject", "condition", "view", "modality", "labels", "num_frames")
TABLE = "table.json"
_SCALES = " scales"  # what the column of an int8 method's scales is called, after its name
_ROWS = 64  # of a part: what a killed actor loses at most
_READ_AT_ONCE = 16  # parts


@dataclass(frozen=True)
class Part:
    """Rows `start` to `stop` of one file of a store, as `read_file` gives them."""

    file: FileRecord
    start: int
    stop: int

    @property
    def path(self) -> str:
        """Below the table; another one where the file was written anew, or other rows of it are skipped."""
        path = self.file["path"].removesuffix(".parquet")
        version = hashlib.sha256(json.dumps(self.file, sort_keys=True).encode()).hexdigest()[:8]
        return f"{path}-{version}-{self.start:06d}.parquet"


def parts_of(file: FileRecord) -> list[Part]:
    """The parts of a file of a store, in order."""
    rows = file["rows"] - len(file.get("skip", []))
    return [Part(file, start, min(start + _ROWS, rows)) for start in range(0, rows, _ROWS)]


def claim(table: Place, identity: Row) -> None:
    """Begin a table, or go on with one of the same identity; UsageError for a place that holds anything else."""
    if (table / TABLE).exists():
        there = json.loads((table / TABLE).read())
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
    """The parts that are not there yet."""
    there = at_once(lambda part: (table / part.path).exists(), parts)
    return [part for part, found in zip(parts, there, strict=True) if not found]


def finish(table: Place, parts: Sequence[Part], sequences: int) -> None:
    """Say that all is there; what is no part of the table any more is taken away."""
    kept = {part.path for part in parts}
    for folder in sorted({path.rpartition("/")[0] for path in kept}):
        for entry in (table / folder).entries():
            if entry.kind == "file" and f"{folder}/{entry.name}" not in kept:
                (table / f"{folder}/{entry.name}").remove()
    identity = json.loads((table / TABLE).read())
    said = {**identity, "parts": sorted(kept), "sequences": sequences}
    (table / TABLE).write(json.dumps(said, indent=1).encode())


def write_part(place: Place, rows: pa.Table, embeddings: dict[str, np.ndarray], form: Form) -> None:
    """rows: NAMES at least. embeddings: float32 [n, C, P] by method; kept as bytes where the form is int8."""
    table = rows.select(list(NAMES))
    for method, values in embeddings.items():
        if form == "int8":
            small = quantise(values)
            table = table.append_column(method, _tensors(small.values))
            table = table.append_column(method + _SCALES, _tensors(small.scales))
        else:
            table = table.append_column(method, _tensors(values))
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", compression_level=1, use_dictionary=False)
    place.write(sink.getvalue())


@dataclass(frozen=True, eq=False)
class EmbeddingTable:
    """A finished table, of which the names are in memory: NAMES of its sequences, in order of sequence_id."""

    place: Place
    names: pa.Table
    methods: tuple[str, ...]
    form: Form
    _parts: tuple[str, ...]
    _order: np.ndarray  # of the rows of all parts
    _part_of: np.ndarray  # of each row of all parts

    def embeddings(self, method: str) -> Embeddings:
        """Those of one method, float32 [n, C, P], or as bytes: one method at a time is in memory."""
        if method not in self.methods:
            raise UsageError(f"{self.place} has no embeddings of {method!r}: it has {', '.join(self.methods)}")
        values = self._read(method)
        return values if self.form == "float32" else Int8Embeddings(values, self._read(method + _SCALES))

    def shard_of(self, number: int) -> str:
        """The file of the store in which a sequence lies, by its number."""
        folder, _, file = self._parts[self._part_of[self._order[number]]].rpartition("/")
        return f"{folder}/{file.rsplit('-', 2)[0]}.parquet"

    def _read(self, column: str) -> np.ndarray:
        """A column of tensors in the order of the names, without a second copy of it all."""
        numbers = np.empty(len(self._order), dtype=np.int64)
        numbers[self._order] = np.arange(len(self._order))
        whole, filled = None, 0
        for start in range(0, len(self._parts), _READ_AT_ONCE):
            some = self._parts[start : start + _READ_AT_ONCE]
            for one in at_once(lambda path: _read_column(self.place / path, column), some):
                if whole is None:
                    whole = np.empty((len(numbers), *one.shape[1:]), dtype=one.dtype)
                whole[numbers[filled : filled + len(one)]] = one
                filled += len(one)
        assert whole is not None and filled == len(whole), f"{self.place}: {filled} of {len(self._order)} rows"
        return whole


def read_table(place: Place, collection: str | None = None) -> EmbeddingTable:
    """A table of embeddings, of one collection alone if it is named; UsageError where there is no finished one."""
    try:
        said = json.loads((place / TABLE).read())
    except OSError as error:
        raise UsageError(f"{place} is no table of embeddings (no {TABLE}): run `python -m jobs.embed` first") from error
    if "sequences" not in said:
        raise UsageError(f"{place} is not finished: run the same `python -m jobs.embed` again")
    parts = [path for path in said["parts"] if collection is None or path.startswith(f"collection={collection}/")]
    if not parts:
        raise UsageError(f"{place} has no embeddings of {collection}: embed it with --collections {collection}")
    tables = list(at_once(lambda path: _read_names(place / path), parts))
    names, part_of = pa.concat_tables(tables), np.repeat(np.arange(len(parts)), [one.num_rows for one in tables])
    order = np.argsort(np.asarray(names["sequence_id"].to_pylist(), dtype=object), kind="stable").astype(np.int64)
    methods, form = tuple(said["methods"]), said["form"]
    return EmbeddingTable(place, names.take(order), methods, form, tuple(parts), order, part_of)


def _read_names(place: Place) -> pa.Table:
    with place.open() as source:
        return pq.read_table(source, columns=list(NAMES))


def _read_column(place: Place, column: str) -> np.ndarray:
    """A column of tensors."""
    with place.open() as source:
        return pq.read_table(source, columns=[column])[column].combine_chunks().to_numpy_ndarray()


def _tensors(values: np.ndarray) -> pa.Array:
    """[n, ...] as one column of tensors."""
    return pa.FixedShapeTensorArray.from_numpy_ndarray(np.ascontiguousarray(values))
