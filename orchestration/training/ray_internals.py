"""All that this project takes from inside Ray Train, which other releases of Ray may change without notice.

Nothing else imports `_internal` (tests/test_architecture.py). Each function and method below says which behaviour it
relies on, and tests/orchestration/training/test_ray_internals.py tests each of them. To move to another release: run
those tests with it, then change SUPPORTED. Internal names are imported where they are used, so that with another
release `check_version` speaks before an import fails.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import ray
from ray.actor import ActorHandle
from ray.train import Result
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from datasets.schema.errors import UsageError
from orchestration.cluster import session

if TYPE_CHECKING:  # to a type checker, ray.train has the classes of its first version
    from ray.train.v2._internal.execution.callback import RayTrainCallback
    from ray.train.v2._internal.execution.controller import TrainController
    from ray.train.v2._internal.execution.scaling_policy import ElasticScalingPolicy, FixedScalingPolicy
    from ray.train.v2.api.config import ScalingConfig
    from ray.train.v2.torch.torch_trainer import TorchTrainer
else:
    from ray.train import ScalingConfig
    from ray.train.torch import TorchTrainer

SUPPORTED = "2.60"  # the release, any patch of it


def check_version() -> None:
    """UsageError where another release of Ray is installed."""
    if not ray.__version__.startswith(f"{SUPPORTED}."):
        raise UsageError(
            f"Ray {ray.__version__} is installed, and training supports Ray {SUPPORTED}.* alone: "
            "install requirements.lock (make setup)"
        )


def health_check_failure(error: Exception) -> Exception | None:
    """Why a worker could not be polled; None for an error that the worker's own program raised.

    Relies on: Ray Train polls its workers, and wraps what a poll raises (RayActorError for a dead process) in
    WorkerHealthCheckFailedError. Errors of the program arrive as they were raised.
    """
    from ray.train.v2._internal.exceptions import WorkerHealthCheckFailedError

    return error.health_check_failure if isinstance(error, WorkerHealthCheckFailedError) else None


class Trainer(TorchTrainer):
    """Ray's trainer, which starts numbers of workers among which a batch divides, and no processes that idle."""

    def __init__(
        self,
        *,
        worker_counts: Sequence[int],
        scaling_config: ScalingConfig,
        on_controller: Callable[[ActorHandle], None],
        **of_ray: Any,  # noqa: ANN401
    ) -> None:
        """worker_counts: the allowed numbers of workers. on_controller: is given the controller, once it is started.

        The others are arguments of TorchTrainer.
        """
        super().__init__(scaling_config=scaling_config, **of_ray)
        self._worker_counts, self._scaling, self._on_controller = worker_counts, scaling_config, on_controller

    def _initialize_and_run_controller(self, **of_controller: Any) -> Result:  # noqa: ANN401
        """Run the controller in an actor on this node, with our scaling policy, and hand it to `on_controller`.

        As Ray's own, without Ray's handler of interrupts, since the driver ends a run itself, and on a local Ray
        without runtime environments (`local_controller`). Relies on: `fit` passes the scaling policy by this name and
        to this method, and the controller has these two methods.
        """
        from ray.train.v2._internal.constants import get_env_vars_to_propagate
        from ray.train.v2._internal.execution.controller import TrainController

        controller_class = TrainController if session.on_cluster() else local_controller()
        if self._scaling.elasticity_enabled:
            of_controller["scaling_policy"] = elastic_policy(self._scaling, self._worker_counts)
        elif not session.on_cluster():
            of_controller["scaling_policy"] = local_policy(self._scaling)
        environment = {"env_vars": get_env_vars_to_propagate()} if session.on_cluster() else None
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        actor = ray.remote(controller_class).options(num_cpus=0, scheduling_strategy=here, runtime_env=environment)
        controller: Any = actor.remote(**of_controller)
        self._on_controller(controller)
        ray.get(controller.run.remote())
        return ray.get(controller.get_result.remote())

    def _create_default_callbacks(self) -> "list[RayTrainCallback]":
        """Ray's callbacks, without those that keep a process busy beside the ranks and do nothing here.

        DatasetsCallback starts an actor to split Ray datasets among ranks, and this project passes none.
        PlacementGroupCleanerCallback starts an actor that asks Ray's dashboard whether the controller lives, and a
        local Ray has none (orchestration/cluster/local_ray.py). Relies on: no other callback needs these two.
        """
        from ray.train.v2._internal.callbacks import DatasetsCallback
        from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback

        unneeded = (DatasetsCallback,) if session.on_cluster() else (DatasetsCallback, PlacementGroupCleanerCallback)
        return [one for one in super()._create_default_callbacks() if not isinstance(one, unneeded)]


def local_controller() -> "type[TrainController]":
    """Ray's controller, whose ranks have no runtime environment.

    For one, Ray would start further processes, and replace each of them before the rank begins. On a local Ray all
    processes have the driver's variables. Relies on: the controller makes its worker group by this attribute, and the
    group asks `_get_worker_runtime_env`.
    """
    from ray.train.v2._internal.execution.controller import TrainController
    from ray.train.v2._internal.execution.worker_group import WorkerGroup

    class LocalGroup(WorkerGroup):
        @staticmethod
        def _get_worker_runtime_env(custom_runtime_env: object) -> dict[str, Any]:  # noqa: ARG004 Ray's signature
            return {}

    class LocalController(TrainController):
        worker_group_cls = LocalGroup

    return LocalController


def elastic_policy(scaling_config: ScalingConfig, worker_counts: Sequence[int]) -> "ElasticScalingPolicy":
    """Ray's elastic scaling, restricted to allowed numbers of workers.

    Relies on: the policy asks `_count_possible_workers`, given the resources reserved on each node, for the number of
    workers to start, and starts none while that is below the least number of the scaling config.
    """
    from ray.train.v2._internal.execution.scaling_policy import ElasticScalingPolicy

    class AllowedCounts(ElasticScalingPolicy):
        def _count_possible_workers(self, reserved_resources: dict[str, dict[str, float]]) -> int:
            possible = super()._count_possible_workers(reserved_resources)
            return max((count for count in worker_counts if count <= possible), default=0)

    return AllowedCounts(scaling_config)


def local_policy(scaling_config: ScalingConfig) -> "FixedScalingPolicy":
    """Ray's policy of a fixed number of workers, which does not ask an autoscaler for machines: there is none.

    Relies on: the policy asks by `_send_resource_request`, through an actor that would have to be started, and takes
    nothing from the answer.
    """
    from ray.train.v2._internal.execution.scaling_policy import FixedScalingPolicy

    class NoRequests(FixedScalingPolicy):
        def _send_resource_request(self) -> None:
            return

        _maybe_send_resource_request = _cancel_resource_request = _send_resource_request

    return NoRequests(scaling_config)
