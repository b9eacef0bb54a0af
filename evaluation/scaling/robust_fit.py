"""Many small curve fits at once: Huber's loss, box bounds, a damped Newton iteration over all of them in step.

A bootstrap is a thousand fits of one form to slightly different numbers, and numpy is fast only if they advance
together. This file does not know what is fitted: a form turns constants into predictions and their derivatives.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Form = Callable[[Array], tuple[Array, Array]]  # constants [R, p] to predictions [R, n] and derivatives [R, n, p]

_SMALLEST_DAMPING, _LARGEST_DAMPING = 1e-8, 1e8
_BLOCK_VALUES = 2**17  # derivatives held at once, 1 MiB: they then stay in the processor's cache


def huber(residuals: Array, delta: float) -> Array:
    """Huber's loss of each residual: quadratic up to `delta`, linear beyond (Huber, 1964)."""
    size = np.abs(residuals)
    inside = np.minimum(size, delta)
    return inside * (size - inside / 2)


def minimise(
    form: Form, start: Array, target: Array, weight: Array, delta: float, bounds: Array, iterations: int = 300
) -> tuple[Array, Array]:
    """The local optima next to `start` of sum(weight * huber(form - target)), each within its bounds.

    Each fit takes Newton steps on Huber's loss with the derivatives of the form taken as constant. Points in the linear
    zone have no curvature; the damping of a fit gives them that of the quadratic that touches their loss from above
    (iteratively reweighted least squares), which cannot overshoot, and beyond one shortens the step as Levenberg and
    Marquardt do. It falls with every step that helps and rises with every step that does not.

    Args:
        form: what is fitted; derivatives are those of the predictions.
        start: [R, p], one row a fit; moved into the bounds.
        target: [R, n] or [1, n], what the form should predict.
        weight: [R, n] or [1, n], nonnegative.
        delta: where Huber's loss turns linear, in units of the target.
        bounds: [2, p], the smallest and the largest value of each constant.
        iterations: at most so many; a fit ends before when a step no longer gains anything.

    Returns:
        Constants [R, p] and the loss [R] at them.
    """
    count, points = len(start), target.shape[1]
    target, weight = (np.broadcast_to(values, (count, points)) for values in (target, weight))
    rows = max(1, _BLOCK_VALUES // (points * start.shape[1]))
    found = [
        _minimise(form, start[i : i + rows], target[i : i + rows], weight[i : i + rows], delta, bounds, iterations)
        for i in range(0, count, rows)
    ]
    return np.concatenate([constants for constants, _ in found]), np.concatenate([loss for _, loss in found])


def _minimise(
    form: Form, start: Array, target: Array, weight: Array, delta: float, bounds: Array, iterations: int
) -> tuple[Array, Array]:
    """`minimise` for as many fits as fit into the cache; those that have ended are dropped from the arrays."""
    constants = np.clip(start, *bounds)
    loss = np.empty(len(start))
    going = np.arange(len(start))
    here = constants.copy()
    prediction, slopes = form(here)
    value = (weight * huber(prediction - target, delta)).sum(axis=1)
    damping, idle = np.ones(len(here)), np.zeros(len(here), dtype=int)
    for _ in range(iterations):
        there = np.clip(here + _step(here, prediction - target, slopes, weight, delta, bounds, damping), *bounds)
        new_prediction, new_slopes = form(there)
        new_value = (weight * huber(new_prediction - target, delta)).sum(axis=1)
        better = new_value < value
        gain = np.where(better, value - new_value, 0)
        idle = np.where(gain > 1e-9 * value, 0, idle + 1)
        damping = np.clip(np.where(better, damping / 4, damping * 5), _SMALLEST_DAMPING, _LARGEST_DAMPING)
        here[better], value[better] = there[better], new_value[better]
        prediction[better], slopes[better] = new_prediction[better], new_slopes[better]
        ended = (idle >= 6) | (value < 1e-24)
        if ended.any():
            constants[going[ended]], loss[going[ended]] = here[ended], value[ended]
            keep = ~ended
            going, here, value, damping, idle = (x[keep] for x in (going, here, value, damping, idle))
            prediction, slopes, target, weight = (x[keep] for x in (prediction, slopes, target, weight))
            if not len(going):
                break
    constants[going], loss[going] = here, value
    return constants, loss


def _step(
    here: Array, residuals: Array, slopes: Array, weight: Array, delta: float, bounds: Array, damping: Array
) -> Array:
    """The damped Newton step of each fit; constants at a bound that the loss would push further out stay there."""
    size = np.abs(residuals)
    pull = weight * np.clip(residuals, -delta, delta)
    linear = size > delta
    curvature = weight * np.where(linear, np.minimum(damping, 1)[:, None] * delta / np.maximum(size, delta), 1.0)
    gradient = np.matmul(slopes.transpose(0, 2, 1), pull[:, :, None])[:, :, 0]
    hessian = np.matmul(slopes.transpose(0, 2, 1), slopes * curvature[:, :, None])
    stuck = ((here <= bounds[0]) & (gradient > 0)) | ((here >= bounds[1]) & (gradient < 0))
    gradient[stuck] = 0
    hessian *= ~(stuck[:, :, None] | stuck[:, None, :])
    diagonal = np.einsum("rpp->rp", hessian)  # a view
    diagonal[:] = (
        diagonal * (1 + 1e-3 * damping[:, None]) + 1e-12 * diagonal.max(axis=1, keepdims=True) + stuck + 1e-300
    )
    return -np.linalg.solve(hessian, gradient[:, :, None])[:, :, 0]
