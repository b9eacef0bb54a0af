"""Linear probes: classes predicted by a logistic regression from fixed features, and the majority baseline.

Features are standardised and projected onto their first principal components. The strength of the regularisation is
chosen by cross validation within the training rows, whole subjects left out at a time: test rows choose nothing.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

COMPONENTS = 128
_STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # inverse regularisation
_FOLDS = 3


def probe(
    features: NDArray[np.floating],
    labels: NDArray[np.int64],
    subjects: Sequence[str],
    unseen: NDArray[np.floating],
    classes: int,
    balanced: bool,
) -> NDArray[np.float64]:
    """Class probabilities [m, classes] of unseen rows; 0 for a class that no training row has.

    Args:
        features: [n, ...] of the rows to train on; everything after the first axis is one vector.
        labels: [n], in 0..classes-1, of two classes at least.
        subjects: [n], the subject of each row.
        unseen: [m, ...].
        classes: number of classes.
        balanced: whether every class has the same weight, however rare it is.
    """
    known, other = (one.reshape(len(one), -1).astype(np.float32) for one in (features, unseen))
    groups = np.unique(np.asarray(subjects, dtype=str), return_inverse=True)[1]
    best = max(_STRENGTHS, key=lambda strength: _validated(known, labels, groups, strength, balanced))
    fitted = _classifier(len(known), known.shape[1], best, balanced).fit(known, labels)
    found = np.zeros((len(other), classes))
    found[:, fitted.classes_] = fitted.predict_proba(other)
    return found


def majority(labels: NDArray[np.int64], count: int, classes: int) -> NDArray[np.float64]:
    """Class probabilities [count, classes] equal to the frequencies of the classes: the most frequent is predicted."""
    shares = np.bincount(labels, minlength=classes) / len(labels)
    return np.tile(shares, (count, 1))


def _validated(
    features: NDArray[np.float32], labels: NDArray[np.int64], groups: NDArray[np.int64], strength: float, balanced: bool
) -> float:
    """Mean accuracy on subjects left out; 0 with fewer than two subjects."""
    folds = min(_FOLDS, len(np.unique(groups)))
    if folds < 2:
        return 0.0
    classifier = _classifier(len(features) * (folds - 1) // folds, features.shape[1], strength, balanced)
    scoring = "balanced_accuracy" if balanced else "accuracy"
    splits = GroupKFold(folds, shuffle=True, random_state=0)
    scores = cross_val_score(classifier, features, labels, groups=groups, cv=splits, scoring=scoring, error_score=0.0)
    return float(scores.mean())


def _classifier(rows: int, columns: int, strength: float, balanced: bool) -> Pipeline:
    components = max(min(COMPONENTS, rows // 2, columns), 1)
    weights = "balanced" if balanced else None
    return make_pipeline(
        StandardScaler(),
        PCA(components, random_state=0),
        LogisticRegression(C=strength, class_weight=weights, max_iter=1000),
    )
