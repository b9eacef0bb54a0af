"""Driver of a scaling study: runs all cells, then fits laws and writes the report.

Finished cells are not repeated; failed ones are reported and left out, and the same command tries them again. The
report is made from what MLflow has, so that it can be made again without the study's folder.
"""

import json
import logging
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path

import ray

from datasets import storage
from datasets.schema.errors import Unfinished
from datasets.store.reader import Store
from evaluation.scaling.analysis import Analysis
from orchestration.cluster import interrupts, session
from orchestration.cluster.nodes import ask_nodes, require
from orchestration.cluster.progress import Progress
from orchestration.run import lease, tracking
from orchestration.run.device import resolve_device
from orchestration.run.folder import TRACKED, folder_of, tracked_run
from orchestration.run.hardware import bf16_support, compiler_problem, gpu_problem
from orchestration.run.precision import resolve
from orchestration.run.serialise import flatten, to_json
from orchestration.scaling.cell_queue import CellQueue
from orchestration.scaling.estimate import estimate, render
from orchestration.scaling.examined import read_held_out
from orchestration.scaling.plan import STUDY_FILE, StudyPlan, begun_on, check_study
from orchestration.scaling.probes import check_probes
from orchestration.scaling.records import read_study, record_cell, recorded, write_study
from orchestration.scaling.run_cell import check_orders, record_of
from orchestration.training.pretrain import check_data

logger = logging.getLogger(__name__)

REPORT_FOLDER = "report"


def dry_run(plan: StudyPlan) -> str:
    """A table of all cells with their cost; nothing is run. UsageError for whatever would stop the study."""
    plan, store = check(plan)
    session.start()
    plan = with_precision(with_device(plan))
    records = {cell: record for cell in plan.cells() if (record := record_of(plan, cell))}
    speeds = {one.size: one.speed for one in records.values() if one.speed is not None}
    return render(plan, estimate(plan, store, {cell.name for cell in records}, speeds), cells_at_once(plan))


def run_study(plan: StudyPlan, uri: str) -> Analysis:
    """Run the cells that are not finished and report on all. Unfinished, after the report, if cells failed."""
    plan, _ = check(plan)
    kept = f"finished cells, and the checkpoints of the others, are in {plan.out}"
    with lease.hold(storage.open_place(plan.out), "jobs.scaling"), interrupts.safe(lambda: kept):
        check_orders(plan)
        return _run_study(plan, uri)


def _run_study(plan: StudyPlan, uri: str) -> Analysis:
    session.start(meanwhile=partial(tracking.prepare, uri))
    plan = with_precision(with_device(plan))
    folder = storage.open_place(plan.out)
    tags, settings = {"job": "scaling"}, flatten(to_json(plan))
    with tracking.open_run(uri, f"scaling {folder.name}", settings, tags, tracked_run(folder)) as tracker:
        for name, content in ((STUDY_FILE, json.dumps(to_json(plan), indent=1)), (TRACKED, tracker.run_id)):
            (folder / name).write(content.encode())
        with tempfile.TemporaryDirectory() as made:
            file = Path(made) / STUDY_FILE
            file.write_text(json.dumps(to_json(plan), indent=1))
            tracker.attach(file)
        failed = _run_cells(plan, uri, tracker.run_id)
        reasons = "; ".join(f"{name}: {reason}" for name, reason in failed.items())
        study = read_study(tracker.run_id, uri)
        if not study.cells:
            raise Unfinished(f"all cells failed, and there is nothing to report: {reasons}")
        with tempfile.TemporaryDirectory() as made:
            analysis = write_study(study, tracker, failed | plan.left_out(), Path(made))
            for path in sorted(Path(made).iterdir()):
                (folder / f"{REPORT_FOLDER}/{path.name}").move_from(path)
    if failed:
        raise Unfinished(
            f"{len(failed)} of {len(plan.cells())} cells failed and are left out of {folder}/{REPORT_FOLDER}; the same "
            f"command tries them again: {reasons}"
        )
    return analysis


def check(plan: StudyPlan) -> tuple[StudyPlan, Store]:
    """The plan with absolute paths, and its store. UsageError if the study's folder or the store does not fit it."""
    plan = replace(plan, out=str(storage.open_place(plan.out)), shards=str(storage.open_place(plan.shards)))
    check_study(plan, storage.open_place(plan.out))
    store = Store.open(plan.shards)
    for unique in dict.fromkeys(cell.unique for cell in plan.cells()):
        check_data(plan.run_of(next(cell for cell in plan.cells() if cell.unique == unique)), store)
    read_held_out(plan)
    check_probes(plan, store)
    return plan, store


def with_device(plan: StudyPlan) -> StudyPlan:
    """The plan with the one device of all cells: what the study was begun on, or what its Ray has.

    UsageError where a local Ray lacks what a cell needs, or a machine cannot train on its GPU or compile.
    """
    gpus, needed = session.count_gpus(), plan.cluster.fewest_workers
    begun = begun_on(storage.open_place(plan.out))
    device, reason = resolve_device(plan.cluster.device, begun.device if begun else None, gpus, needed)
    if device == "gpu":
        session.require_gpus(needed)
        require(gpu_problem, gpu=True)
    if plan.cluster.compile:
        require(compiler_problem, gpu=device == "gpu")
    logger.info(f"device {device}: {reason}")
    if gpus and device == "cpu":
        logger.warning(f"the study leaves {gpus} GPUs unused: --cluster.device gpu uses them")
    return replace(plan, cluster=replace(plan.cluster, device=device))


def with_precision(plan: StudyPlan) -> StudyPlan:
    """The plan with the one precision of all cells: what the study was begun in, or what fits the machines."""
    begun, gpu = begun_on(storage.open_place(plan.out)), plan.cluster.gpu
    recorded_in = begun.precision if begun else None
    precision, reason = resolve(plan.cluster.precision, recorded_in, lambda: ask_nodes(bf16_support, gpu))
    logger.info(f"precision {precision}: {reason}")
    return replace(plan, cluster=replace(plan.cluster, precision=precision))


def cells_at_once(plan: StudyPlan) -> int:
    """The number of cells whose workers fit the cores, or GPUs, of the cluster at once; at least one."""
    available = ray.cluster_resources().get("GPU" if plan.cluster.gpu else "CPU", 1)
    return max(int(available) // plan.cluster.workers, 1)


def _run_cells(plan: StudyPlan, uri: str, run_id: str) -> dict[str, str]:
    """Run every cell that is not finished; returns the failed ones, by name, with the reason."""
    done, known = {}, recorded(run_id, uri)
    for cell in plan.cells():
        if (record := record_of(plan, cell)) is not None:
            done[cell] = record
            if cell.name not in known:  # it was tracked elsewhere
                record_cell(plan, record, folder_of(plan.run_of(cell)), run_id, uri)
    if done:
        logger.info(f"{len(done)} of {len(plan.cells())} cells are finished already")
    queue = CellQueue(plan, uri, run_id, cells_at_once(plan), done)
    with Progress("study", "cells", len(plan.cells()), len(done)) as progress, queue:
        more = True
        while more:
            more = queue.step()
            progress.note(running=queue.progress() or "none")
            progress.reach(len(queue.done) + len(queue.failed))
    return queue.failed
