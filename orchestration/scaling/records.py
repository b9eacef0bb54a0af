"""A study in MLflow: a run for the study and one below it for each cell, with curves, tables and fitted constants.

A study is read back from MLflow alone: the record of each cell is an artifact of its run.
"""

import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from datasets import storage
from datasets.schema import strict_json
from datasets.schema.errors import Damaged, UsageError
from datasets.storage import Place
from evaluation.scaling.analysis import Analysis, analyse, constants_of, main_errors
from evaluation.scaling.cells import LOSS, MeasuredCell
from evaluation.scaling.law_bootstrap import intervals
from evaluation.scaling.report import write_report
from orchestration.run import tracking
from orchestration.run.folder import TRACKED, tracked_run
from orchestration.run.serialise import flatten, to_json
from orchestration.run.tracking import Tracker
from orchestration.scaling.plan import STUDY_FILE, StudyPlan
from orchestration.scaling.run_cell import RECORD

CELL_TAG = "scaling.cell"  # on the run of a finished cell: its name
_GIGA = 1e9  # curves are against GFLOP: a step of MLflow is a 64-bit integer, which FLOP exceed


@dataclass(frozen=True, kw_only=True)
class Study:
    """A study as read from MLflow."""

    run_id: str
    plan: StudyPlan
    cells: tuple[MeasuredCell, ...]


def study_id(study: str, uri: str) -> str:
    """The MLflow run id of a study, given by that id or by the study's folder. UsageError if it is neither."""
    tags = tracking.tags_of(uri, study)
    run_id = study if tags is not None else tracked_run(storage.open_place(study))
    if run_id is None or (tags := tracking.tags_of(uri, run_id)) is None:
        raise UsageError(f"MLflow at {uri} knows no study {study}: give its run id or folder, and --tracking")
    if tags.get("job") != "scaling":
        raise UsageError(f"the MLflow run {study} is not that of a study: give the one that `jobs.scaling` printed")
    return run_id


def read_study(run_id: str, uri: str) -> Study:
    """Read a study from MLflow: its plan, and the records of its finished cells."""
    mend = "run the same `python -m jobs.scaling` again, which attaches it anew"
    artefact, where = tracking.read_artefact(uri, run_id, STUDY_FILE), f"{STUDY_FILE} of {run_id} in MLflow at {uri}"
    plan = strict_json.read_ours(StudyPlan, artefact, where, mend)
    found = {tags[CELL_TAG]: child for child, tags in tracking.children(uri, run_id).items() if CELL_TAG in tags}
    cells = [_cell(uri, name, child) for name, child in found.items()]
    return Study(run_id=run_id, plan=plan, cells=tuple(cells))


def _cell(uri: str, name: str, run_id: str) -> MeasuredCell:
    """The record of a cell. Damaged where it is none."""
    try:
        return MeasuredCell.from_json(tracking.read_artefact(uri, run_id, RECORD))
    except ValueError as error:
        raise Damaged(
            f"{RECORD} of {run_id} in MLflow at {uri} is damaged (it is no record of a cell): delete that run there, "
            f"and run the same `python -m jobs.scaling` again, which records the cell {name} anew"
        ) from error


def recorded(run_id: str, uri: str) -> set[str]:
    """The names of the cells whose records are in MLflow."""
    return {tags[CELL_TAG] for tags in tracking.children(uri, run_id).values() if CELL_TAG in tags}


def record_cell(plan: StudyPlan, cell: MeasuredCell, folder: Place, run_id: str, uri: str) -> None:
    """Add the record of a finished cell to the MLflow run that trained it. folder: the cell's."""
    tags = {"job": "pretrain", "mlflow.parentRunId": run_id}
    settings = flatten(to_json(plan)) | {"cell": cell.name}
    with (
        tempfile.TemporaryDirectory() as made,
        tracking.open_run(uri, f"pretrain {cell.name}", settings, tags, tracked_run(folder)) as tracker,
    ):
        (folder / TRACKED).write(tracker.run_id.encode())
        file = Path(made) / RECORD
        file.write_text(cell.to_json())
        tracker.attach(file)
        names = ("parameters", "encoder", "heads", "unique", "seen", "epochs", "flop", "seconds")
        numbers = {f"measured/{name}": float(getattr(cell, name)) for name in names}
        tracker.log(cell.steps, numbers | {f"measured/{name}": one.value for name, one in cell.measures.items()})
        tracker.tag({CELL_TAG: cell.name})  # last: it marks the record as complete


def write_study(study: Study, tracker: Tracker, missing: Mapping[str, str], folder: Path) -> Analysis:
    """Analyse a study, write its report into a local folder, and log report, curves and constants to its run."""
    found = analyse(study.cells)
    write_report(found, f"Scaling study {study.plan.plan}", _about(study), missing, folder)
    for path in sorted(folder.iterdir()):
        tracker.attach(path, "report")
    _curves(study.cells, [LOSS, *main_errors(found)], tracker)
    tracker.log(len(study.cells), _constants(found))
    return found


def _about(study: Study) -> list[str]:
    """Lines on how the cells were trained and measured, for the report."""
    plan, subjects = study.plan, len(study.cells[0].measures[LOSS].subjects)
    schedule, measured = plan.schedule, plan.measure
    lines = [
        f"{len(study.cells)} runs of {schedule.batch} pairs a step with {plan.data.positives} positives, clips of "
        f"{plan.clips.frames} frames, learning rate {schedule.lr:g}, the last {100 * schedule.cooldown:.0f}% of each "
        f"cooled down; measured on {subjects} held-out subjects: the loss on at most {measured.keys} pairs of clips, "
        f"errors on the first {measured.frames} frames of each sequence."
    ]
    averaged = 1 / (1 - plan.objective.momentum)
    cooled = schedule.cooldown * min(cell.steps for cell in study.cells)
    if averaged > cooled + 1:
        lines.append(
            f"The teacher, whose network is measured, averages over {averaged:.0f} steps, more than the {cooled:.0f} "
            "in which the shortest run cools down: it lags behind there (`objective.momentum`)."
        )
    return lines


def _curves(cells: Sequence[MeasuredCell], measures: Sequence[str], tracker: Tracker) -> None:
    """Log measures with parameters, sequences and GFLOP as the step; one curve for cells alike in all else."""
    curves: dict[str, dict[int, float]] = defaultdict(dict)
    for cell in cells:
        for name in measures:
            value = cell.measures[name].value
            u, s = f"unique {cell.unique}", f"seed {cell.seed}"
            curves[f"{name} by parameters/{cell.seen} seen, {u}, {s}"][cell.parameters] = value
            curves[f"{name} by sequences/{cell.size}, {u}, {s}"][cell.seen] = value
            curves[f"{name} by GFLOP/{cell.size}, {u}, {s}"][round(cell.flop / _GIGA)] = value
    for name, points in curves.items():
        tracker.curve(name.replace(",", ""), points)


def _constants(found: Analysis) -> dict[str, float]:
    """All fitted constants and the ends of their intervals, as metrics."""
    metrics = {f"noise/{name}": value for name, value in found.noise.items()}
    if found.law is not None:
        for name, (value, draws) in constants_of(found.law).items():
            metrics |= {f"law/{name}": value} | _interval_ends(f"law/{name}", draws)
        metrics["law/residual"] = found.law.fit.noise
        if found.rule is not None:
            power = found.rule.power
            metrics["law/size_exponent"] = float(found.law.fit.law.size_exponent(power))
            metrics |= _interval_ends("law/size_exponent", found.law.draws.size_exponent(power))
    if found.rule is not None:
        metrics |= {"flop/scale": found.rule.scale, "flop/power": found.rule.power}
    for name, laws in found.errors.items():
        for axis, law in laws.items():
            for constant in ("scale", "shift", "exponent", "floor"):
                metrics[f"law of {name}/{axis}/{constant}"] = float(getattr(law.fit.law, constant))
            metrics |= _interval_ends(f"law of {name}/{axis}/exponent", law.draws.exponent)
    if found.held_out is not None:
        metrics["held_out/worst_miss"] = float(abs(found.held_out.miss).max())
    return metrics


def _interval_ends(name: str, draws: ArrayLike) -> dict[str, float]:
    ends = intervals(np.asarray(draws))
    return {f"{name}_{end}": float(getattr(ends, end)) for end in ("low95", "low80", "high80", "high95")}
