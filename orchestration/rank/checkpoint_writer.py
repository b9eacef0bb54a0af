"""Writing checkpoints beside the training: rank 0 copies its state, and a thread writes it while the steps go on.

One at a time: where writing takes longer than the steps between two checkpoints, the steps wait. Knows not when a
checkpoint is due, and not which ones stay.
"""

import errno
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from datasets.storage import Place
from orchestration.run import checkpoint
from orchestration.run.checkpoint import State
from orchestration.run.settings import Run


class SaveFailed(Exception):
    """A checkpoint could not be written; the message names the place and what to do."""


class CheckpointWriter:
    """Writes the checkpoints of one run, from one process."""

    def __init__(self, folder: Place, run: Run, told: Callable[[int], None]) -> None:
        """told: is called with the step of each checkpoint once it is complete."""
        self._folder, self._run, self._told = folder, run, told
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="saver")
        self._under_way: Future[None] | None = None

    def save(self, step: int, weights: State, moments: State) -> None:
        """Begin to write; the tensors must not change any more. SaveFailed where the one before could not be."""
        self.finish()
        self._under_way = self._pool.submit(self._write, step, weights, moments)

    def finish(self) -> None:
        """Wait for what is being written. SaveFailed where it could not be."""
        if self._under_way is not None:
            under_way, self._under_way = self._under_way, None
            under_way.result()

    @property
    def failed(self) -> bool:
        """Whether the checkpoint under way has failed already."""
        return self._under_way is not None and self._under_way.done() and self._under_way.exception() is not None

    def _write(self, step: int, weights: State, moments: State) -> None:
        try:
            checkpoint.save(self._folder, self._run, step, weights, moments)
        except OSError as error:
            after = f"step {checkpoint.reached(self._folder)}"
            full = error.errno == errno.ENOSPC or "No space left" in str(error)
            why = "no space is left" if full else str(error.strerror or error)
            raise SaveFailed(
                f"the checkpoint of step {step} cannot be written to {self._folder}: {why}: mend that and run the same "
                f"command again, which goes on after {after}"
            ) from error
        self._told(step)
