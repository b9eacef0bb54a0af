"""Driver of a scaling study: as many cells at once as the cluster has room for, then fits, figures and a report.

Each cell is a Ray task that drives its own training. Finished cells are not repeated, failed ones are named and left
out; the same command goes on with what is missing. All that is read for the report comes from MLflow.
"""

import json
import logging
import tempfile
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
from tqdm import tqdm

from datasets import storage
from datasets.schema.errors import Unfinished
from datasets.storage import Place
from datasets.store.reader import Store
from evaluation.scaling.analysis import Analysis
from evaluation.scaling.cells import LOSS, MeasuredCell
from orchestration.cluster import session
from orchestration.run import checkpoint, tracking
from orchestration.run.folder import TRACKED, folder_of, tracked_run
from orchestration.run.serialise import flatten, to_json
from orchestration.scaling.cell import is_ready, record_of, run_in_task, tidy_trunk
from orchestration.scaling.estimate import duration, estimate, render
from orchestration.scaling.measure import bank_of, held_rows
from orchestration.scaling.plan import STUDY_FILE, Cell, StudyPlan, check_study
from orchestration.scaling.probes import check_probes
from orchestration.scaling.records import read_study, record_cell, recorded, write_study
from orchestration.training.pretrain import check_data

logger = logging.getLogger(__name__)

REPORT_FOLDER = "report"
_LOOKS = 5.0  # seconds between two looks at how far cells are


def dry_run(plan: StudyPlan) -> str:
    """Every cell as it would be run, as a table. UsageError for what would stop the study."""
    plan, store = check(plan)
    session.start()
    records = {cell: record for cell in plan.cells() if (record := record_of(plan, cell))}
    speeds = {one.size: one.speed for one in records.values() if one.speed is not None}
    return render(plan, estimate(plan, store, {cell.name for cell in records}, speeds), room(plan))


def run_study(plan: StudyPlan, uri: str) -> Analysis:
    """Run what is missing of a study and report on all of it. Unfinished, with the report made, where cells failed."""
    plan, _ = check(plan)
    session.start()
    if plan.cluster.gpu:
        session.require_gpus()
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
        named = "; ".join(f"{name}: {why}" for name, why in failed.items())
        study = read_study(tracker.run_id, uri)
        if not study.cells:
            raise Unfinished(f"all cells failed, and there is nothing to report: {named}")
        with tempfile.TemporaryDirectory() as made:
            found = write_study(study, tracker, failed | plan.left_out(), Path(made))
            for path in sorted(Path(made).iterdir()):
                (folder / f"{REPORT_FOLDER}/{path.name}").move_from(path)
    if failed:
        raise Unfinished(
            f"{len(failed)} of {len(plan.cells())} cells failed and are left out of {folder}/{REPORT_FOLDER}; the same "
            f"command tries them again: {named}"
        )
    return found


def check(plan: StudyPlan) -> tuple[StudyPlan, Store]:
    """The plan with whole paths, and its store. UsageError where its folder or the store is not what it needs."""
    plan = replace(plan, out=str(storage.open_place(plan.out)), shards=str(storage.open_place(plan.shards)))
    check_study(plan, storage.open_place(plan.out))
    store = Store.open(plan.shards)
    for unique in dict.fromkeys(cell.unique for cell in plan.cells()):
        check_data(plan.run_of(next(cell for cell in plan.cells() if cell.unique == unique)), store)
    bank_of(plan, *held_rows(plan, store))
    check_probes(plan, store)
    return plan, store


def room(plan: StudyPlan) -> int:
    """How many cells run at once: as many as all their workers have cores, or GPUs, for; one at least."""
    there = ray.cluster_resources().get("GPU" if plan.cluster.gpu else "CPU", 1)
    return max(int(there) // plan.cluster.workers, 1)


def _run_cells(plan: StudyPlan, uri: str, run_id: str) -> dict[str, str]:
    """Run every cell that is not finished; returns those that failed, by name, and why."""
    done, known = {}, recorded(run_id, uri)
    for cell in plan.cells():
        if (record := record_of(plan, cell)) is not None:
            done[cell] = record
            if cell.name not in known:  # of a study that was tracked elsewhere
                record_cell(plan, record, folder_of(plan.run_of(cell)), run_id, uri)
    if done:
        logger.info(f"{len(done)} of {len(plan.cells())} cells are finished already")
    queue = _Queue(plan, uri, run_id, room(plan), done)
    with tqdm(total=len(plan.cells()), initial=len(done), desc="cells", unit="cell", dynamic_ncols=True) as bar, queue:
        while queue.step():
            bar.n = len(queue.done) + len(queue.failed)
            bar.set_postfix_str(queue.shown())
        bar.n = len(queue.done) + len(queue.failed)
    return queue.failed


@dataclass
class _Queue:
    """Cells that wait, cells under way, and what became of the others. Trunks go first, and large ones before small."""

    plan: StudyPlan
    uri: str
    run_id: str
    room: int
    done: dict[Cell, MeasuredCell]
    failed: dict[str, str] = field(default_factory=dict)
    _waiting: list[Cell] = field(default_factory=list)
    _under_way: dict[ray.ObjectRef, Cell] = field(default_factory=dict)

    def __enter__(self) -> "_Queue":
        cells = [cell for cell in self.plan.cells() if cell not in self.done]
        self._waiting = sorted(cells, key=lambda one: (one != self.plan.trunk_of(one), -self.plan.flop_of(one)))
        return self

    def __exit__(self, *_error: object) -> None:
        for task in self._under_way:  # after an interruption; the cells go on from their checkpoints another time
            ray.cancel(task, force=True)

    def step(self) -> bool:
        """Start what there is room for, wait a little, and take in what is finished; whether anything is left."""
        while len(self._under_way) < self.room and (ready := self._next()):
            self._waiting.remove(ready)
            self._under_way[self._send(ready)] = ready
        finished, _ = ray.wait(list(self._under_way), timeout=_LOOKS) if self._under_way else ([], [])
        for task in finished:
            self._take_in(self._under_way.pop(task), task)
        return bool(self._waiting or self._under_way)

    def shown(self) -> str:
        """How far the cells under way are."""
        steps = ((cell, checkpoint.newest_step(self._folder(cell))) for cell in self._under_way.values())
        return ", ".join(f"{cell.name} {step}/{cell.steps}" for cell, step in steps)

    def _next(self) -> Cell | None:
        """The first cell that need not wait for its trunk."""
        under_way = list(self._under_way.values())
        for cell in self._waiting:
            trunk = self.plan.trunk_of(cell)
            if cell == trunk or trunk not in under_way or is_ready(self.plan, cell):
                return cell
        return None

    def _send(self, cell: Cell) -> ray.ObjectRef:
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        environment = {"env_vars": {**session.QUIET, **session.environment_of_drivers()}}
        task = ray.remote(num_cpus=0, max_retries=0, scheduling_strategy=here, runtime_env=environment)
        return task(run_in_task).remote(to_json(self.plan), asdict(cell), self.uri, self.run_id)

    def _take_in(self, cell: Cell, task: ray.ObjectRef) -> None:
        try:
            answer = ray.get(task)
        except RayError as error:
            answer = {"failed": " ".join(str(error).split())[-300:]}
        if "failed" in answer:
            self.failed[cell.name] = answer["failed"]
            logger.warning(f"{cell.name} failed and is left out: {answer['failed']}")
            return
        record = MeasuredCell.from_json(answer["measured"])
        record_cell(self.plan, record, self._folder(cell), self.run_id, self.uri)
        self.done[cell] = record
        logger.info(f"{cell.name}: loss {record.measures[LOSS].value:.4f} in {duration(record.seconds)}")
        if all(one in self.done for one in self.plan.cells() if one.trunk == cell.trunk):
            tidy_trunk(self.plan, cell)

    def _folder(self, cell: Cell) -> Place:
        return folder_of(self.plan.run_of(cell))
