"""The files that training maps into memory, written once a node from rows of a store.

Parquet is compressed and cannot be mapped, so the columns that training needs become flat arrays, a file each. Contours
lie in the order in which rows come, so that writing takes little memory, with a note where those of each frame begin.
The table of rows lies in order of collection, recorded walk and sequence_id, so that collections and walks are ranges
of rows. What is read from it is datasets/corpus.py's matter.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from datasets.chains import offsets
from datasets.schema import CollectionSpec
from datasets.sequence_ids import walk_of

WALK_COLUMNS = ["sequence_id", "collection", "subject", "condition", "view", "labels"]
FRAME_COLUMNS = ["grid", "frame_numbers", "contour_counts", "contour_starts", "contour_lengths", "chain_codes"]
COLUMNS = [*WALK_COLUMNS, *FRAME_COLUMNS]

TABLE = "rows.arrow"  # WALK_COLUMNS, grid, first_frame, num_frames, walk
ARRAYS = {  # of all frames, one after the other; see CodedFrames in datasets/chains.py
    "frame_numbers": np.int32,
    "contours": np.int64,
    "codes": np.int64,
    "starts": np.uint16,
    "lengths": np.uint32,
    "chain": np.uint8,
    "walks": np.int64,  # the first row of each recorded walk, and the number of rows
}


def write_map(tables: Iterable[pa.Table], specs: Mapping[str, CollectionSpec], folder: Path) -> None:
    """Write rows (COLUMNS at least) for mapping. specs: of their collections, by name. folder: a new one, or empty."""
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        files = {name: stack.enter_context((folder / name).open("wb")) for name in ARRAYS}
        written = Counter()
        rows = pa.concat_tables([_append(table.combine_chunks(), files, written) for table in tables])
        _write(files, written, {"contours": [written["starts"]], "codes": [2 * written["chain"]]})
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


def walk_names(rows: pa.Table, specs: Mapping[str, CollectionSpec]) -> list[str]:
    """The recorded walk of each row, unique over collections: its own id where no other camera filmed it.

    Several modalities of a sequence show one walk, since one was made of the other or both were recorded at once. rows:
    WALK_COLUMNS at least.
    """
    names = [walk_of(one) for one in rows["sequence_id"].to_pylist()]
    collections = rows["collection"].to_pylist()
    several = {name for name in set(collections) if specs[name].synchronised}
    if several:
        described = zip(*(rows[column].to_pylist() for column in WALK_COLUMNS[2:]), strict=True)
        for place, (collection, (subject, condition, view, labels)) in enumerate(
            zip(collections, described, strict=True)
        ):
            if collection in several:
                walk = specs[collection].recorded_walk(subject, condition, view, dict(labels))
                names[place] = names[place] if walk is None else f"{collection}\n{walk}"
    return names


def _append(table: pa.Table, files: Mapping[str, BinaryIO], written: Counter) -> pa.Table:
    """Append the frames of some rows to the files; returns what the table of rows has to say of them."""
    counts, starts, lengths = (table[f"contour_{part}"].combine_chunks() for part in ("counts", "starts", "lengths"))
    chain, chain_sizes = _bytes(table["chain_codes"].combine_chunks())
    num_frames = pc.list_value_length(counts).to_numpy()
    contours = offsets(_flat(counts))  # all that follows counts from the first row of the table
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
        files[name].write(np.ascontiguousarray(array, dtype=ARRAYS[name]))
        written[name] += len(array)


def _flat(column: pa.ListArray) -> np.ndarray:
    return column.flatten().to_numpy()


def _bytes(column: pa.BinaryArray) -> tuple[np.ndarray, np.ndarray]:
    """The bytes of all rows, and how many of them each row has."""
    sizes = pc.binary_length(column).to_numpy()
    content = column.buffers()[2]
    if content is None or not len(sizes):
        return np.zeros(0, np.uint8), sizes
    (begin,) = np.frombuffer(column.buffers()[1], np.int32, count=1, offset=4 * column.offset)
    return np.frombuffer(content, np.uint8, count=int(sizes.sum()), offset=int(begin)), sizes
