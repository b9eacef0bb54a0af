"""The held-out bank: fixed pairs of clips of held-out subjects, on which all runs of a study measure their loss.

The loss of training depends on the batch and on augmentation, so that losses of runs do not compare. The bank has the
same queries and keys for every run: frames are sampled as in training, with one seed, and nothing is augmented.
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
from datasets.loading.labels import subjects_of
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

    walks: int64 [n], the recorded walk of each pair; pairs of one walk are not negatives of each other, as in training.
    subjects: [n], as `<collection>/<subject>`.
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
    """Draw a bank from rows of a store, spread evenly over subjects as far as they have sequences.

    Args:
        rows: of the held-out subjects, all columns.
        specs: of their collections, by name.
        settings: frames and skip of a clip; no augmentation of them is applied.
        positives: which clips are the keys, as in `PairLoader`.
        most: pairs at most.
        seed: of the bank, the same for all runs.

    Raises:
        UsageError: the sequences are of fewer than two walks, so that no query has a negative.
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
    return Bank(walks, np.array(subjects_of(rows))[queries], query, query_times, key, key_times)


def _spread(rows: pa.Table, most: int) -> NDArray[np.int64]:
    """At most `most` rows, in order: one of each subject, then a second one, ..., chosen by a hash of their ids."""
    hashes = keys_of([f"bank\n{one}" for one in rows["sequence_id"].to_pylist()])
    rounds = np.empty(rows.num_rows, dtype=np.int64)  # of a row among those of its subject
    taken: Counter[str] = Counter()
    subjects = subjects_of(rows)
    for row in np.argsort(hashes).tolist():
        rounds[row] = taken[subjects[row]]
        taken[subjects[row]] += 1
    return np.sort(np.lexsort((hashes, rounds))[:most])


def _partner(names: NDArray[np.str_], row: int, number: float) -> int:
    """Another row of the same walk, chosen by a number in [0, 1); the row itself if there is none."""
    others = np.flatnonzero((names == names[row]) & (np.arange(len(names)) != row))
    return int(others[int(number * len(others))]) if len(others) else row


def _clips(
    rows: pa.Table, chosen: list[int], settings: ClipSettings, rng: ClipRng
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """A clip of each chosen row, and the times of its frames."""
    sequences = rows.take(chosen).to_pylist()
    counts = np.array([one["num_frames"] for one in sequences])
    positions = clips.sample_positions(counts, settings, rng)
    masks, times = [], []
    for one, of_clip, count in zip(sequences, positions, counts.tolist(), strict=True):
        numbers, frames = np.asarray(one["frame_numbers"]), of_clip % count
        masks.append(to_input(codec.decode(contours_of(one), frames)))
        period = numbers[-1:] - numbers[:1] + 1
        times.append(clips.frame_times(of_clip[None], numbers[frames][None], np.array([count]), period)[0])
    return np.stack(masks), np.stack(times)
