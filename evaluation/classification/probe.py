"""A linear probe of fixed features: what a simple reader can tell from an embedding that was made without labels.

Features are standardised and brought to their first principal components; a logistic regression reads these. Its
strength is chosen by cross validation within the training rows, whole subjects left out at a time, so that the test
rows choose nothing. Arrays in, numbers out: it does not know what the classes mean.
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
        subjects: whose each of them is.
        unseen: [m, ...].
        balanced: whether classes count alike however rare they are.
    """
    known, other = (one.reshape(len(one), -1).astype(np.float32) for one in (features, unseen))
    groups = np.unique(np.asarray(subjects, dtype=str), return_inverse=True)[1]
    best = max(_STRENGTHS, key=lambda strength: _validated(known, labels, groups, strength, balanced))
    fitted = _reader(len(known), known.shape[1], best, balanced).fit(known, labels)
    found = np.zeros((len(other), classes))
    found[:, fitted.classes_] = fitted.predict_proba(other)
    return found


def majority(labels: NDArray[np.int64], count: int, classes: int) -> NDArray[np.float64]:
    """Scores [count, classes] of who always names the most frequent class, and knows how frequent each is."""
    shares = np.bincount(labels, minlength=classes) / len(labels)
    return np.tile(shares, (count, 1))


def _validated(
    features: NDArray[np.float32], labels: NDArray[np.int64], groups: NDArray[np.int64], strength: float, balanced: bool
) -> float:
    """Mean accuracy on subjects left out; 0 where too few are there to leave any out."""
    folds = min(_FOLDS, len(np.unique(groups)))
    if folds < 2:
        return 0.0
    reader = _reader(len(features) * (folds - 1) // folds, features.shape[1], strength, balanced)
    scoring = "balanced_accuracy" if balanced else "accuracy"
    splits = GroupKFold(folds, shuffle=True, random_state=0)
    scores = cross_val_score(reader, features, labels, groups=groups, cv=splits, scoring=scoring, error_score=0.0)
    return float(scores.mean())


def _reader(rows: int, columns: int, strength: float, balanced: bool) -> Pipeline:
    components = max(min(COMPONENTS, rows // 2, columns), 1)
    weights = "balanced" if balanced else None
    return make_pipeline(
        StandardScaler(),
        PCA(components, random_state=0),
        LogisticRegression(C=strength, class_weight=weights, max_iter=1000),
    )
