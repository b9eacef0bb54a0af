"""Bootstrap intervals of classification scores over subjects: how much they would move with other people.

Whole subjects are drawn with all their items, as in evaluation/bootstrap.py; the score is then that of the items drawn.
A resample in which a score is not defined (no positive item) is left out of its interval.
"""

import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from evaluation.bootstrap import RESAMPLES
from evaluation.classification.scores import Classification

SCORES = ("accuracy", "precision", "recall", "f1", "sensitivity", "specificity", "auroc")
_AT_ONCE = 2**22  # weights in memory


def point(found: Classification) -> dict[str, float]:
    """The scores of a classification, each in 0..1; the macro means leave out what is not defined."""
    alone = {name: getattr(found, name) for name in ("accuracy", "sensitivity", "specificity", "auroc")}
    return alone | found.macro()


def intervals(
    scores: NDArray[np.floating],
    truth: Sequence[str],
    subjects: Sequence[str],
    found: Classification,
    positive: Sequence[str],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, tuple[float, float]]:
    """Lower and upper end for each of SCORES; NaN where there is one subject, or no resample defines the score.

    Args:
        scores: [n, K], as `classify` takes them.
        truth, subjects: the true class and the subject of each of n items.
        found: what `classify` made of them.
        positive: the classes that mean "found".
    """
    names = list(found.classes)
    true, called = np.array([names.index(one) for one in truth]), scores.argmax(axis=1)
    people, who = np.unique(np.asarray(subjects, dtype=str), return_inverse=True)
    if len(people) < 2:
        return dict.fromkeys(SCORES, (np.nan, np.nan))
    counts = np.zeros((len(people), len(names), len(names)))
    np.add.at(counts, (who, true, called), 1)
    ill = np.isin(names, list(positive))
    generator = np.random.default_rng(seed)
    batch = int(np.clip(_AT_ONCE // max(len(true), 1), 1, resamples))
    drawn_scores: dict[str, list[NDArray[np.float64]]] = {name: [] for name in SCORES}
    for start in range(0, resamples, batch):
        share = np.full(len(people), 1 / len(people))
        drawn = generator.multinomial(len(people), share, size=min(batch, resamples - start)).astype(np.float64)
        values = _of_confusion(np.tensordot(drawn, counts, axes=1), ill)
        values["auroc"] = _area(scores[:, ill].sum(axis=1), ill[true], drawn[:, who])
        for name, value in values.items():
            drawn_scores[name].append(value)
    tail = 50 * (1 - level)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # all missing: the interval is, too
        ends = {
            name: np.nanpercentile(np.concatenate(values), [tail, 100 - tail]) for name, values in drawn_scores.items()
        }
    return {name: (float(low), float(high)) for name, (low, high) in ends.items()}


def _of_confusion(confusion: NDArray[np.float64], ill: NDArray[np.bool_]) -> dict[str, NDArray[np.float64]]:
    """Scores [B] of confusion matrices [B, K, K]; ill: [K], which classes are positive."""
    right = np.diagonal(confusion, axis1=1, axis2=2)
    true, called = confusion.sum(axis=2), confusion.sum(axis=1)
    of_class = {
        "precision": _ratio(right, called),
        "recall": _ratio(right, true),
        "f1": _ratio(2 * right, true + called),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        values = {name: np.nanmean(one, axis=1) for name, one in of_class.items()}
    hit = confusion[:, ill][:, :, ill].sum(axis=(1, 2))
    spared = confusion[:, ~ill][:, :, ~ill].sum(axis=(1, 2))
    values |= {"accuracy": _ratio(right.sum(axis=1), true.sum(axis=1))}
    if not ill.any():
        return values | {name: np.full(len(confusion), np.nan) for name in ("sensitivity", "specificity")}
    values["sensitivity"] = _ratio(hit, true[:, ill].sum(axis=1))
    return values | {"specificity": _ratio(spared, true[:, ~ill].sum(axis=1))}


def _area(
    scores: NDArray[np.floating], positive: NDArray[np.bool_], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The area under the ROC curve [B] of items [n] with weights [B, n]; NaN without a positive or a negative one."""
    order = np.argsort(scores, kind="stable")
    begins = np.flatnonzero(np.diff(scores[order], prepend=-np.inf) > 0)
    ups, downs = (np.add.reduceat((weights * side)[:, order], begins, axis=1) for side in (positive, ~positive))
    below = np.cumsum(downs, axis=1) - 0.5 * downs  # equal scores count half
    return _ratio((ups * below).sum(axis=1), ups.sum(axis=1) * downs.sum(axis=1))


def _ratio(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=whole > 0)
