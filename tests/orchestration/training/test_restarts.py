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


# As torch, NCCL and NVIDIA's driver write them.
CUDA = "CUDA error: {}\nCUDA kernel errors might be asynchronously reported at some other API call, so the stacktrace \
below might be incorrect.\nFor debugging consider passing CUDA_LAUNCH_BLOCKING=1\n"
WATCHDOG = "[PG ID 0 PG GUID 0(default_pg) Rank 3] Process group watchdog thread terminated with exception: "
TIMEOUT = "[Rank 3] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=81, OpType=ALLREDUCE, NumelIn=1, \
NumelOut=1, Timeout(ms)=600000) ran for 600009 milliseconds before timing out."
NCCL = "NCCL error in: ../torch/csrc/distributed/c10d/ProcessGroupNCCL.cpp:3690, unhandled cuda error (run with \
NCCL_DEBUG=INFO for details), NCCL version 2.28.3\nncclUnhandledCudaError: Call to CUDA function failed.\nLast error:\n\
Cuda failure {}"
OOM = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.19 GiB."


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        (torch.AcceleratorError(CUDA.format("uncorrectable ECC error encountered")), True),
        (torch.AcceleratorError(CUDA.format("unspecified launch failure")), True),
        (torch.AcceleratorError(CUDA.format("hardware stack error")), True),
        (torch.AcceleratorError(CUDA.format("uncorrectable NVLink error detected during the execution")), True),
        (
            torch.AcceleratorError(CUDA.format("invalid access of peer GPU memory over nvlink or a hardware error")),
            True,
        ),
        (RuntimeError("cudaEventSynchronize failed: cudaErrorLaunchFailure"), True),
        (RuntimeError("NVRM: Xid (PCI:0000:3b:00): 79, pid=2143, name=ray::Rank, GPU has fallen off the bus."), True),
        (RuntimeError("Unable to determine the device handle for GPU 0000:3B:00.0: GPU is lost."), True),
        (dist.DistBackendError(TIMEOUT), True),
        (RuntimeError(TIMEOUT), True),
        (dist.DistBackendError(WATCHDOG + CUDA.format("uncorrectable ECC error encountered")), True),
        (dist.DistBackendError(NCCL.format("719 'unspecified launch failure'")), True),
        (dist.DistBackendError(NCCL.format("2 'out of memory'")), False),
        (dist.DistBackendError(WATCHDOG + CUDA.format("device-side assert triggered")), False),
        (torch.AcceleratorError(CUDA.format("device-side assert triggered")), False),
        (torch.AcceleratorError(CUDA.format("out of memory")), False),
        (torch.AcceleratorError(CUDA.format("an illegal memory access was encountered")), False),
        (torch.OutOfMemoryError(OOM), False),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), False),
    ],
    ids=lambda value: " ".join(str(value).split())[:60],
)
def test_hardware_that_fails_is_told_from_programs_that_do(error: Exception, lost: bool) -> None:
    assert is_lost(error) is lost


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
