"""The driver's watch over a run that trains elsewhere: reads its board and sees to what is told there.

Metrics go to MLflow and the terminal, finished checkpoints to their scoring and to what the run keeps; ranks that do
nothing any more are named, and the run is ended. Knows neither models nor how a rank works.
"""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Event, Lock

import ray
from ray.actor import ActorHandle
from tqdm import tqdm

from datasets.storage import Place
from orchestration.rank.status import PHASES, Beat
from orchestration.run import checkpoint
from orchestration.run.folder import folder_of
from orchestration.run.settings import Run
from orchestration.run.tracking import Tracker
from orchestration.training.validation import Scorer

_LOOKS = 2.0  # seconds between two looks at the board
_WRITES = 5.0  # seconds between two batches of metrics
_SILENT = 10.0  # seconds without a beat after which a process is taken for stopped or gone


@dataclass
class Monitor:
    """The watch over one run; a thread of the driver. `trouble`: why the run cannot go on, once that is known."""

    run: Run
    board: ActorHandle
    tracker: Tracker
    scorer: Scorer
    bar: tqdm
    end_run: Callable[[], None]
    trouble: str | None = None
    _step: int = 0
    _starts: int = 0
    _moved: float = field(default_factory=time.monotonic)
    _written: float = field(default_factory=time.monotonic)
    _over: Event = field(default_factory=Event)
    _looking: Lock = field(default_factory=Lock)
    _pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, thread_name_prefix="watch"))
    _watching: Future[None] | None = None

    def __enter__(self) -> "Monitor":
        self._watching = self._pool.submit(self._keep_watch)
        return self

    def __exit__(self, *_error: object) -> None:
        self._over.set()
        self._watching.result()

    def _keep_watch(self) -> None:
        try:
            while not self._over.wait(_LOOKS):
                self.look()
            self.look()
        except BaseException:  # a run that nobody watches would lose what it tells
            self.end_run()
            raise

    def look(self) -> None:
        """One look at the board, and what follows from it; from any thread."""
        with self._looking:
            news, beats = ray.get(self.board.take.remote())
            for kind, content in news:
                getattr(self, f"_on_{kind}")(content)
            self.scorer.look()
            if time.monotonic() - self._written > _WRITES:
                self.tracker.flush()
                self._written = time.monotonic()
            self._look_for_stalls(beats)

    def _on_begun(self, content: tuple[int, int]) -> None:
        step, workers = content
        self._step, self._moved = step, time.monotonic()
        self.bar.n = step
        self.bar.refresh()
        if self._starts or workers != self.run.cluster.workers:
            again = "workers were lost or have changed: " if self._starts else ""
            wanted = self.run.cluster.workers
            self.bar.write(f"{again}training with {workers} of {wanted} workers, after step {step}")
        self._starts += 1

    def _on_metrics(self, content: tuple[int, dict[str, float]]) -> None:
        step, metrics = content
        self._step, self._moved = step, time.monotonic()
        self.tracker.log(step, metrics)
        shown = {
            "loss": f"{metrics['loss']:.3f}",
            f"{self.run.items}/s": f"{metrics[f'{self.run.items}_per_second']:.0f}",
            "data": f"{metrics['data_wait']:.0%}",
            "use": f"{metrics['utilisation']:.0%}",
        }
        self.bar.set_postfix(shown | self.scorer.shown(), refresh=False)
        self.bar.update(step - self.bar.n)

    def _on_saved(self, step: int) -> None:
        self._moved = time.monotonic()
        self.scorer.add(step)
        prune_checkpoints(folder_of(self.run), self.run, self.scorer.waiting())

    def _on_trouble(self, message: str) -> None:
        self.trouble = self.trouble or message

    def _look_for_stalls(self, beats: dict[int, Beat]) -> None:
        """End a run in which no rank has come further for longer than its patience.

        While no rank answers, none has started or all are gone: Ray sees to that.
        """
        furthest = max((beat.step for beat in beats.values()), default=0)
        if furthest > self._step or all(beat.age > _SILENT for beat in beats.values()):
            self._step, self._moved = max(furthest, self._step), time.monotonic()
        if self.trouble is None and time.monotonic() - self._moved > self.run.cluster.patience:
            self.trouble = stalled(beats, self.run.cluster.patience)
            self.end_run()


def stalled(beats: dict[int, Beat], patience: float) -> str:
    """Which rank holds the others up: one whose process is silent, else the one that is furthest behind."""
    silent = sorted(rank for rank, beat in beats.items() if beat.age > _SILENT)
    behind = min((beat.step, PHASES.index(beat.phase)) for beat in beats.values())
    last = sorted(rank for rank, beat in beats.items() if (beat.step, PHASES.index(beat.phase)) == behind)
    which = silent or last
    step, phase = beats[which[0]].step, beats[which[0]].phase
    verb = "do" if len(which) > 1 else "does"
    what = f"{verb} not answer any more" if silent else f"{verb} not come further"
    everyone = len(which) == len(beats) and len(beats) > 1
    name = f"all {len(beats)} ranks" if everyone else f"rank {', '.join(map(str, which))}"
    doing = {"starting": "while it starts", "data": "while it waits for data", "checkpoint": "at a checkpoint"}
    return (
        f"no step for {patience:.0f} s: {name} {what} after step {max(step, 0)} {doing.get(phase, 'while it trains')}: "
        "look at that machine and run the same command again, or give a longer --cluster.patience"
    )


def prune_checkpoints(folder: Place, run: Run, needed: set[int]) -> None:
    """Take the checkpoints away that the run does not keep: not its newest, not its best, and not needed still."""
    found = checkpoint.complete(folder)
    if run.keep.last == 0:
        return
    scores = {one: score["mean"] for one in found if (score := checkpoint.score_of(one)) is not None}
    kept = set(found[-run.keep.last :]) | set(sorted(scores, key=lambda one: -scores[one])[: run.keep.best])
    for one in found:
        if one not in kept and checkpoint.step_of(one) not in needed.union(run.keep.at):
            (one / "state.json").remove()  # first: what is left of it is no checkpoint
            one.remove_folder()
