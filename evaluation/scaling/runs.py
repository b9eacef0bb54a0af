"""Finished runs as arrays: what laws are fitted to."""

from dataclasses import dataclass, fields, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from datasets.schema.errors import UsageError
from evaluation.scaling.fit import SAME
from evaluation.scaling.robust_fit import Array

Axis = Literal["parameters", "seen", "flop"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Runs:
    """n finished runs of a study; arrays [n] unless a shape is given.

    Attributes:
        parameters: by the rule of cells.py.
        seen: sequences seen in training, repetitions included.
        unique: different sequences among them.
        flop: of the training.
        loss: a loss or an error rate.
        by_subject: [n, S], the loss of each held-out subject.
        subject_weight: [S], how much each counts in `loss`, such as its number of queries; all the same by default.
        trunk: names the training that runs share up to the step where each leaves the constant learning rate; by
            default each run is a training of its own.
    """

    parameters: Array
    seen: Array
    unique: Array
    flop: Array
    loss: Array
    by_subject: Array | None = None
    subject_weight: Array | None = None
    trunk: NDArray[np.str_] | None = None

    def __post_init__(self) -> None:
        """Raises UsageError for numbers that are missing or not positive, ValueError for shapes that do not fit."""
        count = len(self.loss)
        for name in ("parameters", "seen", "unique", "flop", "loss"):
            values = np.asarray(getattr(self, name), dtype=float)
            object.__setattr__(self, name, values)
            if values.shape != (count,):
                raise ValueError(f"{count} losses, but {name} of shape {values.shape}")
            _refuse_where(~(np.isfinite(values) & (values > 0)), name, values, "is not a positive number")
        _refuse_where(self.unique > self.seen * (1 + SAME), "unique", self.unique, "is more than the run has seen")
        if self.trunk is not None and len(self.trunk) != count:
            raise ValueError(f"{count} losses, but {len(self.trunk)} trunks")
        if self.by_subject is not None:
            self._check_subjects()

    def _check_subjects(self) -> None:
        per_subject = np.asarray(self.by_subject, dtype=float)
        object.__setattr__(self, "by_subject", per_subject)
        if per_subject.ndim != 2 or len(per_subject) != len(self):
            raise ValueError(f"{len(self)} losses, but those by subject of shape {per_subject.shape}")
        wrong = ~(np.isfinite(per_subject) & (per_subject >= 0)).all(axis=1)
        _refuse_where(wrong, "loss", self.loss, "has missing or negative values by subject")
        subjects = per_subject.shape[1]
        weight = np.ones(subjects) if self.subject_weight is None else np.asarray(self.subject_weight, dtype=float)
        object.__setattr__(self, "subject_weight", weight)
        if weight.shape != (subjects,) or not (np.isfinite(weight) & (weight > 0)).all():
            raise UsageError(
                f"weights of subjects must be {subjects} positive numbers: leave out those without a query"
            )

    def __len__(self) -> int:
        return len(self.loss)

    def take(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> "Runs":
        """Some of the runs, by a mask [n] or by indices."""
        per_run = [field.name for field in fields(self) if field.name != "subject_weight"]
        return replace(self, **{name: getattr(self, name)[rows] for name in per_run if getattr(self, name) is not None})

    def without_subjects(self) -> "Runs":
        """The same runs without the values by subject."""
        return replace(self, by_subject=None, subject_weight=None)


def _refuse_where(wrong: NDArray[np.bool_], name: str, values: Array, reason: str) -> None:
    if wrong.any():
        first = int(wrong.argmax())
        raise UsageError(
            f"{name} of run {first} ({values[first]:g}) {reason}, as in {wrong.sum()} of {len(wrong)} runs: "
            "correct or leave them out"
        )
