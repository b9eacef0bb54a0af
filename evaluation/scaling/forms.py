"""The laws as problems to fit: logarithms of predictions with their derivatives, starts, and bounds.

Parameters and sequences are taken relative to their geometric mean, where the constants are hardly correlated. Callers
check first that the points determine the constants (law_fits.py).
"""

from dataclasses import dataclass

import numpy as np

from evaluation.scaling.fit import Problem, Requirement
from evaluation.scaling.laws import LossLaw, SaturatingLaw, repeat_data
from evaluation.scaling.robust_fit import Array, Form

_EXPONENTS = np.geomspace(0.05, 2.0, 8)  # of the starts
_DECAYS = np.array([1.0, 5.0, 25.0])  # of the starts
_NEGLIGIBLE = 7.0  # log units: a term this far below the smallest measured value is 0.1% of it
_NO_FLOOR = ("no floor is seen", "")


def loss_problem(
    parameters: Array,
    seen: Array,
    unique: Array,
    loss: Array,
    decay: float | None,
    requirements: tuple[Requirement, ...],
) -> Problem[LossLaw]:
    """log L with constants (log E, log A and log B at the centre, alpha, beta, and log R* unless `decay` is given).

    All arrays [n].
    """
    centre = (np.log(parameters).mean(), np.log(seen).mean())
    form, starts = _loss_form(np.log(parameters) - centre[0], seen, unique, loss, decay, centre[1])
    low, high = np.log(loss.min()), np.log(loss.max())
    bounds = np.array([[low - _NEGLIGIBLE] * 3 + [5e-3, 5e-3, -3], [high, high + 1, high + 1, 4, 4, 7]])

    def law_of(constants: Array) -> LossLaw:
        e, u, v, alpha, beta = np.moveaxis(constants[..., :5], -1, 0)
        return LossLaw(
            floor=np.exp(e),
            a=np.exp(u + alpha * centre[0]),
            alpha=alpha,
            b=np.exp(v + beta * centre[1]),
            beta=beta,
            decay=np.exp(constants[..., 5]) if decay is None else decay,
        )

    notes = (
        _NO_FLOOR,
        ("size makes hardly any difference", ""),
        ("the amount of data makes hardly any difference", ""),
        ("the gain with size is indistinguishable from a constant", "only the smallest size is worse"),
        ("the gain with data is indistinguishable from a constant", "only the smallest amount is worse"),
        ("repeated sequences are worth nothing", "repeated sequences are worth as much as new ones"),
    )
    p = starts.shape[1]
    return Problem(
        form=form,
        target=np.log(loss),
        bounds=bounds[:, :p],
        starts=starts,
        law_of=law_of,
        bound_notes=notes[:p],
        requirements=requirements,
    )


def _loss_form(
    x: Array, seen: Array, unique: Array, loss: Array, decay: float | None, centre: float
) -> tuple[Form, Array]:
    """The form and its starts. x: log N relative to its centre; centre: of log D."""
    if decay is None:
        repeating = _RepeatingLossForm(x, unique, seen / unique - 1, centre)
        starts = [_loss_starts(x, repeating.log_data(np.log([start]))[0][0], loss, start) for start in _DECAYS]
        return repeating, np.concatenate(starts)
    y = np.log(repeat_data(unique, seen, decay)) - centre
    return _LossForm(x, y), _loss_starts(x, y, loss, None)


@dataclass(frozen=True)
class _LossForm:
    """x, y: log N and log D', [n], relative to their centres."""

    x: Array
    y: Array

    def __call__(self, constants: Array) -> tuple[Array, Array]:
        prediction, shares = _loss_terms(constants, self.x, self.y)
        slopes = np.empty((*prediction.shape, 5))
        slopes[..., :3] = shares.transpose(1, 2, 0)
        slopes[..., 3] = -shares[1] * self.x
        slopes[..., 4] = -shares[2] * self.y
        return prediction, slopes


@dataclass(frozen=True)
class _RepeatingLossForm:
    """As `_LossForm`, but R* is fitted too: D' follows from it, unique sequences [n] and repetitions [n]."""

    x: Array
    unique: Array
    repeats: Array
    centre: float

    def log_data(self, log_decay: Array) -> tuple[Array, Array]:
        """log D' relative to the centre and its derivative by log R*, [R, n] each, of log R* [R]."""
        star = np.exp(log_decay)[:, None]
        remaining = np.exp(-self.repeats / star)
        worth = 1 + star * (1 - remaining)
        return np.log(self.unique * worth) - self.centre, (star * (1 - remaining) - self.repeats * remaining) / worth

    def __call__(self, constants: Array) -> tuple[Array, Array]:
        y, y_slope = self.log_data(constants[:, 5])
        prediction, shares = _loss_terms(constants, self.x, y)
        beta = constants[:, 4:5]
        by_exponents = (-shares[1] * self.x, -shares[2] * y, -shares[2] * beta * y_slope)
        return prediction, np.stack([*shares, *by_exponents], axis=-1)


def _loss_terms(constants: Array, x: Array, y: Array) -> tuple[Array, Array]:
    """log of the sum of the three terms, [R, n], and the share of each, [3, R, n]."""
    e, u, v, alpha, beta = constants[:, :5].T[:, :, None]
    return _log_sum(np.stack([np.broadcast_to(e, (len(e), len(x))), u - alpha * x, v - beta * y]))


def _log_sum(logs: Array) -> tuple[Array, Array]:
    """log(sum(exp(logs))) over the first axis, and the share of each term in the sum."""
    top = logs.max(axis=0)
    shares = np.exp(logs - top)
    total = shares.sum(axis=0)
    shares /= total
    return top + np.log(total), shares


def _loss_starts(x: Array, y: Array, loss: Array, decay: float | None) -> Array:
    """Starts [64, p]: for each pair of exponents, the three terms by least squares on relative errors."""
    rows = []
    for alpha in _EXPONENTS:
        for beta in _EXPONENTS:
            terms = np.stack([np.ones(len(x)), np.exp(-alpha * x), np.exp(-beta * y)], axis=1)
            rest = [alpha, beta] if decay is None else [alpha, beta, np.log(decay)]
            rows.append([*_log_terms(terms, loss), *rest])
    return np.array(rows)


def _log_terms(terms: Array, measured: Array) -> Array:
    """Logarithms [k] of the weights with which terms [n, k] add up to the measurements; negative ones are clipped."""
    weights = np.linalg.lstsq(terms / measured[:, None], np.ones(len(measured)), rcond=None)[0]
    logs: Array = np.log(np.maximum(weights, 0.02 * measured.min()))
    return logs


def saturating_problem(
    x: Array, error: Array, shift: float | None, requirements: tuple[Requirement, ...]
) -> Problem[SaturatingLaw]:
    """log e with constants (log scale at the centre, exponent, log shift, log floor), for x and error rates [n].

    A given shift has equal bounds.
    """
    centre = np.log(x).mean()
    relative = x / np.exp(centre)
    if shift is None:
        shift_bounds = np.log(relative.min()) - _NEGLIGIBLE, np.log(relative.max()) + 2
        shifts = [shift_bounds[0], *np.log(np.quantile(relative, [0.1, 0.5, 0.9]))]
    else:
        shift_bounds = (np.log(max(shift, 1e-12 * x.min())) - centre,) * 2
        shifts = [shift_bounds[0]]
    low, high = np.log(error.min()), np.log(error.max())
    lower = [low - _NEGLIGIBLE, 5e-3, shift_bounds[0], low - _NEGLIGIBLE]
    bounds = np.array([lower, [high + 12, 6, shift_bounds[1], high]])

    def law_of(constants: Array) -> SaturatingLaw:
        scale, exponent, log_shift, floor = np.moveaxis(constants, -1, 0)
        return SaturatingLaw(
            scale=np.exp(scale + exponent * centre),
            shift=np.exp(log_shift + centre) if shift is None else shift,
            exponent=exponent,
            floor=np.exp(floor),
        )

    notes = (
        ("nothing is gained", ""),
        ("the gain is indistinguishable from a constant", ""),
        ("no plateau is seen at the small end", "the gain has hardly begun"),
        _NO_FLOOR,
    )
    return Problem(
        form=_SaturatingForm(relative),
        target=np.log(error),
        bounds=bounds,
        starts=_saturating_starts(relative, error, shifts),
        law_of=law_of,
        bound_notes=notes,
        requirements=requirements,
    )


@dataclass(frozen=True)
class _SaturatingForm:
    """x [n], relative to its geometric mean."""

    x: Array

    def __call__(self, constants: Array) -> tuple[Array, Array]:
        scale, exponent, log_shift, floor = constants.T[:, :, None]
        shift = np.exp(log_shift)
        log_x = np.log(self.x + shift)
        prediction, (gain, rest) = _log_sum(np.stack([scale - exponent * log_x, np.broadcast_to(floor, log_x.shape)]))
        by_shift = -gain * exponent * shift / (self.x + shift)
        return prediction, np.stack([gain, -gain * log_x, by_shift, rest], axis=-1)


def _saturating_starts(x: Array, error: Array, log_shifts: list[float]) -> Array:
    """Starts [S, 4]: for each exponent and shift, scale and floor by least squares on relative errors."""
    rows = []
    for exponent in _EXPONENTS:
        for log_shift in log_shifts:
            terms = np.stack([(x + np.exp(log_shift)) ** -exponent, np.ones(len(x))], axis=1)
            scale, floor = _log_terms(terms, error)
            rows.append([scale, exponent, log_shift, floor])
    return np.array(rows)
