"""The report of a study: report.md, a table of all cells as CSV, and figures.

What the cells do not determine is listed with the reason; measurements are shown with or without a law.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from evaluation.scaling import plots
from evaluation.scaling.analysis import LOSS_LAW, Analysis, BootstrappedLaw, constants_of, main_errors
from evaluation.scaling.cells import LOSS, PARAMETERS_RULE, common_measures, runs_of
from evaluation.scaling.law_bootstrap import intervals
from evaluation.scaling.laws import LossLaw
from evaluation.scaling.robust_fit import Array
from evaluation.scaling.runs import Runs
from evaluation.text_table import markdown_table

REPORT, TABLE = "report.md", "cells.csv"


def write_report(analysis: Analysis, title: str, about: list[str], missing: Mapping[str, str], folder: Path) -> None:
    """Write report.md, cells.csv and the figures into a folder that exists.

    about: lines on the study's settings. missing: cells of the plan without a record, and the reason for each.
    """
    table(analysis).to_csv(folder / TABLE, index=False)
    figures = _figures(analysis, folder)
    measured = (
        f"{PARAMETERS_RULE} Losses are those of the objective on pairs of held-out clips, the same for all runs; "
        "errors are Rank-1 errors in percent, zero-shot, of held-out subjects."
    )
    lines = [f"# {title}", "", *about, "", measured]
    lines += ["", "## The runs", "", _markdown(analysis), ""]
    lines += [f"- {name} is missing: {why}" for name, why in missing.items()]
    lines += ["", "## Noise", "", *_noise(analysis), "", "## The law of the loss", "", *_law(analysis), ""]
    lines += ["## Errors", "", *_errors(analysis), "", "## What the runs do not determine", ""]
    lines += _undetermined(analysis) or ["- nothing: all laws were fitted"]
    lines += ["", "## Figures", *(f"\n![{text}]({name})" for name, text in figures.items()), ""]
    (folder / REPORT).write_text("\n".join(lines))


def table(analysis: Analysis) -> pd.DataFrame:
    """A row per cell: its settings, its cost, and all measures."""
    names = ["name", "size", "seed", "parameters", "encoder", "heads", "unique", "seen", "epochs", "steps", "batch"]
    names += ["kept", "flop", "seconds", "speed"]
    rows = [
        {name: getattr(cell, name) for name in names} | {name: one.value for name, one in cell.measures.items()}
        for cell in analysis.cells
    ]
    return pd.DataFrame(rows)


def _markdown(analysis: Analysis) -> str:
    errors = main_errors(analysis)
    head = [
        "cell",
        "N",
        "with embeddings",
        "heads",
        "unique",
        "epochs",
        "clips",
        "tokens kept",
        "FLOP",
        "loss",
        *errors,
    ]
    rows = [head]
    for cell in analysis.cells:
        kept = "-" if cell.kept is None else f"{100 * cell.kept:.1f}%"
        row = [cell.name, f"{cell.parameters:,}", f"{cell.encoder:,}", f"{cell.heads:,}", f"{cell.unique:,}"]
        row += [f"{cell.epochs:.2f}", f"{cell.seen:,}", kept, f"{cell.flop:.3g}", f"{cell.measures[LOSS].value:.4f}"]
        rows.append(row + [f"{cell.measures[name].value:.1f}" for name in errors])
    return markdown_table(rows)


def _noise(analysis: Analysis) -> list[str]:
    if not analysis.noise:
        return ["No cell was run with two seeds: the noise between seeds is unknown."]
    shown = [name for name in (LOSS, *main_errors(analysis)) if name in analysis.noise]
    return [f"- {name}: {100 * analysis.noise[name]:.2f}% between seeds (one standard deviation)" for name in shown]


def _law(analysis: Analysis) -> list[str]:
    law = analysis.law
    if law is None:
        return [f"No law is fitted: {analysis.undetermined[LOSS_LAW]}."]
    lines = [f"`{law.fit.law}`", "", _intervals(law), ""]
    lines.append(f"Residuals: {100 * law.fit.noise:.2f}% (one standard deviation).")
    lines += [f"- {note}" for note in law.notes]
    if analysis.rule is not None:
        exponents = [np.asarray(one.size_exponent(analysis.rule.power)) for one in (law.draws, law.draws_of_runs)]
        of_all, of_runs = (_span(one) for one in exponents)
        best = float(law.fit.law.size_exponent(analysis.rule.power))
        lines += [
            "",
            f"The best size grows as FLOP to the {best:.2f} ({of_all}; for these subjects alone {of_runs}), where ",
        ]
        lines[-1] += f"FLOP = {analysis.rule.scale:.3g} N^{analysis.rule.power:.3f} per sequence."
    if analysis.envelope is not None:
        exponent = analysis.envelope.parameters.exponent
        lines.append(f"On the envelope of all runs it grows as FLOP to the {exponent:.2f}.")
    if analysis.isoflop is not None:
        lines.append(f"By parabolas through equal budgets, to the {analysis.isoflop.parameters.exponent:.2f}.")
        lines += [f"- no parabola at {reason}" for reason in analysis.isoflop.left_out]
    if analysis.held_out is not None:
        lines += ["", "The largest size, held out:", "", "```", str(analysis.held_out), "```"]
    return lines


def _intervals(law: BootstrappedLaw[LossLaw]) -> str:
    rows = [["constant", "fitted", "runs and subjects drawn", "runs alone"]]
    for name, (value, draws) in constants_of(law).items():
        of_runs = _span(np.asarray(getattr(law.draws_of_runs, name)))
        rows.append([name, f"{value:.4g}", _span(draws), of_runs])
    return markdown_table(rows)


def _span(draws: Array) -> str:
    ends = intervals(draws)
    return f"80%: {ends.low80:.3g} to {ends.high80:.3g}, 95%: {ends.low95:.3g} to {ends.high95:.3g}"


def _errors(analysis: Analysis) -> list[str]:
    fitted = [(name, axis, law) for name, laws in analysis.errors.items() for axis, law in laws.items()]
    if not fitted:
        return ["No law is fitted to an error; the reasons are below."]
    shared = [note for note in fitted[0][2].notes if all(note in law.notes for _, _, law in fitted)]
    lines = [f"For all of them: {'; '.join(shared)}.", ""] if shared else []
    for name, axis, law in fitted:
        exponent = _span(np.asarray(law.draws.exponent))
        own = [note for note in law.notes if note not in shared]
        notes = f" ({'; '.join(own)})" if own else ""
        lines.append(f"- {name} against {axis} ({len(law.runs)} runs): `{law.fit.law}`; exponent {exponent}{notes}")
    return lines


def _undetermined(analysis: Analysis) -> list[str]:
    """What the runs do not determine, a line per reason."""
    names: dict[str, list[str]] = {}
    for name, reason in analysis.undetermined.items():
        names.setdefault(reason, []).append(name)
    return [f"- {', '.join(some)}: {reason}" for reason, some in names.items()]


def _figures(analysis: Analysis, folder: Path) -> dict[str, str]:
    """Draw all figures; returns the names of their files, and what they show."""
    found: dict[str, str] = {}
    runs, law, rule = analysis.runs, analysis.law, analysis.rule
    if law is not None and rule is not None:
        plots.loss_figure(law.runs, law.fit, law.draws, rule, folder / "loss.png")
        plots.prediction_figure(law.runs, law.fit, folder / "prediction.png", analysis.held_out)
        given = (law.runs, law.fit, law.draws, rule, folder / "allocation.png")
        plots.allocation_figure(*given, analysis.isoflop, analysis.envelope)
        found = {
            "loss.png": "loss against parameters, data and FLOP",
            "prediction.png": "predicted against measured",
            "allocation.png": "the best use of each budget",
        }
    else:
        plots.error_figure(
            runs, f"Held-out loss ({len(analysis.cells[0].measures[LOSS].subjects)} subjects)", {}, folder / "loss.png"
        )
        found["loss.png"] = "measured losses; no law is fitted"
    if analysis.isoflop is not None:
        plots.isoflop_figure(runs.without_subjects(), analysis.isoflop, folder / "isoflop.png")
        found["isoflop.png"] = "equal budgets"
    for name in main_errors(analysis):
        file = f"{name.replace('/', '-').replace(' ', '-')}.png"
        laws = {axis: (one.runs, one.fit, one.draws) for axis, one in analysis.errors[name].items()}
        if (drawn := _positive(analysis, name)) is not None:
            plots.error_figure(drawn, f"{name} (%)", laws, folder / file)
            found[file] = name
    return found


def _positive(analysis: Analysis, name: str) -> Runs | None:
    """The runs with an error above 0, which a logarithmic axis can show; None without any."""
    cells = [cell for cell in analysis.cells if cell.measures[name].value > 0]
    return runs_of(cells, name) if cells and name in common_measures(cells) else None
