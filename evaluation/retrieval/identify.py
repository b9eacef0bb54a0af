"""Who walks there: unknown walks against known ones, the nearest people first, and how near strangers come.

A ranking always names somebody. Whether the nearest is near enough to be the same person is judged by the known walks
themselves: how many of them have a walk of somebody else that is nearer than that. Arrays in, numbers out.
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

    `subjects` and `distances` of each, by the nearest of their walks; `walks` are the numbers of these. `nearest` are
    the numbers of the nearest walks of the gallery, whoever they are of. `strangers` is the share, in 0..1, of the
    known walks to which a walk of somebody else is at least as near as this walk is to its nearest one: where it is
    not small, the nearest may well be a stranger. NaN with one subject in the gallery.
    """

    subjects: tuple[str, ...]
    distances: NDArray[np.float32]
    walks: NDArray[np.int64]
    nearest: NDArray[np.int64]
    strangers: float


def identify(
    unknown: NDArray[np.floating],
    known: NDArray[np.floating],
    subjects: Sequence[str],
    metric: Metric,
    most: int = 5,
) -> list[Candidates]:
    """Candidates for each unknown walk; at equal distances in order of the gallery.

    Args:
        unknown: embeddings [n, C, P].
        known: embeddings [m, C, P] of the gallery.
        subjects: whose each of these is, [m].
        metric: see `distances`.
        most: people, and nearest walks, that are named.

    Raises:
        UsageError: unknown metric.
        ValueError: an empty gallery, or shapes that do not fit each other.
    """
    if not len(known):
        raise ValueError("nobody to compare with: the gallery is empty")
    names = np.asarray(subjects, dtype=str)
    near = _nearest_stranger(known, names, metric)
    found = []
    for row in distances(unknown, known, metric):
        order = np.argsort(row, kind="stable")
        _, first = np.unique(names[order], return_index=True)
        walks = order[np.sort(first)][:most]
        # Of a known walk there is one more stranger than of an unknown one; with few people this leans to caution.
        strangers = float((near <= row[order[0]]).mean()) if np.isfinite(near).all() else np.nan
        found.append(
            Candidates(
                subjects=tuple(names[walks].tolist()),
                distances=row[walks],
                walks=walks,
                nearest=order[:most],
                strangers=strangers,
            )
        )
    return found


def render(lines: pd.DataFrame) -> str:
    """Plain text for the people that unknown walks may be of: a line for each walk, the nearest first.

    lines: walk, place, subject, distance, nearest_walk and strangers.
    """
    texts = []
    for walk, some in lines.groupby("walk", sort=False):
        people = [f"{one.subject} {one.distance:.3f}" for one in some.itertuples()]
        share = some["strangers"].iloc[0]
        texts.append([str(walk), MISSING if np.isnan(share) else f"{share:.0%}", *people])
    most = max(map(len, texts)) - 2
    head = ["walk", "strangers as near", *(f"{place}." for place in range(1, most + 1))]
    padded = [[*line, *[""] * (len(head) - len(line))] for line in [head, *texts]]
    note = "strangers as near: share of the known walks that have a walk of somebody else as near as this nearest one"
    return f"{plain_table(padded)}\n{note}"


def _nearest_stranger(known: NDArray[np.floating], names: NDArray[np.str_], metric: Metric) -> NDArray[np.float32]:
    """How near the nearest walk of somebody else is to each known walk, [m]; infinite where there is nobody else."""
    near = np.empty(len(known), dtype=np.float32)
    for start in range(0, len(known), 256):  # never all pairs in memory
        some = slice(start, start + 256)
        between = distances(known[some], known, metric)
        between[names[some, None] == names[None, :]] = np.inf
        near[some] = between.min(axis=1)
    return near
