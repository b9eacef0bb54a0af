"""Cluster bootstrap: the interval within which a metric would fall with other people.

Sequences of one person are not independent, so whole subjects are drawn with replacement, with all their probes (Efron
and Tibshirani, An Introduction to the Bootstrap, 1993, percentile interval). The gallery stays as it is.
"""

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 1000
_BATCH = 2**22  # bounds the number of weights and of cell means in memory


def draw_clusters(clusters: int, resamples: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """How often each cluster is in each resample, [resamples, clusters]; a resample has as many draws as clusters."""
    return generator.multinomial(clusters, np.full(clusters, 1 / clusters), size=resamples)


def percentile_interval(values: NDArray[np.float64], level: float = 0.95) -> tuple[float, float]:
    """The ends of the middle `level` of the values of all resamples, [R]; NaN ones are left out, and NaN if all are."""
    if np.isnan(values).all():
        return np.nan, np.nan
    tail = 50 * (1 - level)
    low, high = np.nanpercentile(values, [tail, 100 - tail])
    return float(low), float(high)


def subject_interval(
    outcomes: NDArray[np.floating] | NDArray[np.bool_],
    counted: NDArray[np.bool_],
    subjects: NDArray[np.str_],
    rows: NDArray[np.int64],
    weights: NDArray[np.float64],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[float, float]:
    """Interval of a weighted mean over cells, of the mean outcome of the probes in each cell.

    A cell without a counted probe in a resample is left out of that resample's mean, as it is of the metric. Probes of
    a single subject carry no information about other people: the interval is then NaN.

    Args:
        outcomes: [n, G], of each probe in each column of cells; outcomes that are not counted are not read.
        counted: bool [n, G].
        subjects: [n], the subject of each probe.
        rows: [n], the row of cells that each probe belongs to, in 0..R-1.
        weights: [R, G], of each cell, not negative; 0 for cells outside the metric.
        resamples: number of sets of subjects that are drawn.
        seed: of the draw.
        level: share of the resamples in the interval.

    Returns:
        Lower and upper end, in the unit of the outcomes; NaN where fewer than two subjects are counted.
    """
    counting = (counted & (weights[rows] > 0)).any(axis=1)
    names, who = np.unique(subjects[counting], return_inverse=True)
    if len(names) < 2:
        return np.nan, np.nan
    outcomes, counted, rows = outcomes[counting], counted[counting], rows[counting]
    generator = np.random.default_rng(seed)
    batch = int(np.clip(_BATCH // max(len(names), weights.shape[1]), 1, resamples))
    means = []
    for start in range(0, resamples, batch):
        drawn = draw_clusters(len(names), min(batch, resamples - start), generator)
        means.append(_means(drawn.astype(np.float64), outcomes, counted, who, rows, weights))
    return percentile_interval(np.concatenate(means), level)


def _means(
    drawn: NDArray[np.float64],
    outcomes: NDArray[np.floating] | NDArray[np.bool_],
    counted: NDArray[np.bool_],
    who: NDArray[np.int64],
    rows: NDArray[np.int64],
    weights: NDArray[np.float64],
) -> NDArray[np.float64]:
    """The weighted mean of each resample, [B]. drawn: how often each subject was drawn, [B, S]."""
    total, weight = np.zeros(len(drawn)), np.zeros(len(drawn))
    for row in np.unique(rows):
        mine = rows == row
        people, at = np.unique(who[mine], return_inverse=True)
        seen = counted[mine]
        sums = np.zeros((2, len(people), weights.shape[1]))
        np.add.at(sums[0], at, np.where(seen, outcomes[mine], 0.0))
        np.add.at(sums[1], at, seen)
        reached, number = (drawn[:, people] @ one for one in sums)
        measured = number > 0
        means = np.divide(reached, number, out=np.zeros_like(reached), where=measured)
        total += means @ weights[row]
        weight += measured @ weights[row]
    return np.divide(total, weight, out=np.full(len(drawn), np.nan), where=weight > 0)
