"""Identification: the candidates for each unknown walk, the nearest first, and how likely a stranger is as near.

A ranking always has a first candidate. Whether this one is near enough to be the same person is judged by the known
walks: by the share of them to which a walk of another person is as near.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evaluation.distances.metric import Metric, distances
from evaluation.text_table import MISSING, plain_table


@dataclass(frozen=True, kw_only=True, eq=False)
class Candidates:
    """The people nearest to one unknown walk, the nearest first.

    `subjects` and `distances` of each, by the nearest of their walks; `walks` are the numbers of these. `strangers` is
    the share, in 0..1, of the known walks to which a walk of another subject is at least as near as this walk is to its
    nearest one: where it is not small, the nearest may well be a stranger. NaN with one subject in the gallery.
    """

    subjects: tuple[str, ...]
    distances: NDArray[np.float32]
    walks: NDArray[np.int64]
    strangers: float


def identify(
    unknown: NDArray[np.floating],
    known: NDArray[np.floating],
    subjects: Sequence[str],
    metric: Metric,
    count: int = 5,
) -> list[Candidates]:
    """The candidates for each unknown walk; at equal distances in the order of the gallery.

    Args:
        unknown: embeddings [n, C, P].
        known: embeddings [m, C, P] of the gallery.
        subjects: of each of these, [m].
        metric: see `distances`.
        count: number of people, at most.

    Raises:
        UsageError: unknown metric.
        ValueError: an empty gallery, or shapes that do not fit each other.
    """
    if not len(known):
        raise ValueError("the gallery is empty")
    names = np.asarray(subjects, dtype=str)
    impostor = _nearest_impostor(known, names, metric)
    found = []
    for row in distances(unknown, known, metric):
        order = np.argsort(row, kind="stable")
        _, first = np.unique(names[order], return_index=True)
        walks = order[np.sort(first)][:count]
        # A stranger is compared with all subjects, a known walk with all but its own: with few people the share is a
        # little too small.
        strangers = float((impostor <= row[order[0]]).mean()) if np.isfinite(impostor).all() else np.nan
        found.append(
            Candidates(
                subjects=tuple(names[walks].tolist()),
                distances=row[walks],
                walks=walks,
                strangers=strangers,
            )
        )
    return found


def to_text(lines: pd.DataFrame) -> str:
    """A table for the terminal: a line for each unknown walk, its candidates the nearest first.

    lines: columns walk, rank, subject, distance, nearest_walk and strangers; a row for each walk and candidate.
    """
    texts = []
    for walk, some in lines.groupby("walk", sort=False):
        people = [f"{one.subject} {one.distance:.3f}" for one in some.itertuples()]
        share = some["strangers"].iloc[0]
        texts.append([str(walk), MISSING if np.isnan(share) else f"{share:.0%}", *people])
    count = max(map(len, texts)) - 2
    head = ["walk", "strangers as near", *(f"{rank}." for rank in range(1, count + 1))]
    padded = [[*line, *[""] * (len(head) - len(line))] for line in [head, *texts]]
    note = "strangers as near: share of the known walks to which a walk of another person is as near as the first one"
    return f"{plain_table(padded)}\n{note}"


def _nearest_impostor(known: NDArray[np.floating], names: NDArray[np.str_], metric: Metric) -> NDArray[np.float32]:
    """Distance of each known walk from the nearest one of another subject, [m]; infinite without another subject."""
    nearest = np.empty(len(known), dtype=np.float32)
    for start in range(0, len(known), 256):  # never all pairs in memory
        some = slice(start, start + 256)
        between = distances(known[some], known, metric)
        between[names[some, None] == names[None, :]] = np.inf
        nearest[some] = between.min(axis=1)
    return nearest
