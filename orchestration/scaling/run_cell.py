"""One cell of a study, driven from a thread of the study's driver: trained, and measured.

A cell starts from a checkpoint of another cell of its trunk, as far as both have been the same run, and resumes from it
as a killed run does. A cell is finished once its record lies in its folder.

    <study>/cells/<cell>/measures.json      the record, written last
                         branch.json        the checkpoint it started from
                         ...                a run's folder (orchestration/run/folder.py)
"""

import json
import time
from dataclasses import dataclass, replace
from typing import Annotated

from pydantic import Field

from datasets import storage
from datasets.schema.errors import Damaged
from datasets.storage import Place, read_json
from evaluation.scaling.cells import MeasuredCell
from orchestration.run import checkpoint, tracking
from orchestration.run import folder as run_folder
from orchestration.run.folder import folder_of, tracked_run
from orchestration.run.settings import Keep, PretrainRun
from orchestration.scaling.plan import Cell, StudyPlan
from orchestration.scaling.runners import CellRunner
from orchestration.training.monitor import prune_checkpoints
from orchestration.training.pretrain import pretrain

RECORD = "measures.json"
_BRANCH = "branch.json"


@dataclass(frozen=True)
class _Branch:
    """branch.json: where a cell began."""

    cell: Annotated[str, Field(alias="from")]
    step: int


def record_of(plan: StudyPlan, cell: Cell) -> MeasuredCell | None:
    """The record of a cell; None if it is not finished."""
    place = folder_of(plan.run_of(cell)) / RECORD
    if not place.exists():
        return None
    try:
        return MeasuredCell.from_json(place.read())
    except ValueError as error:
        raise Damaged(
            f"{place} is damaged (it is no record of a cell): its measurements are lost; delete it, and run the same "
            "`python -m jobs.scaling` again, which measures the cell's last checkpoint anew"
        ) from error


def is_ready(plan: StudyPlan, cell: Cell) -> bool:
    """Whether a cell's trunk has reached the checkpoint that the cell starts from; always for a trunk."""
    trunk = plan.trunk_of(cell)
    branch = checkpoint.at_step(folder_of(plan.run_of(trunk)), plan.run_of(cell).schedule.branch)
    return cell == trunk or (branch / "state.json").exists()


def check_orders(plan: StudyPlan) -> None:
    """UsageError where missing cells would be trained and measured on other data than the finished ones."""
    folders = {cell: folder_of(plan.run_of(cell)) for cell in plan.cells()}
    if any(record_of(plan, cell) is None for cell in folders):
        for newest in (found[-1] for folder in folders.values() if (found := checkpoint.complete(folder))):
            checkpoint.check_order(newest)


def run_cell(plan: StudyPlan, cell: Cell, uri: str, parent: str, runner: CellRunner) -> MeasuredCell:
    """Train a cell, or resume its training, and measure it. parent: the study's run in MLflow."""
    run, began = run_folder.with_absolute_paths(plan.run_of(cell)), time.monotonic()
    branch_off(plan, cell)
    pretrain(run, uri, parent=parent, launcher=runner)
    folder = folder_of(run)
    cells = storage.open_place(plan.out) / "cells"
    histories = {name: history_of(cells, cell.name, uri, name) for name in ("tokens_kept", "flops_per_second")}
    record = runner.measure(cell, _branch_of(folder)[1], time.monotonic() - began, histories)
    (folder / RECORD).write(record.to_json().encode())
    return record


def branch_off(plan: StudyPlan, cell: Cell) -> None:
    """Start a cell from the latest checkpoint that it shares with another cell of its trunk, unless it is as far."""
    run = run_folder.with_absolute_paths(plan.run_of(cell))
    folder = folder_of(run)
    run_folder.check_folder(run)
    latest = _latest_shared(storage.open_place(plan.out) / "cells", run, cell)
    if latest is None or latest[1] <= checkpoint.resumable_step(folder):
        return
    run_folder.claim_folder(run)
    source, step = latest
    (folder / _BRANCH).write(json.dumps({"from": source, "step": step}).encode())
    checkpoint.copy(checkpoint.at_step(storage.open_place(plan.out) / f"cells/{source}", step), folder, run)


def history_of(cells: Place, cell: str, uri: str, name: str) -> list[tuple[int, float]]:
    """A metric of a cell as (step, value); up to the step it branched off, of the cell that it branched off from."""
    source, since = _branch_of(cells / cell)
    run_id = tracked_run(cells / cell)
    mine = tracking.history(uri, run_id, name) if run_id else []
    before = history_of(cells, source, uri, name) if source else []
    return [one for one in before if one[0] <= since] + [one for one in mine if one[0] > since]


def prune_trunk(plan: StudyPlan, cell: Cell) -> None:
    """Delete the checkpoints that a finished trunk kept for its branches.

    The one before its own cool-down stays: a longer cell that is added later starts from it.
    """
    run = plan.run_of(plan.trunk_of(cell))
    prune_checkpoints(folder_of(run), replace(run, keep=Keep(last=1, best=0, at=(run.schedule.branch,))), set())


def _latest_shared(cells: Place, run: PretrainRun, cell: Cell) -> tuple[str, int] | None:
    """Cell and step of the latest undamaged checkpoint of the trunk that precedes the cool-downs of both cells."""
    try:
        names = [one.name for one in cells.entries() if one.name.startswith(f"{cell.trunk}-b")]
    except OSError:  # no cell has begun yet
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


def _branch_of(folder: Place) -> tuple[str, int]:
    """The cell and the step that a cell branched off from; no name and 0 if it started from scratch."""
    if not (folder / _BRANCH).exists():
        return "", 0
    mend = f"delete {folder}, and run the same `python -m jobs.scaling` again, which trains the cell anew"
    branch = read_json(_Branch, folder / _BRANCH, mend)
    return branch.cell, branch.step
