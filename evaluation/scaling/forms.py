"""The laws as forms to fit: logarithms of predictions with their derivatives, starts, and bounds.

Sizes and amounts are taken relative to their geometric mean, where the constants hardly depend on each other. This file
takes what it is given: whether the points can tell the constants has been asked before.
"""

from dataclasses import dataclass

import numpy as np

from evaluation.scaling.fit import Need, Problem
from evaluation.scaling.laws import LossLaw, SaturatingLaw
from evaluation.scaling.robust_fit import Array

_EXPONENTS = np.geomspace(0.05, 2.0, 8)  # from which the fits start
_DECAYS = np.array([1.0, 5.0, 25.0])
_NOTHING = 7.0  # in log units: a term this far below the smallest measured value (0.1% of it) is as good as none
_NO_FLOOR = ("no floor is seen", "")


def loss_problem(
    parameters: Array, seen: Array, unique: Array, loss: Array, decay: float | None, needs: tuple[Need, ...]
) -> Problem[LossLaw]:
    """log L of (log E, log A and log B at the centre, alpha, beta, and log R* where `decay` is None). Arrays [n]."""
    centre = (np.log(parameters).mean(), np.log(seen).mean())
    if decay is None:
        form = _RepeatingLossForm(np.log(parameters) - centre[0], unique, seen / unique - 1, centre[1])
        starts = np.concatenate([_loss_starts(form.x, form.data(np.log([star]))[0][0], loss, star) for star in _DECAYS])
    else:
        data = LossLaw(floor=0, a=0, alpha=1, b=1, beta=-1, decay=decay).predict(parameters, seen, unique)
        form = _LossForm(np.log(parameters) - centre[0], np.log(data) - centre[1])
        starts = _loss_starts(form.x, form.y, loss, None)
    low, high = np.log(loss.min()), np.log(loss.max())
    bounds = np.array([[low - _NOTHING] * 3 + [5e-3, 5e-3, -3], [high, high + 1, high + 1, 4, 4, 7]])

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
        ("the gain with size cannot be told from a constant", "only the smallest size is worse"),
        ("the gain with data cannot be told from a constant", "only the smallest amount is worse"),
        ("repeated sequences are worth nothing", "repeated sequences are worth as much as new ones"),
    )
    p = starts.shape[1]
    return Problem(
        form=form,
        target=np.log(loss),
        bounds=bounds[:, :p],
        starts=starts,
        law_of=law_of,
        names=notes[:p],
        needs=needs,
    )


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
    """As `_LossForm`, with D' from unique sequences and repetitions [n] by an R* that is fitted too."""

    x: Array
    unique: Array
    repeats: Array
    centre: float

    def data(self, log_decay: Array) -> tuple[Array, Array]:
        """log D' relative to the centre, and its derivative by log R*, [R, n] of [R]."""
        star = np.exp(log_decay)[:, None]
        left = np.exp(-self.repeats / star)
        worth = 1 + star * (1 - left)
        return np.log(self.unique * worth) - self.centre, (star * (1 - left) - self.repeats * left) / worth

    def __call__(self, constants: Array) -> tuple[Array, Array]:
        y, y_slope = self.data(constants[:, 5])
        prediction, shares = _loss_terms(constants, self.x, y)
        beta = constants[:, 4:5]
        by_exponents = (-shares[1] * self.x, -shares[2] * y, -shares[2] * beta * y_slope)
        return prediction, np.stack([*shares, *by_exponents], axis=-1)


def _loss_terms(constants: Array, x: Array, y: Array) -> tuple[Array, Array]:
    """log of the sum of the three terms, [R, n], and the share of each in it, [3, R, n]."""
    e, u, v, alpha, beta = constants[:, :5].T[:, :, None]
    return _log_sum(np.stack([np.broadcast_to(e, (len(e), len(x))), u - alpha * x, v - beta * y]))


def _log_sum(logs: Array) -> tuple[Array, Array]:
    """log(sum(exp(logs))) over the first axis, and the share of each term."""
    top = logs.max(axis=0)
    shares = np.exp(logs - top)
    total = shares.sum(axis=0)
    shares /= total
    return top + np.log(total), shares


def _loss_starts(x: Array, y: Array, loss: Array, decay: float | None) -> Array:
    """Starts [64, p]: for pairs of exponents, the three terms by least squares on relative errors."""
    rows = []
    for alpha in _EXPONENTS:
        for beta in _EXPONENTS:
            terms = np.stack([np.ones(len(x)), np.exp(-alpha * x), np.exp(-beta * y)], axis=1)
            known = () if decay is None else (np.log(decay),)
            rows.append([*_log_terms(terms, loss), alpha, beta, *known])
    return np.array(rows)


def _log_terms(terms: Array, measured: Array) -> Array:
    """Logarithms of the weights of the terms [n, k] that add up to what was measured; small where they are negative."""
    weights = np.linalg.lstsq(terms / measured[:, None], np.ones(len(measured)), rcond=None)[0]
    return np.log(np.maximum(weights, 0.02 * measured.min()))


def saturating_problem(x: Array, error: Array, shift: float | None, needs: tuple[Need, ...]) -> Problem[SaturatingLaw]:
    """log e of (log scale at the centre, exponent, log shift, log floor), for amounts x and error rates [n].

    A shift that is given has equal bounds.
    """
    centre = np.log(x).mean()
    relative = x / np.exp(centre)
    if shift is None:
        ends = np.log(relative.min()) - _NOTHING, np.log(relative.max()) + 2
        from_shifts = [ends[0], *np.log(np.quantile(relative, [0.1, 0.5, 0.9]))]
    else:
        ends = (np.log(max(shift, 1e-12 * x.min())) - centre,) * 2
        from_shifts = [ends[0]]
    starts = [
        [scale, exponent, away, floor]
        for exponent in _EXPONENTS
        for away in from_shifts
        for scale, floor in [
            _log_terms(np.stack([(relative + np.exp(away)) ** -exponent, np.ones(len(x))], axis=1), error)
        ]
    ]
    low, high = np.log(error.min()), np.log(error.max())
    bounds = np.array([[low - _NOTHING, 5e-3, ends[0], low - _NOTHING], [high + 12, 6, ends[1], high]])

    def form(constants: Array) -> tuple[Array, Array]:
        scale, exponent, log_away, floor = constants.T[:, :, None]
        away = np.exp(log_away)
        passed = np.log(relative + away)
        logs = np.stack([scale - exponent * passed, np.broadcast_to(floor, passed.shape)])
        prediction, (gain, rest) = _log_sum(logs)
        return prediction, np.stack([gain, -gain * passed, -gain * exponent * away / (relative + away), rest], axis=-1)

    def law_of(constants: Array) -> SaturatingLaw:
        scale, exponent, away, floor = np.moveaxis(constants, -1, 0)
        return SaturatingLaw(
            scale=np.exp(scale + exponent * centre),
            shift=np.exp(away + centre) if shift is None else shift,
            exponent=exponent,
            floor=np.exp(floor),
        )

    notes = (
        ("nothing is gained", ""),
        ("the gain cannot be told from a constant", ""),
        ("no plateau is seen at the small end", "the gain has hardly begun"),
        _NO_FLOOR,
    )
    return Problem(
        form=form,
        target=np.log(error),
        bounds=bounds,
        starts=np.array(starts),
        law_of=law_of,
        names=notes,
        needs=needs,
    )
