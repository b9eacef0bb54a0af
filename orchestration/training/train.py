"""Training, whatever is trained and wherever its ranks run: monitored to its end, then plotted.

What the ranks run (orchestration/rank/loop.py) and what starts them (a `Launcher`) are passed in.
"""

import logging
import tempfile
import threading
from pathlib import Path
from typing import Protocol

from ray.actor import ActorHandle

from datasets.schema.errors import Unfinished
from evaluation.reports.loss_curve import loss_figure
from orchestration.cluster.progress import Progress
from orchestration.rank.work import Rank
from orchestration.run.folder import folder_of
from orchestration.run.settings import Run
from orchestration.run.tracking import Tracker
from orchestration.training.monitor import Monitor, prune_checkpoints
from orchestration.training.validation import Scorer

logger = logging.getLogger(__name__)
_plotting = threading.Lock()  # a study trains cells from several threads, and matplotlib is not made for that


class Launcher(Protocol):
    """Starts the ranks of a run."""

    def status(self) -> ActorHandle:
        """The status actor of the next run, which is empty."""
        ...

    def fit(self, run: Run, rank: Rank, status: ActorHandle, monitor: Monitor, profile: bool) -> str | None:
        """Run the ranks to their end, with restarts; returns why the run failed, or None.

        rank: runs on every rank, given the settings as plain values, the status actor and whether to profile.
        """
        ...


def train(
    run: Run,
    tracker: Tracker,
    scorer: Scorer,
    launcher: Launcher,
    rank: Rank,
    done: int,
    profile: bool = False,
    silent: bool = False,
) -> None:
    """Train all steps after the first `done`, and plot the loss curve. Unfinished where the run ends too early.

    rank: what every rank runs (`Launcher.fit`). profile: also trace a few steps, into the run's folder. silent: show no
    progress.
    """
    status = launcher.status()
    with (
        Progress("train", "steps", run.schedule.steps, done, silent=silent) as progress,
        Monitor(run, status, tracker, scorer, progress) as monitor,
    ):
        failure = launcher.fit(run, rank, status, monitor, profile)
    if failure:
        raise Unfinished(failure)
    if scorer.pending():
        logger.info("trained; waiting for the scores of the last checkpoints")
    while scorer.pending():
        scorer.update(timeout=1)
    prune_checkpoints(folder_of(run), run, set())
    with tempfile.TemporaryDirectory() as made:
        figure = Path(made) / "loss.png"
        tracker.flush()
        steps, losses = zip(*tracker.history("loss"), strict=True)
        with _plotting:
            loss_figure(steps, losses, figure)
        tracker.attach(figure)
        (folder_of(run) / "loss.png").move_from(figure)
