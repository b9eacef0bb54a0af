"""The metrics of classification. To add one, add an entry to METRICS.

Values are computed by scikit-learn. Accuracy and the `published_` means are those of the OpenGait evaluator
(`evaluate_scoliosis`, which calls scikit-learn with zero_division=0). A number that is not defined is NaN, and left out
of means: the precision of a class that is never predicted, the recall of one that does not occur, AUROC without a
positive or without a negative item. Intervals are percentiles over resamples of subjects, computed for all resamples
at once from their confusion matrices, since scikit-learn would take a millisecond for each.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, precision_recall_fscore_support, recall_score, roc_auc_score

from evaluation.bootstrap import percentile_interval
from evaluation.classification.predictions import Predictions
from evaluation.metrics import Metric

Matrices = NDArray[np.float64]  # confusion matrices of resamples, [B, K, K]
Resampled = Callable[[Predictions, Matrices], NDArray[np.float64]]  # the metric of each resample, [B]
_OF_CLASS = ("precision", "recall", "f1")
_AT_ONCE = 2**22  # weights of items in memory


def per_class(predictions: Predictions) -> dict[str, NDArray[np.float64]]:
    """Precision, recall and F1 of each class, [K] each; NaN where they are not defined."""
    truth, predicted, labels = predictions.truth, predictions.predicted, np.arange(len(predictions.classes))
    found = precision_recall_fscore_support(truth, predicted, labels=labels, zero_division=np.nan)
    return dict(zip(_OF_CLASS, found[:3], strict=True))


def auroc(predictions: Predictions) -> float:
    """Area under the ROC curve of the positive classes against the others, ties half; NaN without either."""
    truth = predictions.positive[predictions.truth]
    if truth.all() or not truth.any():
        return np.nan
    return float(roc_auc_score(truth, predictions.probabilities[:, predictions.positive].sum(axis=1)))


def _accuracy(predictions: Predictions) -> float:
    return float(accuracy_score(predictions.truth, predictions.predicted))


def _macro(name: str) -> Callable[[Predictions], float]:
    """The mean over the classes of which it is defined."""
    return lambda predictions: float(np.nanmean(per_class(predictions)[name]))


def _published(name: str) -> Callable[[Predictions], float]:
    """The mean over the classes that occur or are predicted, 0 where it is not defined."""

    def value(predictions: Predictions) -> float:
        truth, predicted = predictions.truth, predictions.predicted
        found = precision_recall_fscore_support(truth, predicted, average="macro", zero_division=0)
        return float(found[_OF_CLASS.index(name)])

    return value


def _recognised(side: bool) -> Callable[[Predictions], float]:
    """The share of the items on a side (positive or not) that are predicted to be on it; NaN without such items."""

    def value(predictions: Predictions) -> float:
        if not predictions.positive.any():
            return np.nan
        truth, predicted = (predictions.positive[one] for one in (predictions.truth, predictions.predicted))
        return float(recall_score(truth, predicted, pos_label=side, zero_division=np.nan))

    return value


def _interval(resampled: Resampled) -> Callable[[Predictions], tuple[float, float]]:
    """The interval of a metric that `resampled` computes for all resamples."""

    def interval(predictions: Predictions) -> tuple[float, float]:
        if predictions.resamples is None:
            return np.nan, np.nan
        return percentile_interval(resampled(predictions, predictions.resamples.confusion))

    return interval


def _accuracies(_: Predictions, confusion: Matrices) -> NDArray[np.float64]:
    return _ratio(np.trace(confusion, axis1=1, axis2=2), confusion.sum(axis=(1, 2)))


def _macros(name: str) -> Resampled:
    def values(_: Predictions, confusion: Matrices) -> NDArray[np.float64]:
        hits = np.diagonal(confusion, axis1=1, axis2=2)
        truth, predicted = confusion.sum(axis=2), confusion.sum(axis=1)
        part, whole = {
            "precision": (hits, predicted),
            "recall": (hits, truth),
            "f1": (2 * hits, truth + predicted),
        }[name]
        return np.nanmean(_ratio(part, whole), axis=1)

    return values


def _recognised_shares(side: bool) -> Resampled:
    def values(predictions: Predictions, confusion: Matrices) -> NDArray[np.float64]:
        if not predictions.positive.any():
            return np.full(len(confusion), np.nan)
        on_side = predictions.positive == side
        rows = confusion[:, on_side]
        return _ratio(rows[:, :, on_side].sum(axis=(1, 2)), rows.sum(axis=(1, 2)))

    return values


def _aurocs(predictions: Predictions, _: Matrices) -> NDArray[np.float64]:
    """AUROC of each resample, [B]: each pair of a positive and a negative item counts as often as both were drawn."""
    assert predictions.resamples is not None
    score = predictions.probabilities[:, predictions.positive].sum(axis=1)
    order = np.argsort(score, kind="stable")
    begins = np.flatnonzero(np.diff(score[order], prepend=-np.inf) > 0)  # of each group of equal scores
    positive = predictions.positive[predictions.truth]
    drawn, who, found = predictions.resamples.drawn, predictions.resamples.who, []
    batch = max(_AT_ONCE // len(score), 1)
    for start in range(0, len(drawn), batch):
        weights = drawn[start : start + batch, who]
        ups, downs = (np.add.reduceat((weights * side)[:, order], begins, axis=1) for side in (positive, ~positive))
        below = np.cumsum(downs, axis=1) - 0.5 * downs  # equal scores count half
        found.append(_ratio((ups * below).sum(axis=1), ups.sum(axis=1) * downs.sum(axis=1)))
    return np.concatenate(found)


def _ratio(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=whole > 0)


def _over_classes(name: str, title: str, meaning: str) -> Metric[Predictions]:
    meaning, interval = f"{meaning}, averaged over classes", _interval(_macros(name))
    return Metric(name=name, title=title, meaning=meaning, value=_macro(name), interval=interval)


def _published_mean(name: str) -> Metric[Predictions]:
    meaning = f"{name} as the published evaluator averages it, 0 for classes where it is not defined"
    return Metric(
        name=f"published_{name}",
        title=f"published {name}",
        meaning=meaning,
        value=_published(name),
        in_tables=False,
    )


METRICS: tuple[Metric[Predictions], ...] = (
    Metric(
        name="accuracy",
        title="accuracy",
        meaning="share of the items whose class is predicted",
        value=_accuracy,
        interval=_interval(_accuracies),
    ),
    _over_classes("precision", "precision", "share of the items predicted as a class that are of it"),
    _over_classes("recall", "recall", "share of the items of a class that are predicted as it"),
    _over_classes("f1", "F1", "harmonic mean of the precision and the recall of a class"),
    Metric(
        name="sensitivity",
        title="sensitivity",
        meaning="share of the positive items that are predicted as a positive class",
        value=_recognised(True),
        interval=_interval(_recognised_shares(True)),
    ),
    Metric(
        name="specificity",
        title="specificity",
        meaning="share of the other items that are predicted as another class",
        value=_recognised(False),
        interval=_interval(_recognised_shares(False)),
    ),
    Metric(
        name="auroc",
        title="AUROC",
        meaning="probability that a positive item is ranked above another one",
        value=auroc,
        interval=_interval(_aurocs),
    ),
    *(_published_mean(name) for name in _OF_CLASS),
)
