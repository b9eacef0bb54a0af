"""Scaling laws from the runs of a study: L(N, D) for a loss, saturating forms for error rates, and what they cost.

Numbers in, laws out. This file does not know how a run is trained, how its loss is measured, or where either is kept;
it refuses runs that cannot tell the constants of a law, and says why.
"""

from dataclasses import dataclass, fields, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from datasets.schema.errors import UsageError
from evaluation.scaling.fit import ALIKE, Fit, Need, fit
from evaluation.scaling.forms import loss_problem, saturating_problem
from evaluation.scaling.laws import FlopRule, LossLaw, SaturatingLaw
from evaluation.scaling.robust_fit import Array

Axis = Literal["parameters", "seen", "flop"]

_TIED = 0.999  # correlation of log N and log D beyond which they cannot be told apart


@dataclass(frozen=True, kw_only=True, eq=False)
class Runs:
    """n finished runs of a study; arrays [n] unless said otherwise.

    `parameters` by one stated rule; `seen` counts the sequences that training visited, each as often as it did, and
    `unique` the different ones among them; `flop` is what the training cost; `loss` is a loss or an error rate.
    `by_subject` [n, S] is the same for each held-out subject alone, and `subject_weight` [S] how much of the whole each
    is (how many queries, say; all alike without it). `trunk` names the training that runs have in common, as those have
    that differ in where they leave a constant learning rate; without it, every run is a training of its own.
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
        _refuse_where(self.unique > self.seen * (1 + ALIKE), "unique", self.unique, "is more than the run has seen")
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
        """Some of the runs: by a mask [n], or by their indices."""
        per_run = [field.name for field in fields(self) if field.name != "subject_weight"]
        return replace(self, **{name: getattr(self, name)[rows] for name in per_run if getattr(self, name) is not None})

    def without_subjects(self) -> "Runs":
        """The same runs, measured as a whole."""
        return replace(self, by_subject=None, subject_weight=None)


def fit_flop_rule(runs: Runs) -> FlopRule:
    """The cost of training as a power of the size, by least squares on logarithms.

    Raises:
        UsageError: all runs have the same size.
    """
    refuse_few(len(runs), 2, Need(name="sizes", values=runs.parameters, least=2))
    power, scale = np.polyfit(np.log(runs.parameters), np.log(runs.flop / runs.seen), 1)
    return FlopRule(scale=float(np.exp(scale)), power=float(power))


def fit_loss(runs: Runs, *, decay: float | None = np.inf, delta: float | None = None) -> Fit[LossLaw]:
    """L(N, D) = E + A / N^alpha + B / D^beta, by Huber's loss on log values from many starts.

    Args:
        runs: at least six, of three sizes and three amounts.
        decay: R* of `repeat_data`, what repeated sequences are worth. Infinite: as much as new ones. None: found from
            the runs, which takes seven, two numbers of unique sequences, and three of epochs.
        delta: where Huber's loss turns linear; see `scaling_fit.fit`. Hoffmann et al. and Besiroglu et al. used 1e-3.

    Raises:
        UsageError: too few or degenerate runs, with the reason.
    """
    needs = [Need(name="sizes", values=runs.parameters, least=3), Need(name="amounts", values=runs.seen, least=3)]
    if decay is None:
        needs += [Need(name="numbers of unique sequences", values=runs.unique, least=2)]
        needs += [Need(name="numbers of epochs", values=runs.seen / runs.unique, least=3)]
    refuse_few(len(runs), 6 if decay is not None else 7, *needs)
    tied = np.corrcoef(np.log(runs.parameters), np.log(runs.seen))[0, 1]
    if abs(tied) > _TIED:
        raise UsageError(
            f"size and amount go together in all runs (correlation of their logarithms {tied:.4f}), so what each does "
            "cannot be told: train a size on several amounts"
        )
    _refuse_equal(runs.loss, "losses")
    return fit(loss_problem(runs.parameters, runs.seen, runs.unique, runs.loss, decay, tuple(needs)), delta)


def fit_error(
    runs: Runs, against: Axis, *, shift: float | None = None, delta: float | None = None
) -> Fit[SaturatingLaw]:
    """e = a (x + d)^-b + c, for an error rate against one quantity; what else differs between the runs is noise to it.

    Args:
        runs: at least six, at five values of x, with `loss` the error rate in any unit.
        against: what x is.
        shift: d, where it is known; 0 for no plateau at the small end. Four values of x in five runs are then enough.
        delta: see `scaling_fit.fit`.

    Raises:
        UsageError: too few or degenerate runs, with the reason.
    """
    constants = 4 if shift is None else 3
    need = Need(name=f"values of {against}", values=getattr(runs, against), least=constants + 1)
    refuse_few(len(runs), constants + 2, need)
    _refuse_equal(runs.loss, "error rates")
    # Draws of a bootstrap repeat runs, so they get along with one value less: as many as there are constants.
    return fit(saturating_problem(need.values, runs.loss, shift, (replace(need, least=constants),)), delta)


def refuse_few(runs: int, least: int, *needs: Need) -> None:
    """Raises UsageError where there are fewer runs, or fewer different values of what must differ, than needed."""
    if runs < least:
        raise UsageError(f"{runs} runs cannot tell the constants of the law: at least {least} are needed")
    for need in needs:
        found = need.kinds().max() + 1
        if found < need.least:
            raise UsageError(f"{found} different {need.name} in {runs} runs: the law needs at least {need.least}")


def _refuse_equal(measured: Array, name: str) -> None:
    if np.ptp(np.log(measured)) <= ALIKE:
        raise UsageError(f"all {len(measured)} {name} are equal ({measured[0]:g}): no law can be told from them")


def _refuse_where(wrong: NDArray[np.bool_], name: str, values: Array, reason: str) -> None:
    if wrong.any():
        first = int(wrong.argmax())
        raise UsageError(
            f"{name} of run {first} ({values[first]:g}) {reason}, as in {wrong.sum()} of {len(wrong)} runs: "
            "correct or leave them out"
        )
