"""Measures of held-out subjects: means and error rates, each overall and for every subject alone.

The values by subject let a bootstrap resample the subjects (law_bootstrap.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from evaluation.bootstrap import RESAMPLES, draw_clusters, percentile_interval
from evaluation.retrieval.outcomes import Outcomes, ProtocolResult

Array = NDArray[np.floating]


@dataclass(frozen=True, kw_only=True)
class BySubject:
    """A measure overall, and the same for each subject; `weights` say how much each of them counts in `value`."""

    value: float
    subjects: tuple[str, ...]
    values: tuple[float, ...]
    weights: tuple[float, ...]


def mean_by_subject(values: Array, subjects: NDArray[np.str_]) -> BySubject:
    """The mean of values [n], overall and of each subject."""
    names, index = np.unique(subjects, return_inverse=True)
    counts = np.bincount(index)
    means = np.bincount(index, weights=values) / counts
    return BySubject(
        value=float(np.mean(values)),
        subjects=tuple(names.tolist()),
        values=tuple(means.tolist()),
        weights=tuple(counts.astype(float).tolist()),
    )


def subject_interval_of(measure: BySubject, seed: int = 0) -> tuple[float, float]:
    """The 95% interval of a measure over subjects, drawn with replacement; NaN for fewer than two subjects."""
    if len(measure.subjects) < 2:
        return np.nan, np.nan
    drawn = draw_clusters(len(measure.subjects), RESAMPLES, np.random.default_rng(seed)) * np.array(measure.weights)
    return percentile_interval(drawn @ np.array(measure.values) / drawn.sum(axis=1))


def rank1_errors(results: Sequence[ProtocolResult], collection: str) -> dict[str, BySubject]:
    """100% minus Rank-1 as `error/<collection>/<kind>/<probe set>`, and `.../mean` over the probe sets of a kind.

    Probe sets without a measurable probe are left out, and so is the mean of a single probe set.
    """
    found: dict[str, BySubject] = {}
    kinds: dict[str, list[BySubject]] = {}
    for result in results:
        error = _rank1_error(result.outcomes, collection)
        if error is not None:
            found[f"error/{collection}/{result.kind}/{result.probe_set}"] = error
            kinds.setdefault(result.kind, []).append(error)
    return found | {f"error/{collection}/{kind}/mean": _mean(some) for kind, some in kinds.items() if len(some) > 1}


def class_error(predicted: NDArray[np.int64], truth: NDArray[np.int64], subjects: NDArray[np.str_]) -> BySubject:
    """The percentage of wrong classes [n], averaged over classes; a subject weighs as much as its rows."""
    wrong = 100.0 * (predicted != truth)
    rows = 1.0 / np.bincount(truth)[truth]  # every class counts the same
    rows *= len(rows) / rows.sum()
    names, index = np.unique(subjects, return_inverse=True)
    weights = np.bincount(index, weights=rows)
    return BySubject(
        value=float(np.average(wrong, weights=rows)),
        subjects=tuple(names.tolist()),
        values=tuple((np.bincount(index, weights=rows * wrong) / weights).tolist()),
        weights=tuple(weights.tolist()),
    )


def _rank1_error(outcomes: Outcomes, collection: str) -> BySubject | None:
    """None where no probe can be measured."""
    value = 100 - outcomes.rank(1)
    counted = (outcomes.ranks > 0) & (outcomes.weights[outcomes.rows] > 0)
    by_subject = {}
    for subject in np.unique(outcomes.subjects).tolist():
        mine = outcomes.subjects == subject
        alone = replace(
            outcomes,
            ranks=outcomes.ranks[mine],
            subjects=outcomes.subjects[mine],
            rows=outcomes.rows[mine],
            of_lists={},
        )
        error = 100 - alone.rank(1)
        if not np.isnan(error):
            by_subject[f"{collection}/{subject}"] = (error, float(counted[mine].sum()))
    if np.isnan(value):
        return None
    values, weights = zip(*by_subject.values(), strict=True)
    return BySubject(value=value, subjects=tuple(by_subject), values=values, weights=weights)


def _mean(errors: Sequence[BySubject]) -> BySubject:
    """The unweighted mean of several errors, by the subjects that are in all of them."""
    common = sorted(set.intersection(*(set(one.subjects) for one in errors)))
    rows = [[one.subjects.index(subject) for subject in common] for one in errors]
    values = np.mean([np.array(one.values)[row] for one, row in zip(errors, rows, strict=True)], axis=0)
    weights = np.sum([np.array(one.weights)[row] for one, row in zip(errors, rows, strict=True)], axis=0)
    return BySubject(
        value=float(np.mean([one.value for one in errors])),
        subjects=tuple(common),
        values=tuple(values.tolist()),
        weights=tuple(weights.tolist()),
    )
