"""Error rates of a protocol's probe sets, and of answers to a question, for all together and for each subject alone.

The error of a probe set is what is missing from Rank-1 to 100%, with what cannot be measured left out
(evaluation/retrieval/outcomes.py); that of answers is the mean over classes of those that are wrong. Knows no
embeddings.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from evaluation.retrieval.outcomes import Outcomes, Score
from evaluation.scaling.heldout_loss import BySubject


def errors_of(scores: Sequence[Score], collection: str) -> dict[str, BySubject]:
    """Rank-1 errors in percent as `error/<collection>/<kind>/<probe set>`, and `.../mean` over the sets of a kind.

    Sets of which nothing can be measured are left out, and the mean where one set is left.
    """
    found: dict[str, BySubject] = {}
    kinds: dict[str, list[BySubject]] = {}
    for score in scores:
        error = _error(score.outcomes, collection)
        if error is not None:
            found[f"error/{collection}/{score.kind}/{score.probe_set}"] = error
            kinds.setdefault(score.kind, []).append(error)
    return found | {f"error/{collection}/{kind}/mean": _mean(some) for kind, some in kinds.items() if len(some) > 1}


def class_error(answers: NDArray[np.int64], truth: NDArray[np.int64], subjects: NDArray[np.str_]) -> BySubject:
    """The mean over classes of the percentage of wrong answers [n]; each subject weighs what its rows weigh in it."""
    wrong = 100.0 * (answers != truth)
    rows = 1.0 / np.bincount(truth)[truth]  # so that classes count alike
    rows *= len(rows) / rows.sum()
    names, who = np.unique(subjects, return_inverse=True)
    weights = np.bincount(who, weights=rows)
    return BySubject(
        value=float(np.average(wrong, weights=rows)),
        subjects=tuple(names.tolist()),
        values=tuple((np.bincount(who, weights=rows * wrong) / weights).tolist()),
        weights=tuple(weights.tolist()),
    )


def _error(outcomes: Outcomes, collection: str) -> BySubject | None:
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
            average_precision=None,
            inverse_negative_penalty=None,
        )
        error = 100 - alone.rank(1)
        if not np.isnan(error):
            by_subject[f"{collection}/{subject}"] = (error, float(counted[mine].sum()))
    if np.isnan(value):
        return None
    values, weights = zip(*by_subject.values(), strict=True)
    return BySubject(value=value, subjects=tuple(by_subject), values=values, weights=weights)


def _mean(some: Sequence[BySubject]) -> BySubject:
    """The mean of several errors, each counting as much; of the subjects that are in all of them."""
    common = sorted(set.intersection(*(set(one.subjects) for one in some)))
    at = [[one.subjects.index(subject) for subject in common] for one in some]
    values = np.mean([np.array(one.values)[places] for one, places in zip(some, at, strict=True)], axis=0)
    weights = np.sum([np.array(one.weights)[places] for one, places in zip(some, at, strict=True)], axis=0)
    return BySubject(
        value=float(np.mean([one.value for one in some])),
        subjects=tuple(common),
        values=tuple(values.tolist()),
        weights=tuple(weights.tolist()),
    )
