"""Restart policy: which failures of workers a run survives.

Ray Train restarts all workers after any failure, for as long as this policy, which its controller calls first, does not
raise. A worker that died (killed, out of memory, lost with its node), or whose GPU failed, is restarted as long as the
run saves checkpoints between deaths. An error of the program ends the run, since another attempt would end so too.
"""

from collections.abc import Mapping

import torch.distributed
from ray.exceptions import RayActorError
from ray.train import UserCallback

from datasets.schema.errors import Damaged
from datasets.storage import Place
from orchestration.run import checkpoint
from orchestration.training.ray_internals import health_check_failure

# Collectives raise a bare RuntimeError where the other end of a connection is gone.
_CONNECTIONS = ("gloo", "nccl", "connection")
# CUDA's errors (cudaGetErrorString) of cards, links and drivers that fail, and what NVIDIA's driver and NVML say then.
_HARDWARE = (
    "ecc error",  # uncorrectable
    "fallen off the bus",
    "gpu is lost",
    "launch failure",  # cudaErrorLaunchFailure: "unspecified launch failure"
    "cudaerrorlaunchfailure",
    "hardware stack error",
    "hardware error",  # "invalid access of peer GPU memory over nvlink or a hardware error"
    "nvlink error",
    "contained error",
    "xid",
)
_OF_THE_PROGRAM = ("out of memory", "out_of_memory", "alloc_failed", "device-side assert", "assertion")


class RunFailed(Exception):
    """Workers failed and are not restarted; the message is the one line for the user."""


class RestartPolicy(UserCallback):
    """Runs in Ray Train's controller, which counts what it raises as its own failure and ends the run."""

    def __init__(self, folder: Place, restarts: int) -> None:
        """folder: of the run. restarts: deaths without a new checkpoint between them that are survived."""
        self._folder, self._restarts = folder, restarts
        self._deaths, self._step = 0, 0

    def after_exception(self, run_context: object, worker_exceptions: Mapping[int, Exception]) -> None:
        """RunFailed where the workers, whose errors are given by rank, are not to be restarted.

        Damaged where a file that they read is not what was written.
        """
        del run_context
        for error in worker_exceptions.values():
            if isinstance(error, Damaged):
                raise Damaged(str(error))  # without the traceback of the worker
        if any(_is_preempted(error) for error in worker_exceptions.values()):
            return  # the cloud took the machine back, which is no failure; Ray calls this again until all have stopped
        step = checkpoint.resumable_step(self._folder)
        self._deaths = self._deaths + 1 if step == self._step else 1
        self._step = step
        if self._deaths > self._restarts or not all(is_lost(error) for error in worker_exceptions.values()):
            raise RunFailed(describe_failure(worker_exceptions, step))


def is_lost(error: Exception) -> bool:
    """Whether a worker died, its GPU failed, or it lost its connection to another; False for an error of its program.

    Running out of a GPU's memory and assertions are errors of the program, whatever reports them.
    """
    if health_check_failure(error) is not None or isinstance(error, RayActorError):
        return True
    words = str(error).lower()
    if any(one in words for one in _OF_THE_PROGRAM):
        return False
    if isinstance(error, torch.distributed.DistError):
        return True
    return isinstance(error, RuntimeError) and any(one in words for one in _CONNECTIONS + _HARDWARE)


def describe_failure(errors: Mapping[int, Exception], step: int) -> str:
    """One line on why workers are not restarted. errors: by rank. step: of the newest checkpoint."""
    if any("memory" in (words := str(error).lower()) and "kill" in words for error in errors.values()):
        return (
            f"workers ran out of memory and were killed after step {step}: give a smaller --cluster.micro-batch, "
            "--cluster.recompute, or fewer --cluster.workers a machine"
        )
    ranks = ", ".join(str(rank) for rank in sorted(errors))
    words = " ".join(str(next(iter(errors.values()))).split())
    return f"rank {ranks} failed after the checkpoint of step {step}: {words[:400]}"


def _is_preempted(error: Exception) -> bool:
    cause = health_check_failure(error) or error
    return isinstance(cause, RayActorError) and cause.preempted
