"""Classification: class scores and true classes in, accuracies out; by sequence, and by subject.

Accuracy and the macro means are those of the OpenGait evaluator (`evaluate_scoliosis`, which calls scikit-learn with
zero_division=0). This file does not know what the classes mean, nor any collection.

What is not defined is NaN in the numbers of each class: the precision of a class that is never predicted, the recall of
one that does not occur. `macro` leaves it out; `published_macro` counts it as 0, as the evaluator does.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from scipy.stats import rankdata


@dataclass(frozen=True, kw_only=True, eq=False)
class Classification:
    """How n items were classified.

    `confusion` [K, K] counts them, rows true classes, columns predicted ones. `auroc` is the area under the ROC curve
    of the positive classes against the others, `sensitivity` and `specificity` the shares of both that are recognised
    as what they are: all in 0..1, NaN where no class is positive or one side is empty.
    """

    classes: tuple[str, ...]
    confusion: NDArray[np.int64]
    sensitivity: float
    specificity: float
    auroc: float

    @property
    def accuracy(self) -> float:
        """Share of the items that are classified right, in 0..1."""
        return float(np.trace(self.confusion) / self.confusion.sum())

    @property
    def precision(self) -> NDArray[np.float64]:
        """Of each class [K], the share of what is called so that is so; NaN where nothing is called so."""
        return _ratio(np.diag(self.confusion), self.confusion.sum(axis=0))

    @property
    def recall(self) -> NDArray[np.float64]:
        """Of each class [K], the share that is called so; NaN where the class does not occur."""
        return _ratio(np.diag(self.confusion), self.confusion.sum(axis=1))

    @property
    def f1(self) -> NDArray[np.float64]:
        """Of each class [K], the harmonic mean of both; NaN where it neither occurs nor is predicted."""
        return _ratio(2 * np.diag(self.confusion), self.confusion.sum(axis=0) + self.confusion.sum(axis=1))

    def macro(self) -> dict[str, float]:
        """Plain means over the classes for which precision, recall and F1 are defined."""
        return {name: _mean(getattr(self, name)) for name in ("precision", "recall", "f1")}

    def published_macro(self) -> dict[str, float]:
        """The same with 0 where one is not defined, over the classes that occur or are predicted (scikit-learn)."""
        seen = self.confusion.sum(axis=0) + self.confusion.sum(axis=1) > 0
        return {name: float(np.nan_to_num(getattr(self, name))[seen].mean()) for name in ("precision", "recall", "f1")}


def probabilities(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """Class probabilities [n, K] of logits [n, K, P]: those of their mean over the parts (OpenGait evaluator)."""
    return softmax(logits.astype(np.float64).mean(axis=2), axis=1)


def classify(
    scores: NDArray[np.floating], truth: Sequence[str], classes: Sequence[str], positive: Collection[str] = ()
) -> Classification:
    """Score a classifier: the class with the largest score is its answer, among equal ones the first.

    Args:
        scores: [n, K] probabilities, or anything that adds up over the positive classes.
        truth: the true class of each of n items.
        classes: names of the K classes, in the order of the scores.
        positive: the classes that mean "found" for sensitivity, specificity and AUROC.

    Raises:
        ValueError: no items, shapes that do not fit, a true or positive class that is not among the classes, or scores
            that are not finite.
    """
    names = list(classes)
    if scores.shape != (len(truth), len(names)) or not len(truth):
        raise ValueError(f"expected scores of {len(truth)} items (at least one), {len(names)} classes: {scores.shape}")
    if unknown := ({*truth} | {*positive}) - {*names}:
        raise ValueError(f"not among the classes {', '.join(names)}: {', '.join(sorted(unknown))}")
    if not np.isfinite(scores).all():
        raise ValueError("scores hold NaN or infinite values")
    true = np.array([names.index(name) for name in truth])
    predicted = scores.argmax(axis=1)
    confusion = np.zeros((len(names), len(names)), dtype=np.int64)
    np.add.at(confusion, (true, predicted), 1)
    found = np.isin(names, list(positive))
    ill, called = found[true], found[predicted]
    return Classification(
        classes=tuple(names),
        confusion=confusion,
        sensitivity=_mean(called[ill].astype(float)) if positive else np.nan,
        specificity=_mean(~called[~ill]) if positive else np.nan,
        auroc=area_under_roc(scores[:, found].sum(axis=1), ill) if positive else np.nan,
    )


def by_subject(
    scores: NDArray[np.floating], truth: Sequence[str], subjects: Sequence[str], how: Literal["mean", "majority"]
) -> tuple[NDArray[np.float64], list[str], list[str]]:
    """Scores [S, K], true classes and names of S subjects, sorted, from those of n sequences.

    `mean` averages the scores of a subject's sequences; `majority` lets each vote for its class, and the scores are
    the shares of the votes.

    Raises:
        ValueError: sequences of one subject with different true classes.
    """
    names, who = np.unique(np.asarray(subjects, dtype=str), return_inverse=True)
    votes = scores if how == "mean" else np.eye(scores.shape[1])[scores.argmax(axis=1)]
    totals = np.zeros((len(names), scores.shape[1]))
    np.add.at(totals, who, votes)
    true: dict[int, str] = {}
    for number, label in zip(who.tolist(), truth, strict=True):
        if true.setdefault(number, label) != label:
            raise ValueError(f"subject {names[number]} is both {true[number]} and {label}")
    return totals / np.bincount(who)[:, None], [true[number] for number in range(len(names))], names.tolist()


def area_under_roc(scores: NDArray[np.floating], positive: NDArray[np.bool_]) -> float:
    """Probability that a positive item scores above a negative one, ties half (Mann, Whitney); NaN without either.

    Args:
        scores: [n].
        positive: bool [n].
    """
    found, others = int(positive.sum()), int((~positive).sum())
    if not found or not others:
        return np.nan
    return float((rankdata(scores)[positive].sum() - found * (found + 1) / 2) / (found * others))


def _ratio(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)


def _mean(values: NDArray[np.floating] | NDArray[np.bool_]) -> float:
    """The mean of what is not NaN; NaN if nothing is."""
    there = values[~np.isnan(values.astype(float))]
    return float(there.mean()) if there.size else np.nan
