"""So many unique sequences out of all there are: the same ones everywhere, and fewer of them are among more.

Recorded walks are put into an order of their own, by a hash of their names, and the first so many sequences in it are
taken. So a walk comes with all the cameras that filmed it, but for the last one, which may be cut. The order knows
neither the seed of a run nor which files a sequence lies in; what is done with the sequences is not known here.
"""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from datasets.corpus_map import walk_names
from datasets.schema import CollectionSpec
from datasets.shards import keys_of

Keys = NDArray[np.uint64]


def keys(rows: pa.Table, specs: Mapping[str, CollectionSpec]) -> Keys:
    """The place of each row in the order, [n, 2]: of its walk, and within that. rows: WALK_COLUMNS at least."""
    walks = keys_of([f"subset\n{name}" for name in walk_names(rows, specs)])
    return np.stack([walks, keys_of(rows["sequence_id"].to_pylist())], axis=1).reshape(-1, 2)


def bound(of_all: Keys, count: int) -> Keys:
    """The key [2] of the last one of the first `count` sequences, 1..n."""
    return of_all[np.lexsort(of_all.T[::-1])[count - 1]]


def within(some: Keys, last: Keys) -> NDArray[np.bool_]:
    """Which rows come no later than the one with the key `last`, [n]."""
    return (some[:, 0] < last[0]) | ((some[:, 0] == last[0]) & (some[:, 1] <= last[1]))
