"""Forecasts what a budget of GPU hours and sequences would reach, by the law of a study in MLflow."""

from dataclasses import dataclass

import numpy as np

from datasets.schema.errors import UsageError
from evaluation.scaling.analysis import LOSS_LAW, TRAINING_COST, BootstrappedLaw, analyse
from evaluation.scaling.law_bootstrap import intervals
from evaluation.scaling.laws import FlopRule, LossLaw, SaturatingLaw
from evaluation.scaling.panels import short
from evaluation.scaling.predictions import Forecast, forecast
from evaluation.scaling.robust_fit import Array
from model import sizes
from orchestration.scaling.records import read_study, study_id


@dataclass(frozen=True, kw_only=True)
class ForecastSettings:
    """A study and a budget."""

    study: str
    """The study: its MLflow run id, or its folder."""
    sequences: float
    """Unique sequences to train on."""
    gpu_hours: float | None = None
    """The budget in hours of one GPU, at the speed given by --peak and --utilisation."""
    flop: float | None = None
    """The budget in FLOP, in place of hours."""
    peak: float = 989e12
    """Peak FLOP per second of a GPU; 989e12 is an H100 in bf16."""
    utilisation: float = 0.3
    """The share of the peak that training reaches; an assumption, not measured on a GPU (docs/scaling-out.md)."""

    def __post_init__(self) -> None:
        if (self.gpu_hours is None) == (self.flop is None):
            raise UsageError("the budget is one of two: give either --gpu-hours or --flop")
        for name in ("sequences", "gpu_hours", "flop", "peak"):
            value = getattr(self, name)
            if value is not None and not (np.isfinite(value) and value > 0):
                raise UsageError(f"--{name.replace('_', '-')} {value:g} must be positive")
        if not 0 < self.utilisation <= 1:
            raise UsageError(f"--utilisation {self.utilisation:g} is a share: give more than 0, and 1 at most")

    @property
    def work(self) -> float:
        """The budget in FLOP."""
        if self.gpu_hours is not None:
            return self.gpu_hours * 3600 * self.peak * self.utilisation
        assert self.flop is not None, "__post_init__ requires one of the two"
        return self.flop


def forecast_study(settings: ForecastSettings, uri: str) -> list[str]:
    """Lines on the best use of the budget. UsageError with the reason if the study determines no law."""
    study = read_study(study_id(settings.study, uri), uri)
    found = analyse(study.cells)
    if found.law is None or found.rule is None:
        missing = LOSS_LAW if found.law is None else TRAINING_COST
        raise UsageError(f"{settings.study} supports no forecast: {missing}: {found.undetermined[missing]}")
    ladder = np.array([sizes.parameters_of(size) for size in sizes.LADDER], dtype=float)
    budget = f"{settings.work:.3g} FLOP"
    if settings.gpu_hours is not None:
        speed = f"{settings.peak / 1e12:g} TFLOP/s at {100 * settings.utilisation:g}%"
        budget = f"{settings.gpu_hours:g} GPU hours ({speed}, assumed) are {budget}"
    lines = [f"{study.plan.plan}: {len(found.cells)} runs, {found.law.fit.law}", budget]
    lines += [f"any size: {_forecast(found.law, found.rule, settings, None)}"]
    of_ladder = _forecast(found.law, found.rule, settings, ladder)
    (name,) = (size for size in sizes.LADDER if sizes.parameters_of(size) == of_ladder.parameters)
    lines += [f"of the ladder, {name}: {of_ladder}"]
    lines += [f"note: {note}" for note in found.law.notes]
    if np.isinf(found.law.fit.law.decay):
        lines.append(
            "note: the study does not determine what repeated sequences are worth: here they count as new ones"
        )
    lines += [_error_line(name, laws["flop"], settings.work) for name, laws in found.errors.items() if "flop" in laws]
    lines.append(f"measured: {short(found.runs.flop.min())} to {short(found.runs.flop.max())} FLOP")
    return lines


def _forecast(
    law: BootstrappedLaw[LossLaw], rule: FlopRule, settings: ForecastSettings, sizes: Array | None
) -> Forecast:
    return forecast(law.fit, law.draws, law.runs, rule, flop=settings.work, unique=settings.sequences, sizes=sizes)


def _error_line(name: str, law: BootstrappedLaw[SaturatingLaw], flop: float) -> str:
    value, ends = law.fit.law.predict([flop])[0], intervals(law.draws.predict([flop])[:, 0])
    decades = np.log10(flop / law.runs.flop.max())
    extrapolated = f"; EXTRAPOLATED: {decades:.1f} decades above in flop" if decades > 0 else ""
    return (
        f"{name}, by its law of FLOP alone: {value:.1f}% (80%: {ends.low80:.1f} to {ends.high80:.1f}, 95%: "
        f"{ends.low95:.1f} to {ends.high95:.1f}; measured {law.runs.loss.min():.1f} at best){extrapolated}"
    )
