"""The figures of a scaling study: points are runs, lines are laws, bands their 80% and 95% intervals.

Each figure is written to a file; its suffix determines the format.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.typing import ColorType

from evaluation.figures import PALETTE, blank
from evaluation.scaling.by_subject import subject_interval_of
from evaluation.scaling.cells import MeasuredCell
from evaluation.scaling.compute_optimal import Envelope, IsoFlop, PowerLaw
from evaluation.scaling.fit import Fit
from evaluation.scaling.law_bootstrap import intervals
from evaluation.scaling.laws import FlopRule, LossLaw, SaturatingLaw, repeat_data
from evaluation.scaling.panels import AXES, INK, colours, curve, levels, logarithmic, points, power_of_ten, short, span
from evaluation.scaling.predictions import HeldOut
from evaluation.scaling.robust_fit import Array
from evaluation.scaling.runs import Axis, Runs

_BANDS = [
    Patch(facecolor="#777777", alpha=0.4, label="80% interval of the law"),
    Patch(facecolor="#777777", alpha=0.15, label="95%"),
]


def loss_figure(runs: Runs, fit: Fit[LossLaw], draws: LossLaw, rule: FlopRule, path: Path) -> None:
    """Loss against parameters, data and FLOP; the law as curves of constant data, or of constant parameters.

    Data is effective data by the law's R*, if it has one. Against FLOP, each curve is a size trained on unique data,
    and the dashed line is the best loss of each budget, up to ten times the largest.

    Raises:
        ValueError: the suffix is no format of matplotlib.
        OSError: the folder does not exist or is not writable.
    """
    data = repeat_data(runs.unique, runs.seen, fit.law.decay)
    figure = blank(width=13.5, height=4.6)
    by_size, by_data, by_flop = figure.subplots(1, 3, sharey=True)
    hue = colours(data)
    _points_by(by_size, runs.parameters, runs.loss, data, hue)
    for amount in levels(data):
        x = span(runs.parameters)
        curve(by_size, x, fit.law.predict(x, amount), draws.predict(x, amount), hue(amount))
    hue = colours(runs.parameters)
    for axes, x_of_runs in ((by_data, data), (by_flop, runs.flop)):
        _points_by(axes, x_of_runs, runs.loss, runs.parameters, hue)
    for size in levels(runs.parameters):
        x = span(data)
        curve(by_data, x, fit.law.predict(size, x), draws.predict(size, x), hue(size))
        x = span(np.clip(rule(size, data), runs.flop.min(), runs.flop.max()))
        curve(by_flop, x, fit.law.predict(size, rule.seen(size, x)), None, hue(size), linewidth=1.0)
    x = span(runs.flop, decades=1)
    best = _along_best(fit.law, x, rule)
    curve(by_flop, x, best, _along_best(draws, x, rule), INK, linestyle="--", label="compute-optimal")
    data_label = AXES["seen"] if np.isinf(fit.law.decay) else "Effective sequences (repeated ones by their worth)"
    logarithmic(by_size, AXES["parameters"], "Loss")
    logarithmic(by_data, data_label, "")
    logarithmic(by_flop, AXES["flop"], "")
    _level_legend(by_size, levels(data), colours(data), "sequences")
    _level_legend(by_data, levels(runs.parameters), hue, "parameters")
    by_flop.legend(frameon=False, fontsize=8, loc="lower left")
    figure.legend(handles=_BANDS, loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    figure.suptitle(str(fit.law).replace("L =", "Loss ="), fontsize=11)
    figure.savefig(path)


def error_figure(
    runs: Runs, name: str, laws: Mapping[Axis, tuple[Runs, Fit[SaturatingLaw], SaturatingLaw]], path: Path
) -> None:
    """An error rate against parameters, sequences seen and FLOP, with the saturating law of each axis.

    Args:
        runs: all runs, with `loss` the error rate; those outside a law's fit are drawn hollow.
        name: the error and its unit, for the axis.
        laws: for each axis the runs of the fit, the fit and its draws; an axis without a law has points alone.
        path: see `loss_figure`, also for the errors raised.
    """
    figure = blank(width=13.5, height=4.4)
    panels = figure.subplots(1, 3, sharey=True)
    others: tuple[Axis, ...] = ("seen", "parameters", "parameters")  # what colours show in each panel
    for axes, (axis, label), other in zip(panels, AXES.items(), others, strict=True):
        hue = colours(getattr(runs, other))
        x = getattr(runs, axis)
        rest = [hue(value) for value in getattr(runs, other)]
        axes.scatter(x, runs.loss, s=22, facecolors="white", edgecolors=rest, linewidths=1.1, zorder=2)
        if axis in laws:
            fitted, fit, draws = laws[axis]
            _points_by(axes, getattr(fitted, axis), fitted.loss, getattr(fitted, other), hue)
            line = span(getattr(fitted, axis), decades=0.3)
            curve(axes, line, fit.law.predict(line), draws.predict(line), INK)
            axes.set_title(str(fit.law), fontsize=9)
        logarithmic(axes, label, name if axis == "parameters" else "")
        _level_legend(axes, levels(getattr(runs, other)), hue, "sequences" if other == "seen" else "parameters")
    figure.legend(handles=_BANDS, loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    figure.savefig(path)


def measured_figure(cells: Sequence[MeasuredCell], titles: Mapping[str, str], path: Path) -> None:
    """A panel for each measure: its value against the FLOP of the training, a line for each size of encoder.

    Bars are 95% intervals over subjects. All runs are measured on the same subjects, so two points whose bars overlap
    may still differ.

    Args:
        cells: the runs, of one seed.
        titles: measures of every run, and the titles of their panels.
        path: its suffix chooses the format.
    """
    figure = blank(width=4.6 * len(titles), height=3.8)
    sizes = sorted(dict.fromkeys(cell.size for cell in cells), key=lambda size: _parameters(cells, size))
    for axes, (name, title) in zip(figure.subplots(1, len(titles), squeeze=False)[0], titles.items(), strict=True):
        for index, size in enumerate(sizes):
            mine = sorted((cell for cell in cells if cell.size == size), key=lambda cell: cell.flop)
            flop, values = np.array([(cell.flop, cell.measures[name].value) for cell in mine]).T
            low, high = np.array([subject_interval_of(cell.measures[name]) for cell in mine]).T
            axes.errorbar(
                flop,
                values,
                yerr=np.maximum([values - low, high - values], 0),
                color=PALETTE[index % len(PALETTE)],
                label=f"{size}: {short(_parameters(cells, size))} parameters",
                marker="o",
                markersize=5,
                linewidth=1.6,
                elinewidth=1,
                capsize=3,
            )
        logarithmic(axes, AXES["flop"], "", y=False)
        axes.set_title(title, fontsize=11)
        axes.legend(frameon=False, fontsize=8)
    figure.savefig(path)


def isoflop_figure(runs: Runs, curves: IsoFlop, path: Path) -> None:
    """Loss against parameters at equal budgets, each with its parabola and minimum. Errors as in `loss_figure`."""
    figure = blank(width=7.0, height=4.8)
    axes = figure.subplots()
    hue = colours(np.array([one.flop for one in curves.parabolas]))
    used = np.concatenate([one.rows for one in curves.parabolas])
    unused = np.setdiff1d(np.arange(len(runs)), used)
    if len(unused):
        points(axes, runs.parameters[unused], runs.loss[unused], "#bbbbbb", label="budgets without a minimum")
    for one in curves.parabolas:
        x = span(runs.parameters[one.rows])
        curve(axes, x, np.exp(np.polyval(one.curve, np.log(x))), None, hue(one.flop))
        points(
            axes, runs.parameters[one.rows], runs.loss[one.rows], hue(one.flop), label=f"{power_of_ten(one.flop)} FLOP"
        )
    best, loss = np.array([(one.parameters, one.loss) for one in curves.parabolas]).T
    axes.plot(best, loss, color=INK, linewidth=1, linestyle=":", zorder=5)
    points(axes, best, loss, INK, marker="*", s=110, zorder=6, label="best size")
    logarithmic(axes, AXES["parameters"], "Loss")
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    axes.set_title(_exponent("Best size grows as FLOP to the", curves.parameters, curves.parameters_draws), fontsize=11)
    figure.savefig(path)


def allocation_figure(
    runs: Runs,
    fit: Fit[LossLaw],
    draws: LossLaw,
    rule: FlopRule,
    path: Path,
    curves: IsoFlop | None = None,
    best: Envelope | None = None,
) -> None:
    """The best parameters and unique sequences for each budget: by the law, by parabolas, by the envelope.

    Up to a decade beyond the largest budget; the measured range is shaded. Errors as in `loss_figure`.
    """
    figure = blank(width=11.0, height=4.6)
    x = span(runs.flop, decades=1)
    of_law, of_draws = fit.law.optimal(x, rule), draws.optimal(x, rule)
    exponents = [law.size_exponent(rule.power) for law in (fit.law, draws)]
    for index, (axes, axis) in enumerate(zip(figure.subplots(1, 2), ("parameters", "seen"), strict=True)):
        size, drawn_size = (PowerLaw(scale=1, exponent=(one, 1 - rule.power * one)[index]) for one in exponents)
        axes.axvspan(runs.flop.min(), runs.flop.max(), color="#f3f3f3", zorder=0)
        curve(axes, x, of_law[index], of_draws[index], PALETTE[0], label=_exponent("law: exponent", size, drawn_size))
        if curves is not None:
            line, drawn = getattr(curves, axis), getattr(curves, f"{axis}_draws")
            curve(axes, x, line(x), drawn(x), PALETTE[1], label=_exponent("parabolas:", line, drawn))
            flop, minima = np.array([(one.flop, getattr(one, axis)) for one in curves.parabolas]).T
            points(axes, flop, minima, PALETTE[1], marker="*", s=90)
        if best is not None:
            line = getattr(best, axis)
            curve(axes, x, line(x), None, PALETTE[2], linestyle="--", label=_exponent("envelope:", line, None))
            points(axes, runs.flop[best.rows], getattr(runs, axis)[best.rows], PALETTE[2], s=18)
        logarithmic(axes, AXES["flop"], f"Best {'number of parameters' if index == 0 else 'number of sequences'}")
        axes.legend(frameon=False, fontsize=8, loc="upper left")
    figure.savefig(path)


def prediction_figure(runs: Runs, fit: Fit[LossLaw], path: Path, held_out: HeldOut | None = None) -> None:
    """Predicted against measured losses, and the residuals over parameters.

    The held-out largest size is predicted by a law fitted without it, with 95% intervals. Errors as in `loss_figure`.
    """
    figure = blank(width=11.0, height=4.6)
    pairs, residuals = figure.subplots(1, 2)
    data = repeat_data(runs.unique, runs.seen, fit.law.decay)
    hue = colours(data)
    predicted = fit.law.predict(runs.parameters, runs.seen, runs.unique)
    _points_by(pairs, runs.loss, predicted, data, hue)
    _points_by(residuals, runs.parameters, 100 * (runs.loss / predicted - 1), data, hue)
    ends = np.array([min(runs.loss.min(), predicted.min()), max(runs.loss.max(), predicted.max())])
    pairs.plot(ends, ends, color=INK, linewidth=1, zorder=1)
    residuals.axhline(0, color=INK, linewidth=1, zorder=1)
    residuals.axhspan(-100 * fit.noise, 100 * fit.noise, color="#eeeeee", zorder=0, label="noise (one deviation)")
    if held_out is not None:
        _held_out(pairs, residuals, held_out)
    logarithmic(pairs, "Measured loss", "Predicted loss")
    logarithmic(residuals, AXES["parameters"], "Measured over predicted (%)", y=False)
    _level_legend(pairs, levels(data), hue, "sequences")
    residuals.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, 1.12), ncols=2)
    figure.savefig(path)


def _held_out(pairs: Axes, residuals: Axes, held: HeldOut) -> None:
    """The held-out runs in both panels of `prediction_figure`."""
    style: dict[str, Any] = {"fmt": "D", "markersize": 5, "color": PALETTE[1], "elinewidth": 1, "zorder": 5}
    low, high = held.interval.low95, held.interval.high95
    bars = np.maximum([held.predicted - low, high - held.predicted], 0)
    pairs.errorbar(held.runs.loss, held.predicted, yerr=bars, **style)
    miss = 100 * held.miss
    bars = np.maximum([miss - 100 * (held.runs.loss / high - 1), 100 * (held.runs.loss / low - 1) - miss], 0)
    beside = held.runs.parameters * np.geomspace(1.06, 1.06 ** len(miss), len(miss))  # or they would hide each other
    residuals.errorbar(beside, miss, yerr=bars, **style, label="largest size, held out (95%)")


def _along_best(law: LossLaw, flop: Array, rule: FlopRule) -> Array:
    """The loss at the best use of each budget, [..., n]."""
    parameters, seen = law.optimal(flop, rule)
    return law.predict(parameters, seen)


def _points_by(axes: Axes, x: Array, y: Array, by: Array, hue: Callable[[float], ColorType]) -> None:
    points(axes, x, y, [hue(value) for value in by])


def _level_legend(axes: Axes, values: Array, hue: Callable[[float], ColorType], unit: str) -> None:
    handles = [Line2D([], [], color=hue(value), marker="o", label=short(value)) for value in values]
    axes.legend(handles=handles, title=unit, frameon=False, fontsize=8, title_fontsize=8)


def _exponent(text: str, law: PowerLaw, draws: PowerLaw | None) -> str:
    """The exponent with its 80% interval, if there are draws."""
    finite = np.empty(0) if draws is None else np.asarray(draws.exponent)[np.isfinite(draws.exponent)]
    if not len(finite):
        return f"{text} {law.exponent:.2f}"
    ends = intervals(finite)
    return f"{text} {law.exponent:.2f} (80%: {ends.low80:.2f} to {ends.high80:.2f})"


def _parameters(cells: Sequence[MeasuredCell], size: str) -> int:
    return next(cell.parameters for cell in cells if cell.size == size)
