"""One cell of a study, from its trunk to its record: in a Ray task that drives the cell's own training.

A cell takes over a checkpoint of a longer one where they have been the same run so far, and goes on as any killed run
does; then it is measured. Finished means that its record lies in its folder.

    <study>/cells/<cell>/measures.json      what was measured, written last
                         took_over.json     which checkpoint it began with
                         ...                a run's folder (run_folder.py)
"""

import json
import time
from dataclasses import replace
from typing import Any

from datasets import storage
from datasets.schema.errors import Unfinished, UsageError
from datasets.storage import Place
from evaluation.scaling.cells import MeasuredCell
from orchestration.run import checkpoint, tracking
from orchestration.run import folder as run_folder
from orchestration.run.folder import folder_of, tracked_run
from orchestration.run.serialise import build
from orchestration.run.settings import Keep, PretrainRun
from orchestration.scaling.measure import measure
from orchestration.scaling.plan import Cell, StudyPlan
from orchestration.training.monitor import prune_checkpoints
from orchestration.training.pretrain import pretrain

RECORD = "measures.json"
_TOOK_OVER = "took_over.json"
_LONGEST_REASON = 400  # characters


def record_of(plan: StudyPlan, cell: Cell) -> MeasuredCell | None:
    """What was measured of a cell; None where it is not finished."""
    place = folder_of(plan.run_of(cell)) / RECORD
    return MeasuredCell.from_json(place.read()) if place.exists() else None


def is_ready(plan: StudyPlan, cell: Cell) -> bool:
    """Whether a cell has what it takes over from its trunk, as far as that is trained."""
    run, trunk = plan.run_of(cell), plan.trunk_of(cell)
    return (
        cell == trunk
        or (checkpoint.at_step(folder_of(plan.run_of(trunk)), run.schedule.branch) / "state.json").exists()
    )


def run_in_task(plan: dict[str, Any], cell: dict[str, Any], uri: str, parent: str) -> dict[str, str]:
    """Runs in a Ray task: `measured`, the record of a cell, or `failed`, why there is none, in one line."""
    try:
        return {"measured": run_cell(build(StudyPlan, plan), Cell(**cell), uri, parent).to_json()}
    except (UsageError, Unfinished) as error:
        return {"failed": _one_line(str(error))}
    except Exception as error:  # whatever it is, the other cells go on, and this one is named
        return {"failed": _one_line(f"{type(error).__name__}: {error}")}


def run_cell(plan: StudyPlan, cell: Cell, uri: str, parent: str) -> MeasuredCell:
    """Train a cell, or go on training it, and measure it. parent: the study's run in MLflow."""
    run, began = run_folder.with_absolute_paths(plan.run_of(cell)), time.monotonic()
    take_over(plan, cell)
    pretrain(run, uri, parent=parent)
    folder = folder_of(run)
    cells = storage.open_place(plan.out) / "cells"
    histories = {name: history_of(cells, cell.name, uri, name) for name in ("tokens_kept", "flops_per_second")}
    found = measure(plan, cell, _took_over(folder)[1], time.monotonic() - began, histories)
    (folder / RECORD).write(found.to_json().encode())
    return found


def take_over(plan: StudyPlan, cell: Cell) -> None:
    """Begin a cell with the furthest checkpoint that another one of its trunk has for it, unless it is as far."""
    run = run_folder.with_absolute_paths(plan.run_of(cell))
    folder = folder_of(run)
    run_folder.check_folder(run)
    best = _furthest(storage.open_place(plan.out) / "cells", run, cell)
    if best is None or best[1] <= checkpoint.resumable_step(folder):
        return
    run_folder.claim_folder(run)
    source, step = best
    (folder / _TOOK_OVER).write(json.dumps({"from": source, "step": step}).encode())
    checkpoint.copy(checkpoint.at_step(storage.open_place(plan.out) / f"cells/{source}", step), folder, run)


def history_of(cells: Place, cell: str, uri: str, name: str) -> list[tuple[int, float]]:
    """What a cell logged while it trained and, before what it took over, the cell that it took that from."""
    source, since = _took_over(cells / cell)
    run_id = tracked_run(cells / cell)
    mine = tracking.history(uri, run_id, name) if run_id else []
    before = history_of(cells, source, uri, name) if source else []
    return [one for one in before if one[0] <= since] + [one for one in mine if one[0] > since]


def tidy_trunk(plan: StudyPlan, cell: Cell) -> None:
    """Take away what a trunk kept for its branches, once they are all finished; it can still be made longer."""
    run = plan.run_of(plan.trunk_of(cell))
    prune_checkpoints(folder_of(run), replace(run, keep=Keep(last=1, best=0, at=(run.schedule.branch,))), set())


def _furthest(cells: Place, run: PretrainRun, cell: Cell) -> tuple[str, int] | None:
    """The cell and step of the furthest whole checkpoint that lies before the cool-downs of both."""
    try:
        names = [one.name for one in cells.entries() if one.name.startswith(f"{cell.trunk}-b")]
    except OSError:  # the first cell of all
        return None
    found = []
    for name in names:
        other = replace(run.schedule, steps=int(name.rpartition("-b")[2]))
        if other.steps != cell.steps:
            steps = map(checkpoint.step_of, checkpoint.complete(cells / name))
            found += [(step, name) for step in steps if step <= min(run.schedule.branch, other.branch)]
    for step, name in sorted(found, reverse=True):
        if checkpoint.damage_of(checkpoint.at_step(cells / name, step)) is None:
            return name, step
    return None


def _took_over(folder: Place) -> tuple[str, int]:
    """From which cell one took its first checkpoint, and of which step; of none, and 0, where it did not."""
    if not (folder / _TOOK_OVER).exists():
        return "", 0
    found = json.loads((folder / _TOOK_OVER).read())
    return found["from"], found["step"]


def _one_line(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= _LONGEST_REASON else f"{words[: _LONGEST_REASON - 3]}..."
