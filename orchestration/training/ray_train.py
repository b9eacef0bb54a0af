"""Starts the ranks of a run by Ray Train: on the machines of a cluster, elastic, and again after failures."""

import hashlib
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from ray.actor import ActorHandle
from ray.exceptions import RayActorError
from ray.train import ControllerError, TrainingFailedError

from datasets.schema.errors import UsageError
from orchestration.cluster import session
from orchestration.rank.status import start_status_actor
from orchestration.rank.work import Rank
from orchestration.run import checkpoint
from orchestration.run.folder import folder_of
from orchestration.run.serialise import to_json
from orchestration.run.settings import Run
from orchestration.training.monitor import Monitor
from orchestration.training.process_group import ProcessGroupConfig
from orchestration.training.ray_internals import Trainer
from orchestration.training.restarts import RestartPolicy, RunFailed, is_lost

if TYPE_CHECKING:  # to a type checker, ray.train has the classes of its first version
    from ray.train.v2.api.config import FailureConfig, RunConfig, ScalingConfig
else:
    from ray.train import FailureConfig, RunConfig, ScalingConfig

logger = logging.getLogger(__name__)
_CONTROLLER_RESTARTS = 3  # losses of the controller without a checkpoint between them that are survived


class RayTrain:
    """The `Launcher` of ranks in processes of their own, placed by Ray Train."""

    def __init__(self) -> None:
        self._monitor: Monitor | None = None

    def status(self) -> ActorHandle:
        """A new status actor."""
        return start_status_actor()

    def fit(self, run: Run, rank: Rank, status: ActorHandle, monitor: Monitor, profile: bool) -> str | None:
        """Run the trainer, again where its controller is lost; returns why the run failed, or None.

        UsageError where a rank has a GPU that cannot be trained on.
        """
        self._monitor = monitor
        trainer = _trainer(run, status, rank, profile, monitor.control)
        losses, newest = 0, -1
        while True:
            try:
                trainer.fit()
            except (RayActorError, TrainingFailedError) as error:
                monitor.update()
                if isinstance(cause := _cause(error), UsageError):
                    raise cause from error
                if monitor.failure or not _is_lost_controller(error):
                    return monitor.failure or _reason(error)
                step = checkpoint.resumable_step(folder_of(run))
                losses, newest = (losses + 1 if step == newest else 1), step
                if losses > _CONTROLLER_RESTARTS:
                    return f"Ray lost the run's controller {losses} times after step {step}: {_reason(error)}"
                logger.warning(f"Ray lost the run's controller: restarting after step {step}")
            else:
                monitor.update()
                return monitor.failure
            finally:
                session.free_placement_groups(_memory_mark(run))

    def stop(self) -> None:
        """End the run that `fit` runs in another thread."""
        if self._monitor is not None:
            self._monitor.end("interrupted")


def _is_lost_controller(error: RayActorError | TrainingFailedError) -> bool:
    """Whether the controller's process died, or it gave up since a worker died while it was starting the workers.

    Ray Train restarts workers that die later, by itself (orchestration/training/restarts.py).
    """
    cause = _cause(error)
    return not isinstance(cause, RunFailed) and is_lost(cause)


def _cause(error: RayActorError | TrainingFailedError) -> Exception:
    """What the controller raised, if it was the controller."""
    return error.controller_failure if isinstance(error, ControllerError) else error


def _reason(error: RayActorError | TrainingFailedError) -> str:
    """One line for what Ray Train raises."""
    cause = _cause(error)
    return str(cause) if isinstance(cause, RunFailed) else f"Ray Train failed: {' '.join(str(cause).split())[:400]}"


def _trainer(
    run: Run, status: ActorHandle, rank: Rank, profile: bool, on_controller: Callable[[ActorHandle], None]
) -> Trainer:
    """Ray Train over the run's workers; it keeps records in the run's folder, which this project never reads."""
    counts, folder = run.worker_counts(), folder_of(run)
    elastic = len(counts) > 1
    marked = {} if session.on_cluster() else {"memory": float(_memory_mark(run))}
    return Trainer(
        worker_counts=counts,
        train_loop_per_worker=rank,
        train_loop_config={"run": to_json(run), "status": status, "profile": profile},
        torch_config=ProcessGroupConfig(backend="nccl" if run.cluster.gpu else "gloo"),
        on_controller=on_controller,
        scaling_config=ScalingConfig(
            num_workers=(counts[0], counts[-1]) if elastic else run.cluster.workers,
            use_gpu=run.cluster.gpu,
            resources_per_worker=resources_of_rank(run.cluster.gpu) | marked,
            elastic_resize_monitor_interval_s=run.cluster.resize_every,
        ),
        run_config=RunConfig(
            name=_digest(run),
            storage_path=(folder / "ray").path,
            storage_filesystem=(folder / "ray").filesystem,
            failure_config=FailureConfig(max_failures=-1),  # RestartPolicy decides
            callbacks=[RestartPolicy(folder, run.cluster.restarts)],
        ),
    )


def resources_of_rank(gpu: bool) -> dict[str, float]:
    """What a rank reserves. One on a GPU needs a core too, to launch kernels and to draw clips."""
    return {"CPU": 1.0, "GPU": 1.0} if gpu else {"CPU": 1.0}


def _digest(run: Run) -> str:
    """A name that no two runs share."""
    return hashlib.sha256(run.out.encode()).hexdigest()[:16]


def _memory_mark(run: Run) -> int:
    """Bytes of memory, at most a MiB, that each worker reserves on a local Ray: they mark the run's placement groups.

    Several runs share a Ray, and Ray Train gives its placement groups no name (session.free_placement_groups).
    """
    return 1 + int(_digest(run)[:5], base=16)
