"""What runs of a study are compared by: the unsmoothed loss against a fixed bank of keys, and values by subject.

The contrast is that of training (InfoNCE of each part over cosines, and of their mean over parts), without smoothing
and with the same keys for every run. Arrays in, numbers out: it knows neither networks nor where clips come from.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]


@dataclass(frozen=True, kw_only=True)
class BySubject:
    """A number, and the same for each held-out subject alone; `weights` are how much of the whole each of them is."""

    value: float
    subjects: tuple[str, ...]
    values: tuple[float, ...]
    weights: tuple[float, ...]


def bank_losses(
    predicted: Array, keys: Array, walks: NDArray[np.int64], temperature: float, joint_temperature: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """InfoNCE of n queries against n keys, of which each query's own has its number: by part [n, P], and joint [n].

    Args:
        predicted, keys: [n, P, C] of any length; they are compared by their cosines.
        walks: [n]; keys of a query's own walk are no negatives.
        temperature, joint_temperature: of a part, and of the mean over parts.
    """
    count, parts, _ = predicted.shape
    left_out = (walks[:, None] == walks) & ~np.eye(count, dtype=bool)
    losses, together = np.empty((count, parts)), np.zeros((count, count))
    for part in range(parts):
        cosines = _unit(predicted[:, part]) @ _unit(keys[:, part]).T
        together += cosines / parts
        losses[:, part] = _infonce(1 / temperature * cosines, left_out)
    return losses, _infonce(1 / joint_temperature * together, left_out)


def by_subject(values: Array, subjects: NDArray[np.str_]) -> BySubject:
    """The mean of values [n], and of each subject's own."""
    names, who = np.unique(subjects, return_inverse=True)
    counts = np.bincount(who)
    means = np.bincount(who, weights=values) / counts
    return BySubject(
        value=float(np.mean(values)),
        subjects=tuple(names.tolist()),
        values=tuple(means.tolist()),
        weights=tuple(counts.astype(float).tolist()),
    )


def _unit(rows: Array) -> NDArray[np.float64]:
    rows = np.asarray(rows, dtype=np.float64)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def _infonce(logits: NDArray[np.float64], left_out: NDArray[np.bool_]) -> NDArray[np.float64]:
    """[n] of logits [n, n] with the own key on the diagonal."""
    among = np.where(left_out, -np.inf, logits)
    top = among.max(axis=1)
    return top + np.log(np.exp(among - top[:, None]).sum(axis=1)) - np.diag(logits)
