"""Fits the laws of scaling to runs: L(N, D) for a loss, saturating forms for error rates, and the cost of training.

Runs that do not determine the constants of a law are refused with the reason.
"""

import numpy as np

from datasets.schema.errors import UsageError
from evaluation.scaling.fit import SAME, Fit, Requirement, fit
from evaluation.scaling.forms import loss_problem, saturating_problem
from evaluation.scaling.laws import FlopRule, LossLaw, SaturatingLaw
from evaluation.scaling.robust_fit import Array
from evaluation.scaling.runs import Axis, Runs

_COLLINEAR = 0.999  # correlation of log N and log D above which their effects cannot be separated


def fit_flop_rule(runs: Runs) -> FlopRule:
    """FLOP per sequence as a power of the parameters, by least squares on logarithms.

    Raises:
        UsageError: all runs have the same size.
    """
    _check_variation(len(runs), 2, Requirement(name="sizes", values=runs.parameters, least=2))
    power, scale = np.polyfit(np.log(runs.parameters), np.log(runs.flop / runs.seen), 1)
    return FlopRule(scale=float(np.exp(scale)), power=float(power))


def fit_loss(runs: Runs, *, decay: float | None = np.inf, delta: float | None = None) -> Fit[LossLaw]:
    """L(N, D) = E + A / N^alpha + B / D^beta, by Huber's loss on logarithms from many starts.

    Args:
        runs: at least six, of three sizes and three numbers of sequences seen.
        decay: R* of `repeat_data`. Infinite: repeated sequences are as good as new ones. None: fitted, which takes
            seven runs, two numbers of unique sequences and three of epochs.
        delta: see `fit`. Hoffmann et al. and Besiroglu et al. used 1e-3.

    Raises:
        UsageError: too few or degenerate runs, with the reason.
    """
    required = [
        Requirement(name="sizes", values=runs.parameters, least=3),
        Requirement(name="numbers of sequences seen", values=runs.seen, least=3),
    ]
    if decay is None:
        required += [
            Requirement(name="numbers of unique sequences", values=runs.unique, least=2),
            Requirement(name="numbers of epochs", values=runs.seen / runs.unique, least=3),
        ]
    _check_variation(len(runs), 6 if decay is not None else 7, *required)
    correlation = np.corrcoef(np.log(runs.parameters), np.log(runs.seen))[0, 1]
    if abs(correlation) > _COLLINEAR:
        raise UsageError(
            f"parameters and sequences seen are collinear over all runs (correlation of their logarithms "
            f"{correlation:.4f}), so their effects cannot be separated: train a size on several numbers of sequences"
        )
    _refuse_equal(runs.loss, "losses")
    return fit(loss_problem(runs.parameters, runs.seen, runs.unique, runs.loss, decay, tuple(required)), delta)


def fit_error(
    runs: Runs, against: Axis, *, shift: float | None = None, delta: float | None = None
) -> Fit[SaturatingLaw]:
    """e = a (x + d)^-b + c for an error rate against one quantity; all other differences between runs count as noise.

    Args:
        runs: at least six, at five values of x, with `loss` the error rate in any unit.
        against: the quantity x.
        shift: d if it is known, such as 0 for no plateau at small x; five runs at four values of x are then enough.
        delta: see `fit`.

    Raises:
        UsageError: too few or degenerate runs, with the reason.
    """
    constants = 4 if shift is None else 3
    name, x = f"values of {against}", getattr(runs, against)
    _check_variation(len(runs), constants + 2, Requirement(name=name, values=x, least=constants + 1))
    _refuse_equal(runs.loss, "error rates")
    # A bootstrap repeats runs, so its draws hold fewer values of x: as many as constants are enough for them.
    return fit(saturating_problem(x, runs.loss, shift, (Requirement(name=name, values=x, least=constants),)), delta)


def _check_variation(runs: int, least: int, *required: Requirement) -> None:
    """UsageError for fewer than `least` runs, or too few different values of a required quantity."""
    if runs < least:
        raise UsageError(f"{runs} runs do not determine the constants of the law: at least {least} are needed")
    for one in required:
        found = one.levels().max() + 1
        if found < one.least:
            raise UsageError(f"{found} different {one.name} in {runs} runs: the law needs at least {one.least}")


def _refuse_equal(measured: Array, name: str) -> None:
    if np.ptp(np.log(measured)) <= SAME:
        raise UsageError(f"all {len(measured)} {name} are equal ({measured[0]:g}): no law can be fitted to them")
