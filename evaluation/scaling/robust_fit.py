"""Many small curve fits in one batch: Huber's loss, box bounds, damped Newton steps.

A bootstrap is a thousand fits of one form to slightly different data. They are iterated together, as arrays: numpy
would spend most of its time on overhead in a thousand separate fits.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Form = Callable[[Array], tuple[Array, Array]]  # constants [R, p] to predictions [R, n] and derivatives [R, n, p]

_SMALLEST_DAMPING, _LARGEST_DAMPING = 1e-8, 1e8
_BLOCK_VALUES = 2**17  # derivatives in memory at once: 1 MiB, which stays in the processor's cache


def huber(residuals: Array, delta: float) -> Array:
    """Huber's loss of each residual: quadratic up to `delta`, linear beyond (Huber, 1964)."""
    size = np.abs(residuals)
    inside = np.minimum(size, delta)
    return inside * (size - inside / 2)


def minimise(
    form: Form, start: Array, target: Array, weight: Array, delta: float, bounds: Array, iterations: int = 300
) -> tuple[Array, Array]:
    """Minimise sum(weight * huber(form - target)) within bounds, from each start to a local optimum.

    Gauss-Newton steps with damping. In the linear zone of Huber's loss the curvature is zero; up to a damping of one,
    such points get the curvature of the quadratic that touches their loss from above (iteratively reweighted least
    squares, which cannot overshoot). Above one, damping shortens the step as in Levenberg-Marquardt. A step that lowers
    the loss reduces the damping, any other raises it.

    Args:
        form: returns predictions and their derivatives by the constants.
        start: [R, p], one row per fit; clipped to the bounds.
        target: [R, n] or [1, n], the data.
        weight: [R, n] or [1, n], nonnegative.
        delta: where Huber's loss turns linear, in units of the target.
        bounds: [2, p], the smallest and the largest value of each constant.
        iterations: the most steps of a fit; it stops earlier when six steps in a row gain nothing.

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
    """`minimise` for one block of fits; converged ones leave the arrays, so the others get faster."""
    constants = np.clip(start, *bounds)
    loss = np.empty(len(start))
    active = np.arange(len(start))
    current = constants.copy()
    prediction, slopes = form(current)
    value = (weight * huber(prediction - target, delta)).sum(axis=1)
    damping, idle = np.ones(len(current)), np.zeros(len(current), dtype=int)
    for _ in range(iterations):
        step = _step(current, prediction - target, slopes, weight, delta, bounds, damping)
        candidate = np.clip(current + step, *bounds)
        new_prediction, new_slopes = form(candidate)
        new_value = (weight * huber(new_prediction - target, delta)).sum(axis=1)
        better = new_value < value
        gain = np.where(better, value - new_value, 0)
        idle = np.where(gain > 1e-9 * value, 0, idle + 1)
        damping = np.clip(np.where(better, damping / 4, damping * 5), _SMALLEST_DAMPING, _LARGEST_DAMPING)
        current[better], value[better] = candidate[better], new_value[better]
        prediction[better], slopes[better] = new_prediction[better], new_slopes[better]
        converged = (idle >= 6) | (value < 1e-24)
        if converged.any():
            constants[active[converged]], loss[active[converged]] = current[converged], value[converged]
            keep = ~converged
            active, current, value, damping, idle = (x[keep] for x in (active, current, value, damping, idle))
            prediction, slopes, target, weight = (x[keep] for x in (prediction, slopes, target, weight))
            if not len(active):
                break
    constants[active], loss[active] = current, value
    return constants, loss


def _step(
    current: Array, residuals: Array, slopes: Array, weight: Array, delta: float, bounds: Array, damping: Array
) -> Array:
    """The damped step of each fit, [R, p]; 0 for a constant at a bound where the gradient points outwards."""
    size = np.abs(residuals)
    pull = weight * np.clip(residuals, -delta, delta)
    linear = size > delta
    curvature = weight * np.where(linear, np.minimum(damping, 1)[:, None] * delta / np.maximum(size, delta), 1.0)
    gradient = np.matmul(slopes.transpose(0, 2, 1), pull[:, :, None])[:, :, 0]
    hessian = np.matmul(slopes.transpose(0, 2, 1), slopes * curvature[:, :, None])
    at_bound = ((current <= bounds[0]) & (gradient > 0)) | ((current >= bounds[1]) & (gradient < 0))
    gradient[at_bound] = 0
    hessian *= ~(at_bound[:, :, None] | at_bound[:, None, :])
    diagonal = np.einsum("rpp->rp", hessian)  # a view
    diagonal[:] = (
        diagonal * (1 + 1e-3 * damping[:, None]) + 1e-12 * diagonal.max(axis=1, keepdims=True) + at_bound + 1e-300
    )
    step: Array = -np.linalg.solve(hessian, gradient[:, :, None])[:, :, 0]
    return step
