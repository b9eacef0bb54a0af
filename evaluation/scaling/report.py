"""The report of a study: its table, its figures, and what it says in words. An analysis in, files out.

What cannot be told stands there with the reason; measured points are shown whether a law was fitted to them or not.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from evaluation.scaling import plots
from evaluation.scaling.analysis import Analysis, Known, constants_of, loss_name, main_errors
from evaluation.scaling.bootstrap import intervals
from evaluation.scaling.cells import LOSS, RULE, measured_in, runs_of
from evaluation.scaling.runs import Runs
from evaluation.text_table import markdown_table

REPORT, TABLE = "report.md", "cells.csv"


def write_report(analysis: Analysis, title: str, about: list[str], missing: Mapping[str, str], folder: Path) -> None:
    """Write report.md, cells.csv and the figures into a folder that exists.

    about: lines on how the study was made. missing: cells that are not in it, by name, and why.
    """
    table(analysis).to_csv(folder / TABLE, index=False)
    figures = _figures(analysis, folder)
    lines = [f"# {title}", "", *about, "", f"{RULE[0].upper()}{RULE[1:]}. Losses are unsmoothed, against one bank of "]
    lines[-1] += "keys for all runs; errors are Rank-1 errors in percent, zero-shot, of held-out subjects."
    lines += ["", "## The runs", "", _markdown(analysis), ""]
    lines += [f"- {name} is missing: {why}" for name, why in missing.items()]
    lines += ["", "## Noise", "", *_noise(analysis), "", "## The law of the loss", "", *_law(analysis), ""]
    lines += ["## Errors", "", *_errors(analysis), "", "## What cannot be told", ""]
    lines += _refused(analysis) or ["- nothing that was asked"]
    lines += ["", "## Figures", *(f"\n![{text}]({name})" for name, text in figures.items()), ""]
    (folder / REPORT).write_text("\n".join(lines))


def table(analysis: Analysis) -> pd.DataFrame:
    """A row a cell: what it is, what it took, and all that was measured."""
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
        return ["No cell was run with two seeds: how much luck is in these numbers is not known."]
    shown = [name for name in (LOSS, *main_errors(analysis)) if name in analysis.noise]
    return [f"- {name}: {100 * analysis.noise[name]:.2f}% between seeds (one standard deviation)" for name in shown]


def _law(analysis: Analysis) -> list[str]:
    law = analysis.law
    if law is None:
        return [f"No law is fitted: {analysis.refused['the law of the loss']}."]
    lines = [f"`{law.fit.law}`", "", _intervals(law), ""]
    lines.append(f"What is left of each run: {100 * law.fit.noise:.2f}% (one standard deviation).")
    lines += [f"- {note}" for note in law.notes]
    if analysis.rule is not None:
        exponents = [np.asarray(one.size_exponent(analysis.rule.power)) for one in (law.draws, law.draws_here)]
        wide, here = (_span(one) for one in exponents)
        best = float(law.fit.law.size_exponent(analysis.rule.power))
        lines += ["", f"The best size grows as FLOP to the {best:.2f} ({wide}; of these subjects {here}), where "]
        lines[-1] += f"FLOP = {analysis.rule.scale:.3g} N^{analysis.rule.power:.3f} a sequence."
    if analysis.best is not None:
        lines.append(f"On the envelope of all runs it grows as FLOP to the {analysis.best.parameters.exponent:.2f}.")
    if analysis.curves is not None:
        lines.append(f"By parabolas through equal budgets, to the {analysis.curves.parameters.exponent:.2f}.")
        lines += [f"- no parabola at {why}" for why in analysis.curves.left_out]
    if analysis.held is not None:
        lines += ["", "The largest size, held out:", "", "```", str(analysis.held), "```"]
    return lines


def _intervals(law: Known) -> str:
    rows = [["constant", "fitted", "runs and subjects drawn", "runs alone"]]
    for name, (value, draws) in constants_of(law).items():
        here = _span(np.asarray(getattr(law.draws_here, name)))
        rows.append([name, f"{value:.4g}", _span(draws), here])
    return markdown_table(rows)


def _span(draws: np.ndarray) -> str:
    wide = intervals(draws)
    return f"80%: {wide.low80:.3g} to {wide.high80:.3g}, 95%: {wide.low95:.3g} to {wide.high95:.3g}"


def _errors(analysis: Analysis) -> list[str]:
    fitted = [(name, axis, law) for name, laws in analysis.errors.items() for axis, law in laws.items()]
    if not fitted:
        return ["No law is fitted to an error; the reasons are below."]
    of_all = [note for note in fitted[0][2].notes if all(note in law.notes for _, _, law in fitted)]
    lines = [f"Of all of them: {'; '.join(of_all)}.", ""] if of_all else []
    for name, axis, law in fitted:
        exponent = _span(np.asarray(law.draws.exponent))
        own = [note for note in law.notes if note not in of_all]
        notes = f" ({'; '.join(own)})" if own else ""
        lines.append(f"- {name} against {axis} ({len(law.runs)} runs): `{law.fit.law}`; exponent {exponent}{notes}")
    return lines


def _refused(analysis: Analysis) -> list[str]:
    """What could not be told, a line a reason."""
    questions: dict[str, list[str]] = {}
    for question, why in analysis.refused.items():
        questions.setdefault(why, []).append(question)
    return [f"- {', '.join(some)}: {why}" for why, some in questions.items()]


def _figures(analysis: Analysis, folder: Path) -> dict[str, str]:
    """Draws what there is; the names of the files, and what they show."""
    found: dict[str, str] = {}
    runs, law, rule = analysis.runs, analysis.law, analysis.rule
    if law is not None and rule is not None:
        plots.loss_figure(law.runs, law.fit, law.draws, rule, folder / "loss.png")
        plots.prediction_figure(law.runs, law.fit, folder / "prediction.png", analysis.held)
        given = (law.runs, law.fit, law.draws, rule, folder / "allocation.png")
        plots.allocation_figure(*given, analysis.curves, analysis.best)
        found = {
            "loss.png": "loss against size, data and FLOP",
            "prediction.png": "predicted against measured",
            "allocation.png": "the best use of each budget",
        }
    else:
        plots.error_figure(runs, loss_name(analysis.cells), {}, folder / "loss.png")
        found["loss.png"] = "measured losses; no law is fitted"
    if analysis.curves is not None:
        plots.isoflop_figure(runs.without_subjects(), analysis.curves, folder / "isoflop.png")
        found["isoflop.png"] = "equal budgets"
    for name in main_errors(analysis):
        file = f"{name.replace('/', '-').replace(' ', '-')}.png"
        laws = {axis: (one.runs, one.fit, one.draws) for axis, one in analysis.errors[name].items()}
        if (drawn := _positive(analysis, name)) is not None:
            plots.error_figure(drawn, f"{name} (%)", laws, folder / file)
            found[file] = name
    return found


def _positive(analysis: Analysis, name: str) -> Runs | None:
    """The runs with an error that a logarithmic axis can show; None where there are none."""
    cells = [cell for cell in analysis.cells if cell.measures[name].value > 0]
    return runs_of(cells, name) if cells and name in measured_in(cells) else None
