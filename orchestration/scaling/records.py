"""A study in MLflow: the run of the study, one below it for each cell, curves, tables and constants; and back again.

Whatever is read back comes from MLflow alone: the record of each cell is kept with its run.
"""

import json
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from datasets import storage
from datasets.schema.errors import UsageError
from datasets.storage import Place
from evaluation.scaling.analysis import Analysis, analyse, constants_of, main_errors
from evaluation.scaling.cells import LOSS, MeasuredCell
from evaluation.scaling.law_bootstrap import intervals
from evaluation.scaling.report import write_report
from orchestration.run import tracking
from orchestration.run.folder import TRACKED, tracked_run
from orchestration.run.serialise import build, flatten, to_json
from orchestration.run.tracking import Tracker
from orchestration.scaling.plan import STUDY_FILE, StudyPlan
from orchestration.scaling.run_cell import RECORD

CELL_TAG = "scaling.cell"  # of the runs of finished cells: their names
_GIGA = 1e9  # MLflow's steps are whole numbers of 64 bits, which FLOP soon exceed: charts are against GFLOP


@dataclass(frozen=True, kw_only=True)
class Study:
    """A study as MLflow has it."""

    run_id: str
    plan: StudyPlan
    cells: tuple[MeasuredCell, ...]


def study_id(study: str, uri: str) -> str:
    """The MLflow run of a study, from that or from the study's folder. UsageError for what is neither."""
    tags = tracking.tags_of(uri, study)
    run_id = study if tags is not None else tracked_run(storage.open_place(study))
    if run_id is None or (tags := tracking.tags_of(uri, run_id)) is None:
        raise UsageError(f"{study} is no study that MLflow at {uri} knows: give its run id or folder, and --tracking")
    if tags.get("job") != "scaling":
        raise UsageError(f"the MLflow run {study} is not that of a study: give the one that `jobs.scaling` named")
    return run_id


def read_study(run_id: str, uri: str) -> Study:
    """A study from MLflow alone: its plan, and the records of its finished cells."""
    plan = build(StudyPlan, json.loads(tracking.read_artefact(uri, run_id, STUDY_FILE)))
    found = {tags[CELL_TAG]: child for child, tags in tracking.children(uri, run_id).items() if CELL_TAG in tags}
    cells = [MeasuredCell.from_json(tracking.read_artefact(uri, child, RECORD)) for child in found.values()]
    return Study(run_id=run_id, plan=plan, cells=tuple(cells))


def recorded(run_id: str, uri: str) -> set[str]:
    """The names of the cells whose records MLflow has."""
    return {tags[CELL_TAG] for tags in tracking.children(uri, run_id).values() if CELL_TAG in tags}


def record_cell(plan: StudyPlan, cell: MeasuredCell, folder: Place, run_id: str, uri: str) -> None:
    """Keep a finished cell in MLflow, with the run that trained it. folder: the cell's."""
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
        tracker.tag({CELL_TAG: cell.name})  # last: it says that the record is there


def write_study(study: Study, tracker: Tracker, missing: Mapping[str, str], folder: Path) -> Analysis:
    """Analyse a study, write its report into a local folder, and keep all of it with its MLflow run."""
    found = analyse(study.cells)
    plan, first = study.plan, study.cells[0]
    about = [
        f"{len(study.cells)} runs of {plan.schedule.batch} pairs a step with {plan.data.positives} positives, clips of "
        f"{plan.clips.frames} frames, rate {plan.schedule.lr:g}, the last {100 * plan.schedule.cooldown:.0f}% of "
        f"each cooled down; measured on {len(first.measures[LOSS].subjects)} held-out subjects, against a bank of at "
        f"most {plan.measure.keys} keys, and on the first {plan.measure.frames} frames of each sequence."
    ]
    shortest = min(cell.steps for cell in study.cells)
    averaged, cooled = 1 / (1 - plan.objective.momentum), plan.schedule.cooldown * shortest
    if averaged > cooled + 1:
        about.append(
            f"The teacher, which is measured, averages over {averaged:.0f} steps, more than the {cooled:.0f} in which "
            "the shortest run cools down: it lags behind there (`objective.momentum`)."
        )
    write_report(found, f"Scaling study {plan.plan}", about, missing, folder)
    for path in sorted(folder.iterdir()):
        tracker.attach(path, "report")
    _curves(study.cells, [LOSS, *main_errors(found)], tracker)
    tracker.log(len(study.cells), _constants(found))
    return found


def _curves(cells: Sequence[MeasuredCell], measures: Sequence[str], tracker: Tracker) -> None:
    """Some measures against parameters, sequences and GFLOP as the step, a metric for what else is the same."""
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
    """What was fitted, with the ends of its intervals, as metrics; what was not is missing."""
    metrics = {f"noise/{name}": value for name, value in found.noise.items()}
    if found.law is not None:
        for name, (value, draws) in constants_of(found.law).items():
            metrics |= {f"law/{name}": value} | _ends(f"law/{name}", draws)
        metrics["law/residual"] = found.law.fit.noise
        if found.rule is not None:
            power = found.rule.power
            metrics["law/size_exponent"] = float(found.law.fit.law.size_exponent(power))
            metrics |= _ends("law/size_exponent", found.law.draws.size_exponent(power))
    if found.rule is not None:
        metrics |= {"flop/scale": found.rule.scale, "flop/power": found.rule.power}
    for name, laws in found.errors.items():
        for axis, law in laws.items():
            for constant in ("scale", "shift", "exponent", "floor"):
                metrics[f"law of {name}/{axis}/{constant}"] = float(getattr(law.fit.law, constant))
            metrics |= _ends(f"law of {name}/{axis}/exponent", law.draws.exponent)
    if found.held_out is not None:
        metrics["held_out/worst_miss"] = float(abs(found.held_out.miss).max())
    return metrics


def _ends(name: str, draws: object) -> dict[str, float]:
    wide = intervals(draws)
    return {f"{name}_{end}": float(getattr(wide, end)) for end in ("low95", "low80", "high80", "high95")}
