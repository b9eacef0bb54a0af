"""Batches that are loaded ahead of training: by a thread of the rank, or by processes of its own.

A batch is a pure function of its step, so that the same ones come in the same order whatever loads them. A thread
shares Python's lock with the training loop, and one core is the most that it uses. A process has both for itself; it
maps the same pages of the corpus, and imports neither torch nor Ray, as the workers of torch's DataLoader would.
"""

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar, cast

from datasets.loading.corpus import Corpus
from datasets.loading.shared_batch import Packed, Slot

PREFETCH = 2  # steps that a thread loads ahead
_SLOTS = 2  # batches of each process: one that it loads, and one that waits or is trained on
_ROOT = Path(__file__).resolve().parents[2]
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # a process takes one core

Batch = TypeVar("Batch", covariant=True)


class StepLoader(Protocol[Batch]):
    """Loads the batch of any step."""

    @property
    def corpus(self) -> Corpus:
        """The sequences that it loads from."""
        ...

    def at(self, step: int) -> Batch:
        """The batch of a step: a dataclass, which is the same whichever steps were loaded before."""
        ...


class LoaderLost(RuntimeError):
    """A process that loads batches has died, as one does that the system kills for memory."""


def prefetch(loader: StepLoader[Batch], start: int, stop: int, processes: int = 0) -> Iterator[Batch]:
    """Yield the batches of steps start..stop-1, loaded ahead by so many processes; by a thread where 0.

    The arrays of a batch that a process loaded are overwritten once the next batch is asked for. What the loading of a
    step raises is raised here, when it is that step's turn. LoaderLost where a process died.
    """
    return _in_processes(loader, start, stop, processes) if processes else _in_thread(loader, start, stop)


def _in_thread(loader: StepLoader[Batch], start: int, stop: int) -> Iterator[Batch]:
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="clips") as pool:
        pending = [pool.submit(loader.at, step) for step in range(start, min(start + PREFETCH, stop))]
        for step in range(start, stop):
            if step + PREFETCH < stop:
                pending.append(pool.submit(loader.at, step + PREFETCH))
            yield pending.pop(0).result()


def _in_processes(loader: StepLoader[Batch], start: int, stop: int, count: int) -> Iterator[Batch]:
    """Step after step is loaded by process after process, each of which loads _SLOTS steps ahead."""
    with ExitStack() as stack:
        processes = [stack.enter_context(_Process(loader)) for _ in range(min(count, stop - start))]
        ahead = _SLOTS * len(processes)
        for number, one in enumerate(processes):
            one.begin(range(start + number, min(start + ahead, stop), len(processes)))
        for step in range(start, stop):
            one = processes[(step - start) % len(processes)]
            yield one.take()
            if step + ahead < stop:
                one.ask(step + ahead)


class _Process(Generic[Batch]):
    """A process that loads batches (datasets/loading/worker.py), and the memory in which they are."""

    def __init__(self, loader: StepLoader[Batch]) -> None:
        self._loader = loader
        self._slots = [Slot.new() for _ in range(_SLOTS)]
        self._taken = self._asked = 0  # batches

    def __enter__(self) -> Self:
        self._pipe, its_end = multiprocessing.Pipe()
        with its_end:
            given = [its_end.fileno(), *(slot.descriptor for slot in self._slots)]
            self._process = subprocess.Popen(
                [sys.executable, "-m", "datasets.loading.worker", *map(str, given)],
                cwd=_ROOT,
                env=os.environ | _ONE_THREAD,
                stdin=subprocess.DEVNULL,
                pass_fds=[*given, *self._loader.corpus.descriptors.values()],
            )
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self._pipe.close()
        self._process.kill()  # it may be loading a step that nobody waits for any more
        self._process.wait()

    def begin(self, steps: range) -> None:
        """Send it the loader, and the first steps to load."""
        self._send(self._loader)
        for step in steps:
            self.ask(step)

    def ask(self, step: int) -> None:
        """Have a step loaded, into the slot of the batch that was taken _SLOTS batches before."""
        self._send((step, self._asked % _SLOTS))
        self._asked += 1

    def take(self) -> Batch:
        """Wait for the next batch that was asked for."""
        try:
            answer: Packed | Exception = self._pipe.recv()
        except (EOFError, ConnectionError):
            raise self._lost() from None
        if isinstance(answer, Exception):
            raise answer
        batch = self._slots[self._taken % _SLOTS].read(answer)
        self._taken += 1
        return cast(Batch, batch)

    def _send(self, message: object) -> None:
        try:
            self._pipe.send(message)
        except ConnectionError:
            raise self._lost() from None

    def _lost(self) -> LoaderLost:
        status = self._process.wait()
        how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
        return LoaderLost(f"lost connection to a process that loads batches: it {how}")
