"""Which failures of workers a run survives."""

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from ray.exceptions import RayActorError

from datasets.storage import Place, open_place
from orchestration.run import checkpoint
from orchestration.run.settings import PretrainRun
from orchestration.training.restarts import RestartPolicy, RunFailed, is_lost

DEAD = RayActorError()
RECLAIMED = RayActorError(preempted=True)


@pytest.fixture
def folder(tmp_path: Path) -> Place:
    return open_place(tmp_path / "run")


def save(folder: Place, step: int) -> Place:
    run, state = PretrainRun(recipe="test", shards="s", out=str(folder)), {"a": torch.ones(3)}
    return checkpoint.save(folder, run, step, state, state)


def test_deaths_are_survived_as_long_as_checkpoints_lie_between(folder: Place) -> None:
    policy = RestartPolicy(folder, restarts=2)
    for step in (0, 0, 2, 2, 4, 4):
        if step:
            save(folder, step)
        policy.after_exception(None, {0: RuntimeError("Connection closed by peer"), 1: DEAD})
    with pytest.raises(RunFailed, match="rank 1 failed after the checkpoint of step 4"):
        policy.after_exception(None, {1: DEAD})


def test_a_checkpoint_that_is_damaged_is_none(folder: Place) -> None:
    policy = RestartPolicy(folder, restarts=1)
    save(folder, 2)
    policy.after_exception(None, {1: DEAD})
    damaged = save(folder, 4)
    (damaged / "weights.safetensors").write(b"half of")
    assert (checkpoint.newest_step(folder), checkpoint.resumable_step(folder)) == (4, 2)
    with pytest.raises(RunFailed, match="rank 0 failed after the checkpoint of step 2"):
        policy.after_exception(None, {0: DEAD})


def test_an_error_of_the_program_is_not_survived(folder: Place) -> None:
    policy = RestartPolicy(folder, restarts=3)
    with pytest.raises(RunFailed, match="rank 0, 1 failed after the checkpoint of step 0: a shape does not fit"):
        policy.after_exception(None, {0: ValueError("a shape\ndoes not fit"), 1: DEAD})


def test_a_machine_that_the_cloud_takes_back_is_no_failure(folder: Place) -> None:
    policy = RestartPolicy(folder, restarts=0)
    for _ in range(3):
        policy.after_exception(None, {0: RuntimeError("NCCL communicator was aborted"), 1: RECLAIMED})


def test_workers_out_of_memory_are_told_what_to_change(folder: Place) -> None:
    killed = RayActorError(error_msg="The worker was killed because the node was low on memory")
    with pytest.raises(RunFailed, match=r"ran out of memory .* after step 0: give a smaller --cluster\.micro-batch"):
        RestartPolicy(folder, restarts=0).after_exception(None, {0: killed})


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        (DEAD, True),
        (dist.DistBackendError("any"), True),
        (RuntimeError("[gloo/transport/tcp/pair.cc] Read error"), True),
        (RuntimeError("a size does not match"), False),
        (ValueError("no connection"), False),
    ],
)
def test_lost_workers_are_told_from_errors(error: Exception, lost: bool) -> None:
    assert is_lost(error) is lost
