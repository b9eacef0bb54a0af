"""Silhouettes of the sequences of a table of embeddings, for pictures: read from the store as they are asked for.

Knows neither scores nor pictures.
"""

from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from datasets.corpus_map import FRAME_COLUMNS
from datasets.shards import read_file
from datasets.storage import Place
from orchestration.embed import walk_of
from orchestration.embeddings import EmbeddingTable

_FILES = 32  # of the store that are kept, a megabyte each


class Silhouettes:
    """The walks of a table, by number."""

    def __init__(self, store: Place, table: EmbeddingTable) -> None:
        self._table = table
        self._ids = table.names["sequence_id"]

        @lru_cache(maxsize=_FILES)
        def read(path: str) -> pa.Table:
            return read_file(store, {"path": path}, ["sequence_id", "num_frames", *FRAME_COLUMNS])

        self._read = read

    def __call__(self, number: int) -> np.ndarray:
        """The frames of a sequence, uint8 0/1 [T, 64, 44]."""
        rows = self._read(self._table.shard_of(number))
        (row,) = rows.filter(pc.equal(rows["sequence_id"], self._ids[number])).slice(0, 1).to_pylist()
        return walk_of(row)[0]
