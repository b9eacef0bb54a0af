"""python -m benchmarks.contours --root <OpenGait pickle tree> [--every 1]

Contours against packed bits and against the pickles themselves, on the same sequences: whether every frame decodes bit
for bit, bytes per frame in zstd Parquet, and rates. Rates are those of one process; compare them with each other, not
across machines.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tyro

from datasets import storage
from datasets.catalog import registry
from datasets.contours import codec
from datasets.contours.codec import contours_of
from datasets.ingest import layouts, read_frames, sequence_to_row
from datasets.preprocessing.encoder_input import to_input
from datasets.preprocessing.silhouettes import THRESHOLD
from datasets.schema.rows import SEQUENCE_SCHEMA
from datasets.store import blocks

_RATED = 200  # sequences on which rates are measured


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """What to measure on."""

    root: str
    """A tree of OpenGait pickles of the collection."""
    collection: str = "CASIA-B"
    """The collection that the tree is of."""
    every: int = 1
    """Measure every n-th sequence."""


def main(arguments: Arguments) -> None:
    """Measure and print."""
    root = layouts.find_root(storage.open_place(arguments.root), registry.find(arguments.collection))
    refs = list(layouts.list_sequences(root))[:: arguments.every]
    masks: list[np.ndarray] = []
    rows: list[sequence_to_row.Row] = []
    exact = frames = 0
    for ref in refs:
        raw = np.stack(read_frames.read(root, ref, np.asarray).frames)
        row = sequence_to_row.ingest_sequence(root, ref).row
        assert row is not None, f"{ref.folder} was rejected"
        decoded = codec.decode(contours_of(row))
        exact += int((decoded == (raw > THRESHOLD)).all(axis=(1, 2)).sum())
        frames += len(raw)
        rows.append(row)
        if len(masks) < _RATED:
            masks.append(decoded)
    print(f"{len(refs):,} sequences, {frames:,} frames; {exact:,} decode bit for bit to the thresholded mask")
    print(f"contours in Parquet      {_parquet_bytes(rows) / frames:8.1f} bytes per frame")
    packed = [{"bits": np.packbits(codec.decode(contours_of(row))).tobytes()} for row in rows]
    print(f"packed bits in Parquet   {_bytes(pa.Table.from_pylist(packed)) / frames:8.1f} bytes per frame")
    pickled = sum(_pickle_bytes(Path(arguments.root) / ref.folder) for ref in refs)
    print(f"pickles                  {pickled / frames:8.1f} bytes per frame")
    _rates(masks)
    assert exact == frames, "some frames do not decode bit for bit"


def _parquet_bytes(rows: list[dict]) -> int:
    return sum(
        _bytes(pa.Table.from_pylist(rows[start : start + blocks.ROW_GROUP], schema=SEQUENCE_SCHEMA))
        for start in range(0, len(rows), blocks.ROW_GROUP)
    )


def _bytes(table: pa.Table) -> int:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", compression_level=blocks.ZSTD_LEVEL, use_dictionary=False)
    return sink.getvalue().size


def _pickle_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*.pkl"))


def _rates(masks: list[np.ndarray]) -> None:
    coded = [codec.encode(one) for one in masks]
    packed = [np.packbits(one) for one in masks]
    frames = sum(len(one) for one in masks)
    clips = [np.linspace(0, len(one) - 1, 16).astype(int) for one in masks]
    _rate("encode contours", "frames", frames, lambda: [codec.encode(one) for one in masks])
    _rate("decode contours", "frames", frames, lambda: [codec.decode(one) for one in coded])
    _rate("unpack bits", "frames", frames, lambda: [np.unpackbits(one) for one in packed])
    chosen = list(zip(coded, clips, strict=True))
    _rate("16-frame clips", "clips", len(masks), lambda: [to_input(codec.decode(*one)) for one in chosen])


def _rate(name: str, unit: str, count: int, work: Callable[[], object]) -> None:
    """Prints the best rate of five: other processes on the machine can make it slower, never faster."""
    best = min(_seconds(work) for _ in range(5))
    print(f"{name:<24} {count / best:10,.0f} {unit} per second")


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


if __name__ == "__main__":
    main(tyro.cli(Arguments))
