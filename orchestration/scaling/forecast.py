"""What a budget would buy, by the law of a study that MLflow has: hours of GPUs and sequences in, a few lines out."""

from dataclasses import dataclass

import numpy as np

from datasets.schema.errors import UsageError
from evaluation.scaling.analysis import LOSS_LAW, TRAINING_COST, Analysis, analyse
from evaluation.scaling.law_bootstrap import intervals
from evaluation.scaling.panels import short
from evaluation.scaling.predictions import Forecast, forecast
from model import sizes
from orchestration.scaling.records import read_study, study_id


@dataclass(frozen=True, kw_only=True)
class ForecastSettings:
    """Which study, and what budget."""

    study: str
    """The study: its run in MLflow, or its folder."""
    sequences: float
    """Different sequences that there would be to train on."""
    gpu_hours: float | None = None
    """The budget in hours of one GPU, as fast as --peak and --utilisation say."""
    flop: float | None = None
    """The budget in FLOP, instead of hours."""
    peak: float = 989e12
    """FLOP a second of a GPU on paper; 989e12 is an H100 in bf16."""
    utilisation: float = 0.3
    """The share of it that training reaches; nothing here has been measured on a GPU (docs/scaling-out.md)."""

    def __post_init__(self) -> None:
        if (self.gpu_hours is None) == (self.flop is None):
            raise UsageError("what is the budget? give either --gpu-hours or --flop")
        for name in ("sequences", "gpu_hours", "flop", "peak"):
            value = getattr(self, name)
            if value is not None and not (np.isfinite(value) and value > 0):
                raise UsageError(f"--{name.replace('_', '-')} {value:g} must be positive")
        if not 0 < self.utilisation <= 1:
            raise UsageError(f"--utilisation {self.utilisation:g} is a share: give more than 0, and 1 at most")

    @property
    def work(self) -> float:
        """The budget in FLOP."""
        return self.flop if self.gpu_hours is None else self.gpu_hours * 3600 * self.peak * self.utilisation


def forecast_study(settings: ForecastSettings, uri: str) -> list[str]:
    """Lines on what the budget would buy. UsageError where the study supports no law, with the reason."""
    study = read_study(study_id(settings.study, uri), uri)
    found = analyse(study.cells)
    if found.law is None or found.rule is None:
        question = LOSS_LAW if found.law is None else TRAINING_COST
        raise UsageError(f"{settings.study} supports no forecast: {question}: {found.undetermined[question]}")
    ladder = np.array([sizes.parameters_of(size) for size in sizes.LADDER], dtype=float)
    budget = f"{settings.work:.3g} FLOP"
    if settings.gpu_hours is not None:
        speed = f"{settings.peak / 1e12:g} TFLOP/s at {100 * settings.utilisation:g}%"
        budget = f"{settings.gpu_hours:g} GPU hours ({speed}, assumed) are {budget}"
    lines = [f"{study.plan.plan}: {len(found.cells)} runs, {found.law.fit.law}", budget]
    lines += [f"any size: {_forecast(found, settings, None)}"]
    of_ladder = _forecast(found, settings, ladder)
    (name,) = (size for size in sizes.LADDER if sizes.parameters_of(size) == of_ladder.parameters)
    lines += [f"of the ladder, {name}: {of_ladder}"]
    lines += [f"note: {note}" for note in found.law.notes]
    if np.isinf(found.law.fit.law.decay):
        lines.append("note: the study does not tell what repeated sequences are worth: they count as new ones here")
    for measure, laws in found.errors.items():
        if "flop" in laws:
            law = laws["flop"]
            value, wide = law.fit.law.predict([settings.work])[0], intervals(law.draws.predict([settings.work])[:, 0])
            reach = np.log10(settings.work / law.runs.flop.max())
            stretched = f"; EXTRAPOLATED: {reach:.1f} decades above in flop" if reach > 0 else ""
            lines.append(
                f"{measure}, by its law of FLOP alone: {value:.1f}% (80%: {wide.low80:.1f} to {wide.high80:.1f}, 95%: "
                f"{wide.low95:.1f} to {wide.high95:.1f}; measured {law.runs.loss.min():.1f} at best){stretched}"
            )
    lines.append(f"measured: {short(found.runs.flop.min())} to {short(found.runs.flop.max())} FLOP")
    return lines


def _forecast(found: Analysis, settings: ForecastSettings, choices: np.ndarray | None) -> Forecast:
    law = found.law
    return forecast(
        law.fit, law.draws, law.runs, found.rule, flop=settings.work, unique=settings.sequences, sizes=choices
    )
