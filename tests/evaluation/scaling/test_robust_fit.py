"""The batch of fits against SciPy, and the derivatives of the forms against differences."""

import numpy as np
import pytest
from scipy.optimize import minimize as scipy_minimize

from evaluation.scaling.law_fits import fit_loss
from evaluation.scaling.robust_fit import huber, minimise
from tests.fixtures.studies import repeated_study, study


def test_many_fits_at_once_reach_the_optimum_that_scipy_reaches() -> None:
    runs = study(noise=0.02)
    fit = fit_loss(runs)
    form, target, bounds = fit.problem.form, fit.problem.target, fit.problem.bounds
    weights = np.random.default_rng(0).multinomial(len(runs), np.full(len(runs), 1 / len(runs)), size=4).astype(float)
    for delta in (1e-3, fit.delta):
        _, ours = minimise(form, np.tile(fit.constants, (4, 1)), target[None], weights, delta, bounds)
        for weight, loss in zip(weights, ours, strict=True):

            def objective(constants, weight=weight, delta=delta):
                prediction, slopes = form(constants[None])
                residuals = prediction[0] - target
                slope = slopes[0].T @ (weight * np.clip(residuals, -delta, delta))
                return 1e4 * (weight * huber(residuals, delta)).sum(), 1e4 * slope

            starts = [fit.constants, *fit.problem.starts[::16]]
            ends = [scipy_minimize(objective, start, jac=True, method="L-BFGS-B", bounds=bounds.T) for start in starts]
            assert loss <= min(end.fun for end in ends) / 1e4 * (1 + 1e-6)


@pytest.mark.parametrize("fit", [lambda: fit_loss(repeated_study(0.01), decay=None), lambda: fit_loss(study())])
def test_derivatives_of_the_forms(fit) -> None:
    problem = fit().problem
    for constant in range(problem.starts.shape[1]):
        step = 1e-6 * np.eye(problem.starts.shape[1])[constant]
        secant = problem.form(problem.starts + step)[0] - problem.form(problem.starts - step)[0]
        np.testing.assert_allclose(problem.form(problem.starts)[1][..., constant], secant / 2e-6, atol=1e-7)
