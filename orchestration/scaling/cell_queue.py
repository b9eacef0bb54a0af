"""The queue of a study's cells: as many Ray tasks at once as the cluster has room for, trunks before their branches."""

import logging
from dataclasses import asdict, dataclass, field

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from datasets.storage import Place
from evaluation.scaling.cells import LOSS, MeasuredCell
from orchestration.cluster import session
from orchestration.run import checkpoint
from orchestration.run.folder import folder_of
from orchestration.run.serialise import to_json
from orchestration.scaling.estimate import duration
from orchestration.scaling.plan import Cell, StudyPlan
from orchestration.scaling.records import record_cell
from orchestration.scaling.run_cell import is_ready, prune_trunk, run_cell_task

logger = logging.getLogger(__name__)

_POLL_SECONDS = 5.0


@dataclass
class CellQueue:
    """Cells that wait, run, are done or have failed. Trunks start first, and expensive cells before cheap ones."""

    plan: StudyPlan
    uri: str
    run_id: str
    parallel: int
    done: dict[Cell, MeasuredCell]
    failed: dict[str, str] = field(default_factory=dict)
    _waiting: list[Cell] = field(default_factory=list)
    _running: dict[ray.ObjectRef, Cell] = field(default_factory=dict)

    def __enter__(self) -> "CellQueue":
        cells = [cell for cell in self.plan.cells() if cell not in self.done]
        self._waiting = sorted(cells, key=lambda one: (one != self.plan.trunk_of(one), -self.plan.flop_of(one)))
        return self

    def __exit__(self, *_error: object) -> None:
        for task in self._running:  # after an interruption; the cells resume from their checkpoints another time
            ray.cancel(task, force=True)

    def step(self) -> bool:
        """Start what there is room for, wait up to `_POLL_SECONDS`, and collect results; False once all have ended."""
        while len(self._running) < self.parallel and (cell := self._next()):
            self._waiting.remove(cell)
            self._running[self._start(cell)] = cell
        finished, _ = ray.wait(list(self._running), timeout=_POLL_SECONDS) if self._running else ([], [])
        for task in finished:
            self._collect(self._running.pop(task), task)
        return bool(self._waiting or self._running)

    def progress(self) -> str:
        """The steps of the running cells."""
        steps = ((cell, checkpoint.newest_step(self._folder(cell))) for cell in self._running.values())
        return ", ".join(f"{cell.name} {step}/{cell.steps}" for cell, step in steps)

    def _next(self) -> Cell | None:
        """The first cell that need not wait for its trunk."""
        running = list(self._running.values())
        for cell in self._waiting:
            trunk = self.plan.trunk_of(cell)
            if cell == trunk or trunk not in running or is_ready(self.plan, cell):
                return cell
        return None

    def _start(self, cell: Cell) -> ray.ObjectRef:
        """Start the task that drives a cell's training; on this node, since its workers are placed by Ray Train."""
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        environment = {"env_vars": {**session.QUIET, **session.environment_of_drivers()}}
        task = ray.remote(run_cell_task).options(
            num_cpus=0, max_retries=0, scheduling_strategy=here, runtime_env=environment
        )
        return task.remote(to_json(self.plan), asdict(cell), self.uri, self.run_id)

    def _collect(self, cell: Cell, task: ray.ObjectRef) -> None:
        try:
            result = ray.get(task)
        except RayError as error:
            result = {"failed": " ".join(str(error).split())[-300:]}
        if "failed" in result:
            self.failed[cell.name] = result["failed"]
            logger.warning(f"{cell.name} failed and is left out: {result['failed']}")
            return
        record = MeasuredCell.from_json(result["measured"])
        record_cell(self.plan, record, self._folder(cell), self.run_id, self.uri)
        self.done[cell] = record
        logger.info(f"{cell.name}: loss {record.measures[LOSS].value:.4f} in {duration(record.seconds)}")
        if all(one in self.done for one in self.plan.cells() if one.trunk == cell.trunk):
            prune_trunk(self.plan, cell)

    def _folder(self, cell: Cell) -> Place:
        return folder_of(self.plan.run_of(cell))
