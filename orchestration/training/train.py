"""Driver of any training: Ray Train with the workers that the run asks for, its ends and new beginnings.

What the ranks do is handed in, and done in orchestration/rank/loop.py. Knows nothing of what is trained.
"""

import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import ray.train
from ray.actor import ActorHandle
from ray.exceptions import RayActorError
from ray.train.v2.api.exceptions import TrainingFailedError
from tqdm import tqdm

from datasets.schema.errors import Unfinished
from evaluation.reports.loss_curve import loss_figure
from orchestration.cluster import session
from orchestration.rank.status import start_status_actor
from orchestration.run import checkpoint
from orchestration.run.folder import folder_of
from orchestration.run.serialise import to_json
from orchestration.run.settings import Run
from orchestration.run.tracking import Tracker
from orchestration.training.monitor import Monitor, prune_checkpoints
from orchestration.training.process_group import Meeting
from orchestration.training.ray_trainer import Trainer
from orchestration.training.validation import Scorer

Rank = Callable[[dict[str, object]], None]
_RETRIES = 3  # attempts after the loss of a controller that made no step


def train(run: Run, tracker: Tracker, scorer: Scorer, rank: Rank, done: int, profile: bool) -> None:
    """All steps after the first `done`, and the figure of the whole curve. Unfinished where the run ends too early.

    rank: runs on every rank, given the settings as plain values, the status actor and whether to profile. profile:
    also trace a few steps, into the run's folder.
    """
    status = start_status_actor()
    trainer = _trainer(run, status, rank, profile)
    with (
        tqdm(total=run.schedule.steps, initial=done, desc="train", unit="step", dynamic_ncols=True) as bar,
        Monitor(run, status, tracker, scorer, bar, trainer.end) as monitor,
    ):
        failure = _attempts(run, trainer, monitor)
    if failure:
        raise Unfinished(failure)
    if scorer.pending():
        print("trained; waiting for the scores of the last checkpoints", flush=True)
    while scorer.pending():
        scorer.update(timeout=1)
    prune_checkpoints(folder_of(run), run, set())
    with tempfile.TemporaryDirectory() as made:
        figure = Path(made) / "loss.png"
        tracker.flush()
        loss_figure(*zip(*tracker.history("loss"), strict=True), figure)
        tracker.attach(figure)
        (folder_of(run) / "loss.png").move_from(figure)


def _attempts(run: Run, trainer: Trainer, monitor: Monitor) -> str | None:
    """Run the trainer, again where its controller is lost; why the run could not be trained, or None."""
    lost, reached = 0, -1
    while True:
        try:
            trainer.fit()
        except RayActorError as error:  # the controller: workers that die are its own matter
            monitor.update()
            step = checkpoint.reached(folder_of(run))
            lost, reached = (lost + 1 if step == reached else 1), step
            if monitor.failure or lost > _RETRIES:
                return monitor.failure or f"Ray lost the controller of the run {lost} times after step {step}: {error}"
            monitor.bar.write(f"the controller of the run was lost: starting again after step {step}")
        except TrainingFailedError as error:
            monitor.update()
            return monitor.failure or _why(run, error)
        else:
            monitor.update()
            return monitor.failure
        finally:
            session.free_places(_record_name(run))


def _why(run: Run, error: TrainingFailedError) -> str:
    """One line for what ended the workers."""
    step = checkpoint.reached(folder_of(run))
    failures = getattr(error, "worker_failures", {})
    if any("memory" in str(one).lower() and "kill" in str(one).lower() for one in failures.values()):
        return (
            f"workers ran out of memory and were killed after step {step}: give a smaller --cluster.micro-batch, "
            "--cluster.recompute, or fewer --cluster.workers a machine"
        )
    ranks = ", ".join(map(str, sorted(failures)))
    words = " ".join(str(next(iter(failures.values()), error)).split())
    return f"rank {ranks or '?'} failed after the checkpoint of step {step}: {words[:400]}"


def _trainer(run: Run, status: ActorHandle, rank: Rank, profile: bool) -> Trainer:
    """Ray Train over the run's workers; its own records lie in the run's folder, and nothing reads them."""
    variables = {"DS_ACCELERATOR": "cuda" if run.cluster.gpu else "cpu", **session.QUIET}
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "1")  # how soon a death is seen; 2 s by default
    counts, folder = run.worker_counts(), folder_of(run)
    elastic = len(counts) > 1
    return Trainer(
        folder=folder,
        restarts=run.cluster.restarts,
        allowed=counts,
        train_loop_per_worker=rank,
        train_loop_config={"run": to_json(run), "status": status, "profile": profile},
        torch_config=Meeting(backend="nccl" if run.cluster.gpu else "gloo"),
        scaling_config=ray.train.ScalingConfig(
            num_workers=(counts[0], counts[-1]) if elastic else run.cluster.workers,
            use_gpu=run.cluster.gpu,
            elastic_resize_monitor_interval_s=run.cluster.resize_every,
        ),
        run_config=ray.train.RunConfig(
            name=_record_name(run),
            storage_path=(folder / "ray").path,
            storage_filesystem=(folder / "ray").filesystem,
            worker_runtime_env={"env_vars": variables},
        ),
    )


def _record_name(run: Run) -> str:
    """Under which Ray knows the run, and the places that it sets aside."""
    return hashlib.sha256(run.out.encode()).hexdigest()[:16]
