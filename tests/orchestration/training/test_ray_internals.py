"""What training relies on inside Ray Train, each behaviour as the installed release has it."""

import os
import signal
import time
from pathlib import Path
from types import ModuleType

import pytest
import ray
from ray.actor import ActorHandle
from ray.exceptions import RayActorError
from ray.train import ControllerError, FailureConfig, RunConfig, ScalingConfig, UserCallback
from ray.train.torch import TorchTrainer
from ray.train.v2._internal.execution.scaling_policy import FixedScalingPolicy

from datasets.schema.errors import UsageError
from orchestration.training import ray_internals
from orchestration.training.process_group import ProcessGroupConfig
from orchestration.training.ray_internals import Trainer, elastic_policy, health_check_failure, local_policy


class Seen(Exception):
    """What a callback was called with."""


class Raising(UserCallback):
    """Raises what it is called with."""

    def after_exception(self, run_context: object, worker_exceptions: dict[int, Exception]) -> None:
        raise Seen(worker_exceptions)


def trainer(folder: Path, rank, workers: int | tuple[int, int] = 2, on_controller=lambda _: None) -> Trainer:
    return Trainer(
        worker_counts=(2,),
        on_controller=on_controller,
        train_loop_per_worker=rank,
        torch_config=ProcessGroupConfig(backend="gloo"),
        scaling_config=ScalingConfig(num_workers=workers),
        run_config=RunConfig(
            name="run",
            storage_path=str(folder),
            failure_config=FailureConfig(max_failures=-1),
            callbacks=[Raising()],
        ),
    )


def test_the_installed_release_is_the_supported_one(monkeypatch) -> None:
    ray_internals.check_version()
    monkeypatch.setattr(ray, "__version__", "2.61.0")
    with pytest.raises(UsageError, match=r"Ray 2\.61\.0 is installed, and training supports Ray 2\.60\.\* alone"):
        ray_internals.check_version()


def test_a_dead_worker_fails_its_health_check_and_a_callback_ends_a_run(local_ray: ModuleType, tmp_path: Path) -> None:
    """The callback is called before Ray restarts workers, and what it raises arrives at the driver."""

    def die() -> None:
        time.sleep(5)  # until Ray has launched every rank, and polls them
        if ray.train.get_context().get_world_rank() == 1:
            os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(ControllerError) as raised:
        trainer(tmp_path, die).fit()
    assert isinstance(raised.value.controller_failure, Seen)
    (errors,) = raised.value.controller_failure.args
    assert list(errors) == [1]
    assert isinstance(health_check_failure(errors[1]), RayActorError)
    assert health_check_failure(errors[1]).preempted is False


def test_an_error_of_the_program_arrives_as_it_was_raised(local_ray: ModuleType, tmp_path: Path) -> None:
    def fail() -> None:
        raise ValueError("a shape does not fit")

    controllers: list[ActorHandle] = []
    with pytest.raises(ControllerError) as raised:
        trainer(tmp_path, fail, on_controller=controllers.append).fit()
    (errors,) = raised.value.controller_failure.args
    assert {type(error) for error in errors.values()} == {ValueError}
    assert all(health_check_failure(error) is None for error in errors.values())
    (controller,) = controllers
    assert ray.get(controller.get_state.remote()).is_terminal()


def test_an_elastic_run_takes_the_most_workers_that_are_allowed() -> None:
    policy = elastic_policy(ScalingConfig(num_workers=(1, 8)), worker_counts=(1, 2, 4, 8))
    nodes = {"a": {"CPU": 4.0}, "b": {"CPU": 3.0}}
    assert super(type(policy), policy)._count_possible_workers(nodes) == 7
    assert policy._count_possible_workers(nodes) == 4
    assert policy._count_possible_workers({"a": {"CPU": 1.0}}) == 1
    assert policy._count_possible_workers({}) == 0


@pytest.mark.parametrize(
    ("workers", "address", "policy"),
    [
        ((1, 2), "", "AllowedCounts"),
        ((1, 2), "10.0.0.1:6379", "AllowedCounts"),
        (2, "", "NoRequests"),
        (2, "10.0.0.1:6379", "FixedScalingPolicy"),
    ],
)
def test_ray_runs_its_controller_with_the_scaling_policy(
    local_ray: ModuleType, monkeypatch, tmp_path: Path, workers: int | tuple[int, int], address: str, policy: str
) -> None:
    class Controller:
        def __init__(self, scaling_policy: object, **others: object) -> None:
            self.metrics = {"policy": type(scaling_policy).__name__}

        async def run(self) -> None:
            pass

        def get_result(self) -> ray.train.Result:
            return ray.train.Result(metrics=self.metrics, checkpoint=None, error=None, path="")

    monkeypatch.setattr("ray.train.v2._internal.execution.controller.TrainController", Controller)
    monkeypatch.setenv("RAY_ADDRESS", address)
    assert trainer(tmp_path, lambda: None, workers).fit().metrics == {"policy": policy}


def test_a_fixed_number_of_workers_is_requested_from_no_autoscaler() -> None:
    """Its methods would fail, since the client that they use is made by the controller."""
    policy = local_policy(ScalingConfig(num_workers=2))
    assert policy.make_decision_for_non_running_worker_group().num_workers == 2
    with pytest.raises(AssertionError):
        FixedScalingPolicy(ScalingConfig(num_workers=2)).make_decision_for_non_running_worker_group()


@pytest.mark.parametrize(
    ("address", "dropped"),
    [("", {"DatasetsCallback", "PlacementGroupCleanerCallback"}), ("10.0.0.1:6379", {"DatasetsCallback"})],
)
def test_callbacks_that_start_idle_processes_are_dropped(
    local_ray: ModuleType, monkeypatch, tmp_path: Path, address: str, dropped: set[str]
) -> None:
    started = trainer(tmp_path, lambda: None)
    monkeypatch.setenv("RAY_ADDRESS", address)
    of_ray = {type(one).__name__ for one in TorchTrainer._create_default_callbacks(started)}
    assert of_ray - {type(one).__name__ for one in started._create_default_callbacks()} == dropped
