"""Ray Train's trainer with four things of our own: which failures are put up with, how many workers, what the place of
these is called, and its handle.

Deaths of processes and nodes are put up with as long as the run gets on; errors of the program end it, as another
attempt would. An elastic run takes the most workers among which its batch divides. The handle of the controller is
kept, since only that ends a run whose ranks do not answer. Knows neither models nor data. Built on Ray Train's inner
classes of the release in the lock file.
"""

import threading
import uuid
from collections.abc import Sequence

import ray
import torch.distributed
from ray.actor import ActorHandle
from ray.exceptions import RayActorError
from ray.train import FailureConfig, Result, ScalingConfig, WorkerGroupError
from ray.train.torch import TorchTrainer
from ray.train.v2._internal.callbacks import DatasetsCallback
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback
from ray.train.v2._internal.constants import get_env_vars_to_propagate
from ray.train.v2._internal.exceptions import WorkerHealthCheckFailedError
from ray.train.v2._internal.execution.callback import RayTrainCallback
from ray.train.v2._internal.execution.controller import TrainController as RayController
from ray.train.v2._internal.execution.failure_handling.default import DefaultFailurePolicy
from ray.train.v2._internal.execution.failure_handling.failure_policy import FailureDecision
from ray.train.v2._internal.execution.scaling_policy import ElasticScalingPolicy
from ray.train.v2._internal.execution.worker_group import WorkerGroup, WorkerGroupContext
from ray.train.v2._internal.execution.worker_group.placement_group_handle import DefaultPlacementGroupHandle
from ray.train.v2.api.exceptions import TrainingFailedError
from ray.util.placement_group import placement_group
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from datasets.storage import Place
from orchestration.cluster import session
from orchestration.run import checkpoint


class PatientPolicy(DefaultFailurePolicy):
    """Runs in the controller. Counts the deaths since the last checkpoint, and takes errors of the program as final."""

    def __init__(self, folder: Place, restarts: int) -> None:
        super().__init__(FailureConfig(max_failures=-1))
        self._folder, self._restarts = folder, restarts
        self._deaths, self._reached = 0, 0

    def make_decision(self, training_failed_error: TrainingFailedError) -> FailureDecision:
        """Whether the workers are started again."""
        if isinstance(training_failed_error, WorkerGroupError):
            if not all(_is_loss(error) for error in training_failed_error.worker_failures.values()):
                return FailureDecision.RAISE
            reached = checkpoint.reached(self._folder)
            self._deaths = self._deaths + 1 if reached == self._reached else 1
            self._reached = reached
            if self._deaths > self._restarts:
                return FailureDecision.RAISE
        return super().make_decision(training_failed_error)


def _is_loss(error: Exception) -> bool:
    """Whether a worker is gone (killed, out of memory, lost with its node), or has lost touch with one that is."""
    if isinstance(error, (RayActorError, WorkerHealthCheckFailedError, torch.distributed.DistError)):
        return True
    return isinstance(error, RuntimeError) and any(
        word in str(error).lower() for word in ("gloo", "nccl", "connection")
    )


class DividingPolicy(ElasticScalingPolicy):
    """As many workers as there is room for, of the numbers that are allowed."""

    def __init__(self, scaling_config: ScalingConfig, allowed: Sequence[int]) -> None:
        super().__init__(scaling_config)
        self._allowed = allowed

    def _count_possible_workers(self, reserved_resources: dict[str, dict[str, float]]) -> int:
        possible = super()._count_possible_workers(reserved_resources)
        return max((count for count in self._allowed if count <= possible), default=0)


class NamedGroup(WorkerGroup):
    """Workers in a place that is known by the run that it is set aside for: several runs share one Ray."""

    def _create_placement_group(
        self, _scaling_config: ScalingConfig, context: WorkerGroupContext
    ) -> DefaultPlacementGroupHandle:
        place = placement_group(
            bundles=[context.resources_per_worker] * context.num_workers,
            strategy=context.placement_strategy,
            name=f"{self._train_run_context.run_config.name}-{uuid.uuid4().hex}",
            bundle_label_selector=context.label_selector,
        )
        return DefaultPlacementGroupHandle(place)


class TrainController(RayController):
    """Ray's, with such workers."""

    worker_group_cls = NamedGroup


class Trainer(TorchTrainer):
    """One attempt at a run, until it is trained, in trouble, or its controller is gone."""

    controller: ActorHandle | None = None

    def __init__(self, *, folder: Place, restarts: int, allowed: Sequence[int], **of_ray: object) -> None:
        super().__init__(**of_ray)
        self._folder, self._restarts, self._allowed = folder, restarts, allowed

    def _initialize_and_run_controller(self, **given: object) -> Result:
        """As Ray's, with policies of our own, and a handle that is kept."""
        given["failure_policy"] = PatientPolicy(self._folder, self._restarts)
        if self.scaling_config.elasticity_enabled:
            given["scaling_policy"] = DividingPolicy(self.scaling_config, self._allowed)
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        controller = ray.remote(num_cpus=0, runtime_env={"env_vars": get_env_vars_to_propagate()})(TrainController)
        self.controller = controller.options(scheduling_strategy=here).remote(**given)
        if threading.current_thread() is threading.main_thread():
            self._register_sigint_handler(self.controller)
        ray.get(self.controller.run.remote())
        return ray.get(self.controller.get_result.remote())

    def _create_default_callbacks(self) -> list[RayTrainCallback]:
        """Ray's, without those that would keep a process busy for nothing beside the ranks.

        No Ray datasets are handed to the ranks; and the cleaner of placement groups does not work in a local Ray
        (orchestration/cluster/session.py, `free_places`).
        """
        unneeded = (DatasetsCallback,) if session.on_cluster() else (DatasetsCallback, PlacementGroupCleanerCallback)
        return [one for one in super()._create_default_callbacks() if not isinstance(one, unneeded)]

    def end(self) -> None:
        """Kill the controller, and with it the workers; `fit` then raises RayActorError."""
        if self.controller is not None:
            ray.kill(self.controller)
