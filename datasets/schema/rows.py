"""The row: one sequence (one walk of one subject) as the store keeps it, and the reject of what it does not keep.

Every room may import this file, so it imports pyarrow and the standard library alone.
"""

from typing import Literal, get_args

import pyarrow as pa

SCHEMA_VERSION = 2
READABLE_VERSIONS = (1, 2)  # 1 has no column `reading`
VERSION_KEY = b"foundationgait.schema_version"

SPLITS = ("train", "test", "none")
Modality = Literal["silhouette", "lidar", "parsing", "skeleton"]  # see datasets/preprocessing/preprocessors.py
MODALITIES: tuple[Modality, ...] = get_args(Modality)

HEIGHT, WIDTH = 64, 44  # the encoder's input in pixels, as in the field: 64 x 64 without ten columns on each side

# One row = one sequence. Contours of all frames lie one after the other: `contour_counts` says how many belong to each
# frame, `contour_starts` is the first point of each (y * grid + x), `contour_lengths` its number of points, and
# `chain_codes` the steps between its points, two 4-bit codes a byte (datasets/contours/codec.py).
SEQUENCE_SCHEMA = pa.schema(
    [
        ("sequence_id", pa.string()),  # CASIA-B/001/nm-01/090, unique in a store (datasets/store/sequence_ids.py)
        ("collection", pa.string()),
        ("split", pa.string()),  # one of SPLITS
        ("subject", pa.string()),  # raw strings, as released: protocols match on them
        ("condition", pa.string()),
        ("view", pa.string()),
        ("modality", pa.string()),  # one of MODALITIES
        ("labels", pa.map_(pa.string(), pa.string())),
        ("num_frames", pa.int32()),
        ("frame_numbers", pa.list_(pa.int32())),  # as in the file names; 0, 1, 2, ... where the release has none
        ("dropped_frames", pa.int32()),
        ("grid", pa.int16()),  # canonical height = width in pixels
        ("contour_counts", pa.list_(pa.uint16())),
        ("contour_starts", pa.list_(pa.uint16())),
        ("contour_lengths", pa.list_(pa.uint32())),
        ("chain_codes", pa.binary()),
        ("source", pa.string()),  # path relative to the collection's root
        ("reading", pa.map_(pa.string(), pa.string())),  # how it was read from its files (datasets/schema/reading.py)
    ],
    metadata={VERSION_KEY: str(SCHEMA_VERSION).encode()},
)

WALK_COLUMNS = ["sequence_id", "collection", "subject", "condition", "view", "labels"]  # which walk it is
FRAME_COLUMNS = ["grid", "frame_numbers", "contour_counts", "contour_starts", "contour_lengths", "chain_codes"]
COLUMNS = [*WALK_COLUMNS, *FRAME_COLUMNS]

# One row = one thing that was not kept: a whole sequence (frame is null), or one frame of a sequence that was.
REJECT_SCHEMA = pa.schema(
    [
        ("sequence_id", pa.string()),
        ("collection", pa.string()),
        ("source", pa.string()),
        ("frame", pa.string()),  # file name, or index in the array; null for a whole sequence
        ("reason", pa.string()),  # a few words to count by
        ("detail", pa.string()),  # the values that were found
    ],
    metadata={VERSION_KEY: str(SCHEMA_VERSION).encode()},
)
