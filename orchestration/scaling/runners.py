"""What trains and measures the cells of a study: workers that stay, or Ray Train for cells of several workers."""

import logging
import threading
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Protocol

import ray
from ray.actor import ActorHandle
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from evaluation.scaling.cells import MeasuredCell
from orchestration.rank.status import start_status_actor
from orchestration.rank.work import Rank
from orchestration.run.folder import folder_of
from orchestration.run.serialise import to_json
from orchestration.run.settings import Run
from orchestration.scaling.cell_worker import CellWorker
from orchestration.scaling.examined import read_held_out
from orchestration.scaling.measure import History, measure
from orchestration.scaling.plan import Cell, StudyPlan
from orchestration.training.monitor import Monitor
from orchestration.training.ray_train import RayTrain, resources_of_rank
from orchestration.training.restarts import RestartPolicy, RunFailed
from orchestration.training.train import Launcher

logger = logging.getLogger(__name__)


class CellRunner(Launcher, Protocol):
    """Trains one cell at a time, as the `Launcher` of its ranks, and measures it."""

    def measure(self, cell: Cell, branch_step: int, seconds: float, histories: Mapping[str, History]) -> MeasuredCell:
        """The record of a trained cell (orchestration/scaling/measure.py)."""
        ...

    def stop(self) -> None:
        """End what runs in another thread, and release all resources."""
        ...


def runner_of(plan: StudyPlan) -> CellRunner:
    """A runner for the cells of a study."""
    return StandingWorker(plan) if plan.cluster.workers == 1 else ClusterRunner(plan)


class StandingWorker:
    """A worker that stays, as the driver has it: training starts in a process that is ready (`CellWorker`).

    A worker that died, or whose cell failed, is replaced: its memory and its process group are not to be trusted.
    """

    def __init__(self, plan: StudyPlan) -> None:
        self._plan = plan
        self._stopped = False
        self._changing = threading.Lock()
        self._status = start_status_actor()
        self._worker = self._start()

    def status(self) -> ActorHandle:
        """The status actor of all its runs."""
        ray.get(self._status.clear.remote())
        return self._status

    def fit(self, run: Run, rank: Rank, status: ActorHandle, monitor: Monitor, profile: bool) -> str | None:
        """Train on the worker; on another one from the newest checkpoint where it died."""
        policy = RestartPolicy(folder_of(run), run.cluster.restarts)
        config = {"run": to_json(run), "status": status, "profile": profile}
        while True:
            monitor.control(self._worker)
            try:
                ray.get(self._worker.train.remote(rank, config))
            except RayError as error:
                self._replace()
                monitor.update()
                if monitor.failure or self._stopped:
                    return monitor.failure or "interrupted"
                try:
                    policy.after_exception(None, {0: error.cause if isinstance(error, RayTaskError) else error})
                except RunFailed as failed:
                    return str(failed)
            else:
                monitor.update()
                return monitor.failure

    def measure(self, cell: Cell, branch_step: int, seconds: float, histories: Mapping[str, History]) -> MeasuredCell:
        """Measure a cell on the worker that trained it."""
        try:
            record: Any = ray.get(self._worker.measure.remote(asdict(cell), branch_step, seconds, histories))
        except RayError:
            self._replace()
            raise
        return MeasuredCell.from_json(record)

    def stop(self) -> None:
        """Kill the worker; `fit` returns."""
        with self._changing:
            self._stopped = True
            ray.kill(self._worker)
            ray.kill(self._status)

    def _replace(self) -> None:
        with self._changing:
            if not self._stopped:
                ray.kill(self._worker)
                self._worker = self._start()

    def _start(self) -> ActorHandle:
        needed = resources_of_rank(self._plan.cluster.gpu)
        actor = ray.remote(CellWorker).options(num_cpus=needed["CPU"], num_gpus=needed.get("GPU", 0))
        handle = actor.remote(to_json(self._plan))
        assert isinstance(handle, ActorHandle)
        return handle


class ClusterRunner(RayTrain):
    """Ray Train places the workers of each cell; a task beside the driver measures it."""

    def __init__(self, plan: StudyPlan) -> None:
        super().__init__()
        self._plan = plan

    def measure(self, cell: Cell, branch_step: int, seconds: float, histories: Mapping[str, History]) -> MeasuredCell:
        """Measure a cell in a task on the driver's node."""
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        task = ray.remote(_measure_in_task).options(num_cpus=0, max_retries=0, scheduling_strategy=here)
        return MeasuredCell.from_json(ray.get(task.remote(self._plan, cell, branch_step, seconds, histories)))


def _measure_in_task(
    plan: StudyPlan, cell: Cell, branch_step: int, seconds: float, histories: Mapping[str, History]
) -> str:
    return measure(plan, cell, read_held_out(plan), branch_step, seconds, histories).to_json()
