"""The bank: fixed pairs of clips of held-out subjects, by which all runs of a study are compared.

The loss of training depends on the batch, and on the augmentations. Here are the same queries and keys for every run:
frames are sampled as in training, with one seed, and nothing else is changed about a clip. Knows no network.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from datasets.contours import codec
from datasets.contours.codec import contours_of
from datasets.loading import clips
from datasets.loading.clips import ClipSettings
from datasets.loading.pairs import Positives
from datasets.loading.random_numbers import ClipRng
from datasets.preprocessing.encoder_input import to_input
from datasets.schema.collection import CollectionSpec
from datasets.schema.errors import UsageError
from datasets.store.selection import walk_names
from datasets.store.sequence_ids import keys_of


@dataclass(frozen=True, eq=False)
class Bank:
    """n queries and their keys: clips uint8 0/1 [n, frames, 64, 44] and the times of their frames float32 [n, frames].

    walks int64 [n]: the recorded walk of each pair; equal ones are no negatives of each other, as in training.
    subjects [n]: whose they are, as `<collection>/<subject>`.
    """

    walks: NDArray[np.int64]
    subjects: NDArray[np.str_]
    query: NDArray[np.uint8]
    query_times: NDArray[np.float32]
    key: NDArray[np.uint8]
    key_times: NDArray[np.float32]


def draw_bank(
    rows: pa.Table,
    specs: Mapping[str, CollectionSpec],
    settings: ClipSettings,
    positives: Positives,
    most: int,
    seed: int,
) -> Bank:
    """At most so many pairs from rows of a store (all columns), as evenly over subjects as there are sequences.

    UsageError where that are not two walks: there would be nothing to tell apart.
    """
    names = np.array(walk_names(rows, specs))
    queries = _spread(rows, most)
    if len(set(names[queries])) < 2:
        raise UsageError(f"{len(queries)} held-out sequences show a single walk: hold more subjects back")
    of_query, of_key = (ClipRng("bank", seed, 0, 0, len(queries), branch) for branch in (0, 1))
    partners = queries.tolist()
    if positives == "walk":
        chances = of_key.uniform("partner").tolist()
        partners = [_partner(names, query, chance) for query, chance in zip(partners, chances, strict=True)]
    query, query_times = _clips(rows, queries.tolist(), settings, of_query)
    key, key_times = _clips(rows, partners, settings, of_key)
    walks = np.unique(names[queries], return_inverse=True)[1].astype(np.int64)
    return Bank(walks, subjects_of(rows)[queries], query, query_times, key, key_times)


def subjects_of(rows: pa.Table) -> NDArray[np.str_]:
    """Whose each row is, as `<collection>/<subject>`."""
    pairs = zip(rows["collection"].to_pylist(), rows["subject"].to_pylist(), strict=True)
    return np.array([f"{collection}/{subject}" for collection, subject in pairs])


def _spread(rows: pa.Table, most: int) -> NDArray[np.int64]:
    """At most so many rows, in order: first one of each subject, then a second one, ..., by a hash of their ids."""
    hashes = keys_of([f"bank\n{one}" for one in rows["sequence_id"].to_pylist()])
    order, turn = np.argsort(hashes), np.empty(rows.num_rows, dtype=np.int64)
    taken: Counter[str] = Counter()
    subjects = subjects_of(rows)
    for row in order.tolist():
        turn[row] = taken[subjects[row]]
        taken[subjects[row]] += 1
    return np.sort(np.lexsort((hashes, turn))[:most])


def _partner(names: NDArray[np.str_], row: int, number: float) -> int:
    """Another row of the same walk, by a number in [0, 1); itself where there is none."""
    others = np.flatnonzero((names == names[row]) & (np.arange(len(names)) != row))
    return int(others[int(number * len(others))]) if len(others) else row


def _clips(
    rows: pa.Table, chosen: list[int], settings: ClipSettings, rng: ClipRng
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """A clip of each chosen row, and the times of its frames."""
    its_rows = rows.take(chosen).to_pylist()
    counts = np.array([row["num_frames"] for row in its_rows])
    places = clips.sample_places(counts, settings, rng)
    drawn, times = [], []
    for row, its, count in zip(its_rows, places, counts.tolist(), strict=True):
        true, frames = np.asarray(row["frame_numbers"]), its % count
        drawn.append(to_input(codec.decode(contours_of(row), frames)))
        period = true[-1:] - true[:1] + 1
        times.append(clips.frame_times(its[None], true[frames][None], np.array([count]), period)[0])
    return np.stack(drawn), np.stack(times)
