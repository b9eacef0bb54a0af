"""The sequences that training visits, memory-mapped for random access to their contours.

`write_map` writes rows of a store to flat files, once a node; every rank of the node maps them as a `Corpus`. Processes
share these pages and hold no copy of their own, whatever their number. The files may be removed once they are mapped.
"""

import mmap
import os
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from datasets.contours.chains import CodedFrames, offsets
from datasets.schema.collection import CollectionSpec
from datasets.schema.rows import WALK_COLUMNS
from datasets.store.selection import walk_names


class Corpus:
    """Sequences by row, 0..len-1, from a folder of `write_map`; a collection is a range of rows, in order of name.

    grids, first_frames, num_frames, walks: of each row, [rows]; equal numbers in `walks` are one recorded walk.
    frame_numbers: of all frames, as numbered on disk, [frames]. coded: the contours of all frames. descriptors: of the
    open files, by name.
    """

    def __init__(self, folder: Path) -> None:
        self._map({name: os.open(folder / name, os.O_RDONLY) for name in (TABLE, *ARRAYS)})

    @classmethod
    def inherited(cls, descriptors: Mapping[str, int]) -> "Corpus":
        """The corpus of the process that started this one and passed it the descriptors of the files, by name."""
        made = cls.__new__(cls)
        made._map(descriptors)
        return made

    def __reduce__(self) -> tuple[Callable[[Mapping[str, int]], "Corpus"], tuple[Mapping[str, int]]]:
        """For a child process to which `descriptors` are passed: it maps the same pages."""
        return Corpus.inherited, (self.descriptors,)

    def _map(self, descriptors: Mapping[str, int]) -> None:
        self.descriptors = descriptors
        for descriptor in descriptors.values():
            weakref.finalize(self, os.close, descriptor)
        self._table = pa.ipc.open_file(pa.BufferReader(_mapped(descriptors[TABLE]))).read_all()
        columns = (self._table[name].chunk(0).to_numpy() for name in ("grid", "first_frame", "num_frames", "walk"))
        self.grids, self.first_frames, self.num_frames, self.walks = columns
        arrays: dict[str, np.ndarray] = {
            name: np.frombuffer(_mapped(descriptors[name]), kind) for name, kind in ARRAYS.items()
        }
        self.frame_numbers, self._first_of_walk = arrays.pop("frame_numbers"), arrays.pop("walks")
        self.coded = CodedFrames(**arrays)
        counted = pc.value_counts(self._table["collection"]).to_pylist()
        self._sizes = {entry["values"]: entry["counts"] for entry in counted}

    def __len__(self) -> int:
        return len(self.grids)

    def sizes(self) -> dict[str, int]:
        """The number of sequences of each collection, in order of rows and of name."""
        return self._sizes

    def sequence_id(self, row: int) -> str:
        """The id of a sequence."""
        return self._table["sequence_id"][row].as_py()

    def described(self) -> pa.Table:
        """WALK_COLUMNS of each sequence, in order of rows."""
        return self._table.select(WALK_COLUMNS)

    def partners(self, rows: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """For each row another row of the same recorded walk, or itself where there is none.

        numbers: in [0, 1), one for each row; chooses among the others with equal probability.
        """
        first, end = (self._first_of_walk[self.walks[rows] + one] for one in (0, 1))
        partner = first + (numbers * (end - first - 1)).astype(np.int64)
        return np.where(end - first > 1, partner + (partner >= rows), rows)


def _mapped(descriptor: int) -> mmap.mmap | bytes:
    """The content of an open file, memory-mapped."""
    if not os.fstat(descriptor).st_size:  # an empty file cannot be mapped
        return b""
    return mmap.mmap(descriptor, 0, prot=mmap.PROT_READ)


TABLE = "rows.arrow"  # WALK_COLUMNS, grid, first_frame, num_frames, walk
ARRAYS: dict[str, type] = {  # of all frames, concatenated; see CodedFrames in datasets/contours/chains.py
    "frame_numbers": np.int32,
    "contours": np.int64,
    "codes": np.int64,
    "starts": np.uint16,
    "lengths": np.uint32,
    "chain": np.uint8,
    "walks": np.int64,  # the first row of each recorded walk, and at the end the number of rows
}


def write_map(tables: Iterable[pa.Table], specs: Mapping[str, CollectionSpec], folder: Path) -> None:
    """Write rows of a store for mapping. tables: COLUMNS at least. specs: by collection. folder: a new or empty one."""
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        files = {name: stack.enter_context((folder / name).open("wb")) for name in ARRAYS}
        written: Counter[str] = Counter()
        rows = pa.concat_tables([_append(table.combine_chunks(), files, written) for table in tables])
        _write(files, written, {"contours": np.array([written["starts"]]), "codes": np.array([2 * written["chain"]])})
        names = walk_names(rows, specs)
        rows = rows.append_column("name", pa.array(names)).sort_by(
            [("collection", "ascending"), ("name", "ascending"), ("sequence_id", "ascending")]
        )
        name = rows["name"].combine_chunks()
        begins = np.concatenate([[True], pc.not_equal(name[1:], name[:-1]).to_numpy(zero_copy_only=False)])
        _write(files, written, {"walks": np.append(np.flatnonzero(begins), len(begins))})
    rows = rows.drop_columns("name").append_column("walk", pa.array(np.cumsum(begins) - 1)).combine_chunks()
    with pa.OSFile(str(folder / TABLE), "wb") as sink, pa.ipc.new_file(sink, rows.schema) as writer:
        writer.write_table(rows)


def _append(table: pa.Table, files: Mapping[str, BinaryIO], written: Counter) -> pa.Table:
    """Append the frames of some rows to the files; returns their lines of TABLE, without `walk`."""
    counts, starts, lengths = (table[f"contour_{part}"].combine_chunks() for part in ("counts", "starts", "lengths"))
    chain, chain_sizes = _bytes(table["chain_codes"].combine_chunks())
    num_frames = pc.list_value_length(counts).to_numpy()
    contours = offsets(_flat(counts))  # these and what follows count from the table's first row
    codes = offsets(_flat(lengths).astype(np.int64) - 1)
    first_code = codes[offsets(pc.list_value_length(lengths).to_numpy())[:-1]]
    padding = 2 * offsets(chain_sizes)[:-1] - first_code  # each row begins with a whole byte
    first_frame = written["frame_numbers"] + offsets(num_frames)[:-1]
    arrays = {
        "frame_numbers": _flat(table["frame_numbers"].combine_chunks()),
        "contours": contours[:-1] + written["starts"],
        "codes": codes[contours[:-1]] + np.repeat(padding, num_frames) + 2 * written["chain"],
        "starts": _flat(starts),
        "lengths": _flat(lengths),
        "chain": chain,
    }
    _write(files, written, arrays)
    rows = table.select([*WALK_COLUMNS, "grid"])
    rows = rows.append_column("first_frame", pa.array(first_frame))
    return rows.append_column("num_frames", pa.array(num_frames.astype(np.int32)))


def _write(files: Mapping[str, BinaryIO], written: Counter, arrays: Mapping[str, np.ndarray]) -> None:
    for name, array in arrays.items():
        files[name].write(np.ascontiguousarray(array, dtype=ARRAYS[name]).data)
        written[name] += len(array)


def _flat(column: pa.ListArray) -> np.ndarray:
    return column.flatten().to_numpy()


def _bytes(column: pa.BinaryArray) -> tuple[np.ndarray, np.ndarray]:
    """The bytes of all rows, and the number of bytes of each row."""
    sizes = pc.binary_length(column).to_numpy()
    content = column.buffers()[2]
    if content is None or not len(sizes):
        return np.zeros(0, np.uint8), sizes
    (begin,) = np.frombuffer(column.buffers()[1], np.int32, count=1, offset=4 * column.offset)
    return np.frombuffer(content, np.uint8, count=int(sizes.sum()), offset=int(begin)), sizes
