"""Restart policy: which failures of workers a run survives.

Ray Train restarts all workers after any failure, for as long as this policy, which its controller calls first, does not
raise. A worker that died (killed, out of memory, lost with its node) is restarted as long as the run saves checkpoints
between deaths. An error of the program ends the run, since another attempt would end in the same way.
"""

from collections.abc import Mapping

import torch.distributed
from ray.exceptions import RayActorError
from ray.train import UserCallback

from datasets.storage import Place
from orchestration.run import checkpoint
from orchestration.training.ray_internals import health_check_failure


class RunFailed(Exception):
    """Workers failed and are not restarted; the message is the one line for the user."""


class RestartPolicy(UserCallback):
    """Runs in Ray Train's controller, which counts what it raises as its own failure and ends the run."""

    def __init__(self, folder: Place, restarts: int) -> None:
        """folder: of the run. restarts: deaths without a new checkpoint between them that are survived."""
        self._folder, self._restarts = folder, restarts
        self._deaths, self._step = 0, 0

    def after_exception(self, run_context: object, worker_exceptions: Mapping[int, Exception]) -> None:
        """RunFailed where the workers, whose errors are given by rank, are not to be restarted."""
        del run_context
        if any(_is_preempted(error) for error in worker_exceptions.values()):
            return  # the cloud took the machine back, which is no failure; Ray calls this again until all have stopped
        step = checkpoint.resumable_step(self._folder)
        self._deaths = self._deaths + 1 if step == self._step else 1
        self._step = step
        if self._deaths > self._restarts or not all(is_lost(error) for error in worker_exceptions.values()):
            raise RunFailed(describe_failure(worker_exceptions, step))


def is_lost(error: Exception) -> bool:
    """Whether a worker died, or lost its connection to one that did; False for an error of its program."""
    if health_check_failure(error) is not None or isinstance(error, (RayActorError, torch.distributed.DistError)):
        return True
    # Collectives raise a bare RuntimeError where the other end of a connection is gone.
    words = str(error).lower()
    return isinstance(error, RuntimeError) and any(word in words for word in ("gloo", "nccl", "connection"))


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
