"""Predictions of a law: the largest size from the smaller ones, and the best use of a training budget.

A law summarises the runs it was fitted to; every forecast states how far it extrapolates beyond them.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from datasets.schema.errors import UsageError
from evaluation.scaling.fit import Fit
from evaluation.scaling.law_bootstrap import Intervals, add_noise, bootstrap, intervals
from evaluation.scaling.law_fits import fit_loss
from evaluation.scaling.laws import FlopRule, LossLaw
from evaluation.scaling.robust_fit import Array
from evaluation.scaling.runs import Runs

_SEARCHED = np.geomspace(1e-3, 1e3, 1201)  # times the best size for unique data: sizes 1.2% apart


@dataclass(frozen=True, kw_only=True, eq=False)
class HeldOut:
    """The runs of the largest size, predicted by a law that was fitted without them.

    Attributes:
        runs: the k runs of the largest size.
        law: fitted to the others.
        predicted: [k].
        interval: of the loss of a single run: of the law, and noise.
        miss: [k], measured / predicted - 1.
    """

    runs: Runs
    law: Fit[LossLaw]
    predicted: Array
    interval: Intervals
    miss: Array

    def inside(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Whether each measured loss is within its 80% and within its 95% interval, [k] each."""
        loss, interval = self.runs.loss, self.interval
        inside80 = (interval.low80 <= loss) & (loss <= interval.high80)
        inside95 = (interval.low95 <= loss) & (loss <= interval.high95)
        return inside80, inside95

    def __str__(self) -> str:
        """A line per run: prediction, 95% interval, measurement and miss."""
        lines = [f"{self.runs.parameters[0]:.3g} parameters from the law of the smaller sizes, {self.law.law}:"]
        for i, (seen, loss) in enumerate(zip(self.runs.seen, self.runs.loss, strict=True)):
            where = "inside" if self.inside()[1][i] else "OUTSIDE"
            lines.append(
                f"  {seen:.3g} sequences: predicted {self.predicted[i]:.4g} "
                f"({self.interval.low95[i]:.4g} to {self.interval.high95[i]:.4g}), measured {loss:.4g}, "
                f"{100 * self.miss[i]:+.1f}%, {where} the 95% interval"
            )
        return "\n".join(lines)


def hold_out_largest(
    runs: Runs, *, seed: int, repeats: int = 1000, decay: float | None = np.inf, delta: float | None = None
) -> HeldOut:
    """Predict the runs of the largest size from all others.

    Subjects are not drawn: both sides are measured on the same ones, so their choice explains no miss.

    Args:
        runs: four sizes or more.
        seed, repeats: of the bootstrap.
        decay, delta: as in `fit_loss`.

    Raises:
        UsageError: the law cannot be fitted without the largest size, with the reason.
    """
    largest = runs.parameters >= runs.parameters.max() * (1 - 1e-6)
    rest, held = runs.take(~largest), runs.take(largest)
    try:
        law = fit_loss(rest, decay=decay, delta=delta)
        draws = bootstrap(law, rest.without_subjects(), seed=seed, repeats=repeats)
    except UsageError as error:
        raise UsageError(f"the largest size cannot be held out: {error}") from error
    predicted = law.law.predict(held.parameters, held.seen, held.unique)
    single_runs = add_noise(law, draws.predict(held.parameters, held.seen, held.unique), seed=seed)
    return HeldOut(
        runs=held, law=law, predicted=predicted, interval=intervals(single_runs), miss=held.loss / predicted - 1
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Forecast:
    """The best use of a budget, and the loss to expect.

    Attributes:
        flop, unique: the budget: FLOP, and unique sequences to train on.
        parameters, seen: the best use of it by the law.
        epochs: how often each sequence is then seen.
        loss: the prediction.
        interval: of the loss by the law; a single run adds its noise.
        parameters_interval: of the best number of parameters.
        beyond: decades by which parameters, seen, unique and flop extrapolate: positive above the measured range,
            negative below it, 0 inside.
    """

    flop: float
    unique: float
    parameters: float
    seen: float
    epochs: float
    loss: float
    interval: Intervals
    parameters_interval: Intervals
    beyond: dict[str, float]

    def __str__(self) -> str:
        """One line: the best use, the loss with its interval, and how far the law extrapolates."""
        beyond = [f"{abs(d):.1f} decades {'above' if d > 0 else 'below'} in {k}" for k, d in self.beyond.items() if d]
        where = "within the measured range" if not beyond else "EXTRAPOLATED: " + ", ".join(beyond)
        wide, low, high = self.interval, self.parameters_interval.low80, self.parameters_interval.high80
        return (
            f"{self.flop:.3g} FLOP on {self.unique:.3g} sequences: best {self.parameters:.3g} parameters "
            f"(80%: {low:.3g} to {high:.3g}), {self.seen:.3g} seen, {self.epochs:.3g} epochs; loss {self.loss:.4g} "
            f"(80%: {wide.low80:.4g} to {wide.high80:.4g}, 95%: {wide.low95:.4g} to {wide.high95:.4g}); {where}"
        )


def forecast(
    fit: Fit[LossLaw],
    draws: LossLaw,
    runs: Runs,
    rule: FlopRule,
    *,
    flop: float,
    unique: float,
    sizes: Array | None = None,
) -> Forecast:
    """The best use of a training budget, and the loss it would reach.

    Args:
        fit, draws, runs: the law, its bootstrap, and the runs that both were fitted to.
        rule: the cost of training.
        flop: the budget.
        unique: unique sequences to train on; beyond them, sequences are repeated, at their worth by the law.
        sizes: numbers of parameters to choose from, as those of a ladder; any number by default.

    Raises:
        UsageError: a budget that is not positive.
    """
    if not (np.isfinite([flop, unique]).all() and flop > 0 and unique > 0):
        raise UsageError(f"a budget of {flop:g} FLOP and {unique:g} sequences trains nothing: both must be positive")
    parameters = float(allocate(fit.law, rule, flop, unique, sizes))
    seen = float(rule.seen(parameters, flop))
    best = (np.array([parameters]), np.array([seen]), np.array([unique]))
    values = {"parameters": parameters, "seen": seen, "unique": min(unique, seen), "flop": flop}
    return Forecast(
        flop=flop,
        unique=unique,
        parameters=parameters,
        seen=seen,
        epochs=max(1.0, seen / unique),
        loss=float(fit.law.predict(*best)[0]),
        interval=intervals(draws.predict(*best)[:, 0]),
        parameters_interval=intervals(allocate(draws, rule, flop, unique, sizes)),
        beyond={name: _decades_beyond(getattr(runs, name), value) for name, value in values.items()},
    )


def allocate(law: LossLaw, rule: FlopRule, flop: float, unique: float, sizes: Array | None = None) -> Array:
    """The parameters with the smallest loss for a budget: [] for one law, [R] for draws. See `forecast`."""
    once = law.optimal([flop], rule)[0]  # [..., 1], as if all sequences were unique
    most = max(1.0, (flop / rule.scale) ** (1 / rule.power))  # parameters, for a single sequence
    choices = (
        np.clip(once * _SEARCHED, 1, most)
        if sizes is None
        else np.broadcast_to(np.sort(sizes), (*once.shape[:-1], len(sizes)))
    )
    losses = law.predict(choices, rule.seen(choices, flop), np.full(choices.shape, float(unique)))
    best: Array = np.take_along_axis(choices, losses.argmin(axis=-1)[..., None], axis=-1)[..., 0]
    return best


def _decades_beyond(measured: Array, value: float) -> float:
    """Decades above the largest (positive) or below the smallest (negative) measured value; 0 in between."""
    above, below = np.log10(value / measured.max()), np.log10(value / measured.min())
    return float(max(above, 0) + min(below, 0))
