"""Writes checkpoints while training goes on: rank 0 copies its state, and a thread writes the copy.

One at a time: where writing takes longer than the steps between two checkpoints, the next save waits for the last one.
"""

import errno
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from datasets.storage import Place
from orchestration.rank.status import CheckpointSaved
from orchestration.run import checkpoint
from orchestration.run.checkpoint import State
from orchestration.run.settings import Run


class SaveFailed(Exception):
    """A checkpoint could not be written; the message names the place and what to do."""


class CheckpointWriter:
    """Writes the checkpoints of one run, from one process."""

    def __init__(self, folder: Place, run: Run, report: Callable[[CheckpointSaved], object]) -> None:
        """report: called once for each checkpoint that is complete, from the writing thread."""
        self._folder, self._run, self._report = folder, run, report
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._pending: Future[None] | None = None

    def save(self, step: int, weights: State, moments: State) -> None:
        """Start to write tensors, which must not change any more. SaveFailed where the previous save failed."""
        self.finish()
        self._pending = self._pool.submit(self._write, step, weights, moments)

    def finish(self) -> None:
        """Wait for the pending save. SaveFailed where it failed."""
        if self._pending is not None:
            pending, self._pending = self._pending, None
            pending.result()

    @property
    def failed(self) -> bool:
        """Whether the pending save has failed already."""
        return self._pending is not None and self._pending.done() and self._pending.exception() is not None

    def _write(self, step: int, weights: State, moments: State) -> None:
        try:
            checkpoint.save(self._folder, self._run, step, weights, moments)
        except OSError as error:
            after = f"step {checkpoint.resumable_step(self._folder)}"
            full = error.errno == errno.ENOSPC or "No space left" in str(error)
            why = "no space left on the device" if full else str(error.strerror or error)
            raise SaveFailed(
                f"cannot write the checkpoint of step {step} to {self._folder}: {why}: fix that and run the same "
                f"command again, which resumes after {after}"
            ) from error
        self._report(CheckpointSaved(step))
