"""Status of a run: an actor to which ranks send events and heartbeats, and from which the driver reads them.

Ranks send and never wait for an answer. The driver's side is orchestration/training/monitor.py.
"""

import threading
import time
from dataclasses import dataclass
from typing import Self

import ray
from ray.actor import ActorHandle
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from orchestration.run.precision import Precision

PHASES = ("starting", "data", "training", "checkpoint")  # in the order in which a rank passes through them
_HEARTBEAT_INTERVAL = 3.0  # seconds


@dataclass(frozen=True)
class TrainingStarted:
    """All ranks are ready to train; sent by rank 0, again after each restart."""

    step: int  # steps done before
    workers: int
    precision: Precision
    reason: str  # for this precision, in words


@dataclass(frozen=True)
class MetricsReported:
    """Metrics of a step, averaged over ranks."""

    step: int
    metrics: dict[str, float]


@dataclass(frozen=True)
class CheckpointSaved:
    """A checkpoint is complete on storage."""

    step: int


@dataclass(frozen=True)
class TrainingFailed:
    """Training cannot continue, and another attempt would fail in the same way."""

    reason: str


@dataclass(frozen=True)
class CheckpointDamaged:
    """A checkpoint whose files are not what was written; ranks resume from an older one."""

    message: str


Event = CheckpointDamaged | TrainingStarted | MetricsReported | CheckpointSaved | TrainingFailed


@dataclass(frozen=True)
class Heartbeat:
    """The last sign of life of a rank: its step and phase, and how many seconds ago it was sent."""

    step: int
    phase: str
    age: float


class StatusActor:
    """Runs in a Ray actor on the driver's node. Keeps events in order of arrival, and each rank's last heartbeat."""

    def __init__(self) -> None:
        self._events: list[Event] = []
        self._heartbeats: dict[int, tuple[int, str, float]] = {}

    def report(self, event: Event) -> None:
        """Add an event."""
        self._events.append(event)

    def clear(self) -> None:
        """Forget everything, before another run."""
        self._events, self._heartbeats = [], {}

    def set_world_size(self, ranks: int) -> None:
        """Forget heartbeats of ranks that no longer exist, after a restart with fewer workers."""
        self._heartbeats = {rank: beat for rank, beat in self._heartbeats.items() if rank < ranks}

    def heartbeat(self, rank: int, step: int, phase: str) -> None:
        """Replace the heartbeat of a rank."""
        self._heartbeats[rank] = (step, phase, time.monotonic())

    def drain(self) -> tuple[list[Event], dict[int, Heartbeat]]:
        """The events since the last call, and the last heartbeat of each rank."""
        events, self._events = self._events, []
        now = time.monotonic()
        return events, {
            rank: Heartbeat(step, phase, now - sent) for rank, (step, phase, sent) in self._heartbeats.items()
        }


def start_status_actor() -> ActorHandle:
    """Start a status actor on this node."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    handle = ray.remote(StatusActor).options(num_cpus=0, scheduling_strategy=here).remote()
    assert isinstance(handle, ActorHandle)
    return handle


class HeartbeatThread:
    """A context manager that sends heartbeats of one rank from a thread.

    A process that is stopped or killed sends none, which is how the driver tells it from one that is slow.
    """

    def __init__(self, status: ActorHandle, rank: int) -> None:
        self._status, self._rank = status, rank
        self._position = (-1, PHASES[0])  # one tuple: two attributes could be read between two assignments
        self._stop = threading.Event()

    def __enter__(self) -> Self:
        threading.Thread(target=self._send, name="heartbeat", daemon=True).start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop.set()

    def update(self, step: int, phase: str) -> None:
        """Set the step and phase that the next heartbeats carry."""
        self._position = (step, phase)

    def _send(self) -> None:
        self._status.heartbeat.remote(self._rank, *self._position)
        while not self._stop.wait(_HEARTBEAT_INTERVAL):
            self._status.heartbeat.remote(self._rank, *self._position)
