"""Predictions of a classifier: class probabilities and true classes, by sequence and by subject."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.metrics import confusion_matrix

from evaluation.bootstrap import RESAMPLES, draw_clusters


@dataclass(frozen=True, eq=False)
class Confusion:
    """How often each class was predicted as each: `counts` [K, K], rows true classes, columns predicted ones."""

    classes: tuple[str, ...]
    counts: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Predictions:
    """The output of a classifier for n items. Made by `of`, which checks it.

    `probabilities` [n, K] of the K `classes`; `truth` [n], the true class of each item by its number; `subjects` [n],
    the subject of each; `positive` bool [K], the classes that mean "found" for sensitivity, specificity and AUROC.
    """

    probabilities: NDArray[np.floating]
    truth: NDArray[np.int64]
    subjects: NDArray[np.str_]
    classes: tuple[str, ...]
    positive: NDArray[np.bool_]

    @classmethod
    def of(
        cls,
        probabilities: NDArray[np.floating],
        truth: Sequence[str],
        subjects: Sequence[str],
        classes: Sequence[str],
        positive: Collection[str] = (),
    ) -> "Predictions":
        """Check and number the classes.

        Args:
            probabilities: [n, K], or shares of votes: they must add up over the positive classes.
            truth, subjects: the true class and the subject of each of n items.
            classes: names of the K classes, in the order of the probabilities.
            positive: some of them.

        Raises:
            ValueError: no items, shapes that do not fit, a true or positive class that is not among the classes, or
                probabilities that are not finite.
        """
        names = list(classes)
        if probabilities.shape != (len(truth), len(names)) or not len(truth) or len(subjects) != len(truth):
            raise ValueError(
                f"expected probabilities of {len(truth)} items (at least one) of {len(subjects)} subjects, "
                f"{len(names)} classes: {probabilities.shape}"
            )
        if unknown := ({*truth} | {*positive}) - {*names}:
            raise ValueError(f"not among the classes {', '.join(names)}: {', '.join(sorted(unknown))}")
        if not np.isfinite(probabilities).all():
            raise ValueError("probabilities hold NaN or infinite values")
        return cls(
            probabilities=probabilities,
            truth=np.array([names.index(name) for name in truth]),
            subjects=np.asarray(subjects, dtype=str),
            classes=tuple(names),
            positive=np.isin(names, list(positive)),
        )

    @cached_property
    def predicted(self) -> NDArray[np.int64]:
        """The class with the largest probability, by its number, [n]; among equal ones the first."""
        return self.probabilities.argmax(axis=1)

    @property
    def confusion(self) -> Confusion:
        """Counts of all classes, whether or not they occur."""
        counts = confusion_matrix(self.truth, self.predicted, labels=np.arange(len(self.classes)))
        return Confusion(self.classes, counts)

    @property
    def one_class_a_subject(self) -> bool:
        """Whether all items of a subject have the same true class (not so for attributes such as a coat)."""
        pairs = set(zip(self.subjects.tolist(), self.truth.tolist(), strict=True))
        return len(pairs) == len(set(self.subjects.tolist()))

    def by_subject(self, how: Literal["mean", "majority"]) -> "Predictions":
        """One item for each subject, sorted by name.

        `mean` averages the probabilities of a subject's items; `majority` lets each item vote for its class, and the
        probabilities are the shares of the votes.

        Raises:
            ValueError: items of one subject with different true classes.
        """
        names, first, who = np.unique(self.subjects, return_index=True, return_inverse=True)
        truth = self.truth[first]
        if len(wrong := np.flatnonzero(truth[who] != self.truth)):
            item = wrong[0]
            classes = f"{self.classes[truth[who[item]]]} and {self.classes[self.truth[item]]}"
            raise ValueError(f"subject {self.subjects[item]} is both {classes}")
        votes = self.probabilities if how == "mean" else np.eye(len(self.classes))[self.predicted]
        totals = np.zeros((len(names), len(self.classes)))
        np.add.at(totals, who, votes)
        means = totals / np.bincount(who)[:, None]
        return Predictions(
            probabilities=means, truth=truth, subjects=names, classes=self.classes, positive=self.positive
        )

    @cached_property
    def resamples(self) -> "Resamples | None":
        """Draws of subjects for intervals, the same for every metric; None with a single subject."""
        people, who = np.unique(self.subjects, return_inverse=True)
        if len(people) < 2:
            return None
        drawn = draw_clusters(len(people), RESAMPLES, np.random.default_rng(0)).astype(np.float64)
        counts = np.zeros((len(people), len(self.classes), len(self.classes)))
        np.add.at(counts, (who, self.truth, self.predicted), 1)
        return Resamples(drawn=drawn, who=who, confusion=np.tensordot(drawn, counts, axes=1))


@dataclass(frozen=True, kw_only=True, eq=False)
class Resamples:
    """B draws of the S subjects with replacement, each with all its items.

    `drawn` [B, S]: how often each subject is in each; `who` [n]: the number of each item's subject; `confusion`
    [B, K, K]: the confusion matrix of each.
    """

    drawn: NDArray[np.float64]
    who: NDArray[np.int64]
    confusion: NDArray[np.float64]


def class_probabilities(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """Class probabilities [n, K] of logits [n, K, P]: the softmax of their mean over the parts (OpenGait evaluator)."""
    return softmax(logits.astype(np.float64).mean(axis=2), axis=1)
