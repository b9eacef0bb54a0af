"""Bootstrap intervals over subjects: how much a score would move with other people.

Sequences of one person are not independent, so whole subjects are drawn, with all their probes (cluster bootstrap;
Efron and Tibshirani, An Introduction to the Bootstrap, 1993, percentile interval). The gallery stays as it is. Numbers
in, numbers out: this file knows no protocol.
"""

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 1000
_BATCH = 2**22  # bounds the number of weights and of cell means in memory


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

    A cell without a counted probe in a resample is left out of that resample's mean, as it is of the score. Probes
    of one subject alone tell nothing of other people: the interval is then NaN.

    Args:
        outcomes: [n, G], of each probe in each column of cells; what is not counted is not read.
        counted: bool [n, G].
        subjects: [n], who each probe is of.
        rows: [n], the row of cells that each probe belongs to, in 0..R-1.
        weights: [R, G], of each cell, not negative; 0 for cells outside the score.
        resamples: drawn sets of as many subjects as there are.
        seed: of the draw.
        level: share of the resamples in the interval.

    Returns:
        Lower and upper end, in the unit of the outcomes; NaN where nothing, or one subject, is counted.
    """
    counting = (counted & (weights[rows] > 0)).any(axis=1)
    names, who = np.unique(subjects[counting], return_inverse=True)
    if len(names) < 2:
        return np.nan, np.nan
    outcomes, counted, rows = outcomes[counting], counted[counting], rows[counting]
    generator = np.random.default_rng(seed)
    batch = int(np.clip(_BATCH // max(len(names), weights.shape[1]), 1, resamples))
    scores = []
    for start in range(0, resamples, batch):
        count = min(batch, resamples - start)
        drawn = generator.multinomial(len(names), np.full(len(names), 1 / len(names)), size=count)
        scores.append(_scores(drawn.astype(np.float64), outcomes, counted, who, rows, weights))
    tail = 50 * (1 - level)
    low, high = np.nanpercentile(np.concatenate(scores), [tail, 100 - tail])
    return float(low), float(high)


def _scores(
    drawn: NDArray[np.float64],
    outcomes: NDArray[np.floating] | NDArray[np.bool_],
    counted: NDArray[np.bool_],
    who: NDArray[np.int64],
    rows: NDArray[np.int64],
    weights: NDArray[np.float64],
) -> NDArray[np.float64]:
    """The score of each resample, [B]. drawn: how often each subject was, [B, S]."""
    total, weight = np.zeros(len(drawn)), np.zeros(len(drawn))
    for row in np.unique(rows):
        mine = rows == row
        people, at = np.unique(who[mine], return_inverse=True)
        seen = counted[mine]
        sums = np.zeros((2, len(people), weights.shape[1]))
        np.add.at(sums[0], at, np.where(seen, outcomes[mine], 0.0))
        np.add.at(sums[1], at, seen)
        reached, number = (drawn[:, people] @ one for one in sums)
        there = number > 0
        means = np.divide(reached, number, out=np.zeros_like(reached), where=there)
        total += means @ weights[row]
        weight += there @ weights[row]
    return np.divide(total, weight, out=np.full(len(drawn), np.nan), where=weight > 0)
