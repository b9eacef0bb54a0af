"""What the drivers of pretraining and fine-tuning share: start or resume a run, record it, train it to its end."""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

from datasets.storage import Place
from orchestration.cluster import interrupts, nodes, session
from orchestration.rank.work import Rank
from orchestration.run import checkpoint, lease, tracking
from orchestration.run import folder as run_folder
from orchestration.run.device import resolve_device, unused_gpus
from orchestration.run.folder import AnyRun, folder_of
from orchestration.run.hardware import compiler_problem
from orchestration.run.serialise import flatten, to_json
from orchestration.run.settings import Run
from orchestration.training import ray_internals
from orchestration.training.ray_train import RayTrain
from orchestration.training.train import Launcher, train
from orchestration.training.validation import Scorer

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Job:
    """What differs between kinds of training."""

    name: str  # of the kind
    tags: dict[str, str]  # in MLflow, beside the name
    rank: Rank
    write_first_checkpoint: Callable[[], Place] | None  # of a new run that starts from given weights
    scored: list[str] = field(default_factory=list)  # collections on which checkpoints are scored
    score_every: int = 1  # checkpoints from one that is scored to the next
    data: Sequence[str] = ()  # what it is trained on: a summary, then details; logged once nothing is refused any more
    silent: bool = False  # whether the caller shows progress, as a study does


def drive(
    run: Run,
    plan: Callable[[Place | None], Job],
    uri: str,
    profile: bool,
    launcher: Launcher | None = None,
) -> Place:
    """Train a run, or resume it, to its last step; returns the last checkpoint.

    run: with whole paths (run_folder.with_absolute_paths). plan: given the checkpoint to resume from, or None for a new
    run, checks all that can be wrong before a worker starts. uri: where MLflow keeps its records. profile: also trace
    a few steps, into the run's folder. launcher: starts the ranks; None for Ray Train. UsageError where the run cannot
    start. Unfinished where it ends too early; the same call resumes it.
    """
    ray_internals.check_version()
    run_folder.check_folder(run)
    folder, steps = folder_of(run), run.schedule.steps
    newest = checkpoint.newest_intact(folder)  # logs which newer ones are damaged
    if newest is not None and checkpoint.step_of(newest) >= steps:
        logger.info(f"{folder} is trained already: {steps} steps")
        return newest
    if newest is not None:
        checkpoint.check_order(newest)
    job = plan(newest)
    if newest is not None and not job.silent:
        logger.info(f"resuming {folder} after step {checkpoint.step_of(newest)}")
    if steps:
        cores = max(run.cluster.workers, os.cpu_count() or 1)  # those beside the workers load clips
        session.start(cores, meanwhile=partial(tracking.prepare, uri))
        run = _with_device(run, job.silent)
    name, tags, settings = f"{job.name} {folder.name}", {"job": job.name} | job.tags, flatten(to_json(run))
    del settings[run_folder.PRECISION]  # logged once the ranks have resolved it: MLflow's parameters never change
    with tracking.open_run(uri, name, settings, tags, run_folder.tracked_run(folder)) as tracker:
        run_folder.claim_folder(run)
        run_folder.record_device(run)
        (folder / run_folder.TRACKED).write(tracker.run_id.encode())
        for number, line in enumerate(job.data):
            logger.log(logging.DEBUG if number else logging.INFO, line)
        if newest is None and job.write_first_checkpoint is not None:
            newest = job.write_first_checkpoint()
        if steps:
            scorer = Scorer(run, tracker, job.scored, job.score_every)
            done = checkpoint.step_of(newest) if newest is not None else 0
            launcher = launcher or RayTrain()
            train(run, tracker, scorer, launcher, job.rank, done, profile, job.silent)
    assert checkpoint.newest_step(folder) == steps, "the run ended before its last step"
    return checkpoint.at_step(folder, steps)


@contextmanager
def sole_writer(folder: Place, job: str) -> Iterator[None]:
    """Hold the lease of a run's folder (orchestration/run/lease.py); an interruption says what the folder has."""

    def safe() -> str:
        newest = checkpoint.newest_step(folder)
        return f"{folder} has the checkpoint of step {newest}" if newest else f"{folder} has no checkpoint yet"

    with lease.hold(folder, job), interrupts.safe(safe):
        yield


def _with_device(run: AnyRun, silent: bool) -> AnyRun:
    """The run with the device that it trains on. UsageError where a local Ray lacks what it needs."""
    needed, gpus = run.cluster.fewest_workers, session.count_gpus()
    device, reason = resolve_device(run.cluster.device, run_folder.recorded_device(folder_of(run)), gpus, needed)
    if device == "gpu":
        session.require_gpus(needed)
    if run.cluster.compile:
        nodes.require(compiler_problem, gpu=device == "gpu")
    if not silent:
        logger.info(f"device {device}: {reason}")
        if unused := unused_gpus(device, run.cluster.workers, gpus):
            logger.warning(unused)
    return run_folder.with_device(run, device)
