"""The queue of a study's cells: as many at once as the cluster has room for, trunks before their branches."""

import logging
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from queue import SimpleQueue

from ray.exceptions import RayTaskError

from datasets.schema.errors import Unfinished, UsageError
from datasets.storage import Place
from evaluation.scaling.cells import LOSS, MeasuredCell
from orchestration.run import checkpoint
from orchestration.run.folder import folder_of
from orchestration.scaling.estimate import duration
from orchestration.scaling.plan import Cell, StudyPlan
from orchestration.scaling.records import record_cell
from orchestration.scaling.run_cell import is_ready, prune_trunk, run_cell
from orchestration.scaling.runners import CellRunner, runner_of

logger = logging.getLogger(__name__)

_POLL_SECONDS = 5.0
_LONGEST_REASON = 400  # characters


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
    _running: dict[Future[MeasuredCell], Cell] = field(default_factory=dict)
    _runners: list[CellRunner] = field(default_factory=list)
    _idle: SimpleQueue[CellRunner] = field(default_factory=SimpleQueue)

    def __enter__(self) -> "CellQueue":
        cells = [cell for cell in self.plan.cells() if cell not in self.done]
        self._waiting = sorted(cells, key=lambda one: (one != self.plan.trunk_of(one), -self.plan.flop_of(one)))
        self._threads = ThreadPoolExecutor(self.parallel, thread_name_prefix="cell")
        self._runners = [runner_of(self.plan) for _ in range(min(self.parallel, len(cells)))]
        for runner in self._runners:
            self._idle.put(runner)
        return self

    def __exit__(self, *_error: object) -> None:
        for runner in self._runners:  # after an interruption, the cells resume from their checkpoints another time
            runner.stop()
        self._threads.shutdown(cancel_futures=True)

    def step(self) -> bool:
        """Start what there is room for, wait up to `_POLL_SECONDS`, and collect results; False once all have ended."""
        while len(self._running) < self.parallel and (cell := self._next()):
            self._waiting.remove(cell)
            self._running[self._threads.submit(self._run, cell)] = cell
        for one in wait(self._running, timeout=_POLL_SECONDS, return_when=FIRST_COMPLETED).done:
            self._collect(self._running.pop(one), one)
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

    def _run(self, cell: Cell) -> MeasuredCell:
        """Drive a cell from a thread, with a runner that no other thread has."""
        runner = self._idle.get()
        try:
            return run_cell(self.plan, cell, self.uri, self.run_id, runner)
        finally:
            self._idle.put(runner)

    def _collect(self, cell: Cell, finished: Future[MeasuredCell]) -> None:
        error = finished.exception()
        if error is not None:  # of any kind: the other cells go on
            self.failed[cell.name] = _reason(error)
            logger.warning(f"{cell.name} failed and is left out: {self.failed[cell.name]}")
            return
        record = finished.result()
        record_cell(self.plan, record, self._folder(cell), self.run_id, self.uri)
        self.done[cell] = record
        logger.info(f"{cell.name}: loss {record.measures[LOSS].value:.4f} in {duration(record.seconds)}")
        if all(one in self.done for one in self.plan.cells() if one.trunk == cell.trunk):
            prune_trunk(self.plan, cell)

    def _folder(self, cell: Cell) -> Place:
        return folder_of(self.plan.run_of(cell))


def _reason(error: BaseException) -> str:
    """One line on why a cell failed."""
    cause = error.cause if isinstance(error, RayTaskError) else error
    named = "" if isinstance(cause, (UsageError, Unfinished)) else f"{type(cause).__name__}: "
    words = " ".join(f"{named}{cause}".split())
    return words if len(words) <= _LONGEST_REASON else f"{words[: _LONGEST_REASON - 3]}..."
