"""Monitor of a run: a thread of the driver that polls the status actor.

It sends metrics to MLflow and the terminal, hands finished checkpoints to the scorer, deletes checkpoints that the run
does not keep, and ends a run whose ranks make no progress, naming the rank that holds up the others.
"""

import logging
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import ray
from ray.actor import ActorHandle

from datasets.storage import Place
from orchestration.cluster.progress import Progress
from orchestration.rank.status import (
    PHASES,
    CheckpointDamaged,
    CheckpointSaved,
    Event,
    Heartbeat,
    MetricsReported,
    TrainingFailed,
    TrainingStarted,
)
from orchestration.run import checkpoint
from orchestration.run.folder import PRECISION, folder_of
from orchestration.run.settings import Run
from orchestration.run.tracking import Tracker
from orchestration.training.validation import Scorer

logger = logging.getLogger(__name__)
_POLL_INTERVAL = 2.0  # seconds
_FLUSH_INTERVAL = 5.0  # seconds between two batches of metrics
_HEARTBEAT_TIMEOUT = 10.0  # seconds without a heartbeat after which a process is taken for stopped or dead


@dataclass
class Monitor:
    """Monitors one run. `failure`: why the run cannot continue, once that is known."""

    run: Run
    status: ActorHandle
    tracker: Tracker
    scorer: Scorer
    progress: Progress
    failure: str | None = None
    _controller: ActorHandle | None = None
    _step: int = 0
    _starts: int = 0
    _progressed: float = field(default_factory=time.monotonic)
    _flushed: float = field(default_factory=time.monotonic)
    _stop: threading.Event = field(default_factory=threading.Event)
    _updating: threading.Lock = field(default_factory=threading.Lock)
    _pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, thread_name_prefix="monitor"))
    _thread: Future[None] | None = None

    def __enter__(self) -> "Monitor":
        self._thread = self._pool.submit(self._poll)
        return self

    def __exit__(self, *_error: object) -> None:
        assert self._thread is not None
        self._stop.set()
        self._thread.result()

    def _poll(self) -> None:
        try:
            while not self._stop.wait(_POLL_INTERVAL):
                self.update()
            self.update()
        except BaseException:  # without a monitor the run would go on and lose its metrics
            self._end_run()
            raise

    def update(self) -> None:
        """Poll the status actor once, and act on what it has; from any thread."""
        with self._updating:
            events: list[Event]
            heartbeats: dict[int, Heartbeat]
            events, heartbeats = ray.get(self.status.drain.remote())
            for event in events:
                self._on_event(event)
            self.scorer.update()
            if time.monotonic() - self._flushed > _FLUSH_INTERVAL:
                self.tracker.flush()
                self._flushed = time.monotonic()
            self._end_if_stalled(heartbeats)

    def control(self, controller: ActorHandle) -> None:
        """Set the actor whose death ends the run, and all its ranks; from any thread, and again where it is another."""
        self._controller = controller
        if self.failure:
            self._end_run()

    def end(self, reason: str) -> None:
        """End the run, from any thread."""
        self.failure = self.failure or reason
        self._end_run()

    def _end_run(self) -> None:
        """Kill the controller, and with it the workers: ranks that hang answer no request to stop."""
        if self._controller is not None:
            ray.kill(self._controller)

    def _on_event(self, event: Event) -> None:
        match event:
            case CheckpointDamaged(message):
                if self._starts:  # before the first start, the driver has logged it itself
                    logger.warning(message)
            case TrainingStarted():
                self._on_start(event)
            case MetricsReported(step, metrics):
                self._on_metrics(step, metrics)
            case CheckpointSaved(step):
                self._progressed = time.monotonic()
                self.scorer.add(step)
                prune_checkpoints(folder_of(self.run), self.run, self.scorer.pending())
            case TrainingFailed(reason):
                self.failure = self.failure or reason

    def _on_start(self, event: TrainingStarted) -> None:
        step, workers = event.step, event.workers
        self._step, self._progressed = step, time.monotonic()
        if not self._starts:
            if not self.progress.silent:
                logger.info(f"precision {event.precision}: {event.reason}")
            self.tracker.set_param(PRECISION, event.precision)
        self.progress.reach(step)
        if self._starts or workers != self.run.cluster.workers:
            restarted = "workers were lost or their number changed: " if self._starts else ""
            wanted = self.run.cluster.workers
            logger.warning(f"{restarted}training with {workers} of {wanted} workers, after step {step}")
        self._starts += 1

    def _on_metrics(self, step: int, metrics: dict[str, float]) -> None:
        self._step, self._progressed = step, time.monotonic()
        self.tracker.log(step, metrics)
        shown = {
            "loss": f"{metrics['loss']:.3f}",
            f"{self.run.items}/s": f"{metrics[f'{self.run.items}_per_second']:.0f}",
            "data": f"{metrics['data_wait']:.0%}",
            "use": f"{metrics['utilisation']:.0%}",
        }
        self.progress.note(**(shown | self.scorer.latest()))
        self.progress.reach(step)

    def _end_if_stalled(self, heartbeats: dict[int, Heartbeat]) -> None:
        """End a run in which no rank has made progress for longer than --cluster.patience.

        Time in which no rank sends heartbeats does not count: then none has started yet, or all have died, and Ray
        restarts them.
        """
        furthest = max((beat.step for beat in heartbeats.values()), default=0)
        if furthest > self._step or all(beat.age > _HEARTBEAT_TIMEOUT for beat in heartbeats.values()):
            self._step, self._progressed = max(furthest, self._step), time.monotonic()
        if self.failure is None and time.monotonic() - self._progressed > self.run.cluster.patience:
            self.failure = describe_stall(heartbeats, self.run.cluster.patience)
            self._end_run()


def describe_stall(heartbeats: dict[int, Heartbeat], patience: float) -> str:
    """One line that names the rank that holds up the others: one without heartbeats, else the one furthest behind."""
    silent = sorted(rank for rank, beat in heartbeats.items() if beat.age > _HEARTBEAT_TIMEOUT)
    behind = min((beat.step, PHASES.index(beat.phase)) for beat in heartbeats.values())
    last = sorted(rank for rank, beat in heartbeats.items() if (beat.step, PHASES.index(beat.phase)) == behind)
    which = silent or last
    step, phase = heartbeats[which[0]].step, heartbeats[which[0]].phase
    verb = "do" if len(which) > 1 else "does"
    what = f"{verb} not respond" if silent else f"{verb} not progress"
    everyone = len(which) == len(heartbeats) and len(heartbeats) > 1
    name = f"all {len(heartbeats)} ranks" if everyone else f"rank {', '.join(map(str, which))}"
    activity = {"starting": "starting", "data": "waiting for data", "checkpoint": "saving a checkpoint"}
    return (
        f"no step for {patience:.0f} s: {name} {what} after step {max(step, 0)} while "
        f"{activity.get(phase, 'training')}: check that machine and run the same command again, or give a longer "
        "--cluster.patience"
    )


def prune_checkpoints(folder: Place, run: Run, needed: set[int]) -> None:
    """Delete the checkpoints that the run does not keep: not its newest, not its best, and not in `needed`."""
    found = checkpoint.complete(folder)
    if run.keep.last == 0:
        return
    scores = {one: score["mean"] for one in found if (score := checkpoint.score_of(one)) is not None}
    kept = set(found[-run.keep.last :]) | set(sorted(scores, key=lambda one: -scores[one])[: run.keep.best])
    for one in found:
        if one not in kept and checkpoint.step_of(one) not in needed.union(run.keep.at):
            (one / "state.json").remove()  # first: without it, what a kill leaves here is no checkpoint
            one.remove_folder()
