"""Driver of pretraining: Ray Train with the workers that the run asks for, from shards to checkpoints.

All that can be wrong with the settings is found here, before a worker starts. What a worker does is in
orchestration/worker.py.
"""

import hashlib
import os
import sys
import tempfile
from collections import Counter
from pathlib import Path

import pyarrow as pa
import ray.train
from ray.actor import ActorHandle
from ray.exceptions import RayActorError
from ray.train.v2.api.exceptions import TrainingFailedError
from tqdm import tqdm

from datasets import corpus, storage
from datasets.corpus_map import WALK_COLUMNS, walk_names
from datasets.order import GlobalOrder
from datasets.schema import CollectionSpec, Unfinished, UsageError
from datasets.storage import Place
from evaluation import plots
from model import sizes
from orchestration import checkpoint, run_folder, runs, session, tracking
from orchestration.board import put_up
from orchestration.meeting import Meeting
from orchestration.published import published_weights
from orchestration.run_folder import folder_of
from orchestration.runs import PretrainRun
from orchestration.scoring import Scorer
from orchestration.tracking import Tracker
from orchestration.trainer import Trainer
from orchestration.watch import Watch, let_go

_RETRIES = 3  # attempts after the loss of a controller that made no step


def pretrain(run: PretrainRun, uri: str, profile: bool = False, parent: str | None = None) -> Place:
    """Train, or go on training, and return the last checkpoint.

    uri: where MLflow keeps its records, below the run `parent` where one is given. profile: also trace a few steps,
    into the run's folder. Unfinished where the run ends too early; the same call goes on with it.
    """
    run = run_folder.with_whole_paths(run)
    if run.schedule.steps:
        for said in check_data(run):
            print(said, flush=True)
    run_folder.check_folder(run)
    folder = folder_of(run)
    newest = checkpoint.newest_whole(folder)
    if newest and checkpoint.step_of(newest) >= run.schedule.steps:
        print(f"{folder} is trained already: {run.schedule.steps} steps", flush=True)
        return newest
    if newest:
        print(f"going on after step {checkpoint.step_of(newest)} of {folder}", flush=True)
    published = published_weights(run) if run.start and newest is None else None
    if run.schedule.steps:
        session.start(run.cluster.workers)
        if run.cluster.gpu:
            session.require_gpus()
    settings = runs.flatten(runs.to_json(run))
    name = f"pretrain {folder.name}"
    tags = {"job": "pretrain"} | ({"mlflow.parentRunId": parent} if parent else {})
    with tracking.open_run(uri, name, settings, tags, run_folder.tracked_run(folder)) as tracker:
        run_folder.claim_folder(run)
        (folder / run_folder.TRACKED).write(tracker.run_id.encode())
        if published:
            newest = checkpoint.save(folder, run, 0, published, {})
        if run.schedule.steps:
            _train(run, tracker, checkpoint.step_of(newest) if newest else 0, profile)
    assert checkpoint.reached(folder) == run.schedule.steps, "the run ended before its last step"
    return checkpoint.at_step(folder, run.schedule.steps)


def _train(run: PretrainRun, tracker: Tracker, done: int, profile: bool) -> None:
    """All steps after the first `done`, and the figure of the whole curve."""
    board, scorer = put_up(), Scorer(run, tracker)
    trainer = _trainer(run, board, profile)
    with (
        tqdm(total=run.schedule.steps, initial=done, desc="pretrain", unit="step", dynamic_ncols=True) as bar,
        Watch(run, board, tracker, scorer, bar, trainer.end) as watch,
    ):
        trouble = _attempts(run, trainer, watch)
    if trouble:
        raise Unfinished(trouble)
    if scorer.waiting():
        print("trained; waiting for the last checkpoints to be scored", flush=True)
    while scorer.waiting():
        scorer.look(timeout=1)
    let_go(folder_of(run), run, set())
    with tempfile.TemporaryDirectory() as made:
        figure = Path(made) / "loss.png"
        tracker.flush()
        plots.loss_figure(*zip(*tracker.history("loss"), strict=True), figure)
        tracker.attach(figure)
        (folder_of(run) / "loss.png").adopt(figure)


def _attempts(run: PretrainRun, trainer: Trainer, watch: Watch) -> str | None:
    """Run the trainer, again where its controller is lost; why the run could not be trained, or None."""
    lost, reached = 0, -1
    while True:
        try:
            trainer.fit()
        except RayActorError as error:  # the controller: workers that die are its own matter
            watch.look()
            step = checkpoint.reached(folder_of(run))
            lost, reached = (lost + 1 if step == reached else 1), step
            if watch.trouble or lost > _RETRIES:
                return watch.trouble or f"Ray lost the controller of the run {lost} times after step {step}: {error}"
            watch.bar.write(f"the controller of the run was lost: starting again after step {step}")
        except TrainingFailedError as error:
            watch.look()
            return watch.trouble or _why(run, error)
        else:
            watch.look()
            return watch.trouble
        finally:
            session.free_places(_record_name(run))


def _why(run: PretrainRun, error: TrainingFailedError) -> str:
    """One line for what ended the workers."""
    step = checkpoint.reached(folder_of(run))
    failures = getattr(error, "worker_failures", {})
    if any("memory" in str(one).lower() and "kill" in str(one).lower() for one in failures.values()):
        return (
            f"workers were killed again and again after step {step}, for want of memory: give a smaller "
            "--cluster.micro-batch, --cluster.recompute, or fewer --cluster.workers a machine"
        )
    ranks = ", ".join(map(str, sorted(failures)))
    words = " ".join(str(next(iter(failures.values()), error)).split())
    return f"rank {ranks or '?'} failed after the checkpoint of step {step}: {words[:400]}"


def check_data(run: PretrainRun) -> list[str]:
    """Whether the store has what the run wants; UsageError otherwise. Lines on what each collection contributes."""
    store = storage.at(run.shards)
    rows = corpus.training_rows(
        store,
        run.data.collections,
        run.data.holdout,
        WALK_COLUMNS,
        modalities=run.data.modalities,
        unique=run.data.unique,
    )
    counts = {entry["values"]: entry["counts"] for entry in rows["collection"].value_counts().to_pylist()}
    specs = corpus.specs_of(store, rows)
    discounts = {name: spec.sampling_discount for name, spec in specs.items()}
    shares = GlobalOrder(counts, discounts, run.schedule.batch, 0, run.data.mixing).shares
    lines = [f"encoder {run.network.size}: {sizes.parameters_of(run.network.size):,} parameters"]
    of_what = "the steps" if run.data.mixing == "step" else "each batch"
    for name, share in shares.items():
        lines.append(f"train on {counts[name]:,} sequences of {name}, {100 * share:.0f}% of {of_what}")
    return lines + (_check_walks(rows, specs) if run.data.positives == "walk" else [])


def _check_walks(rows: pa.Table, specs: dict[str, CollectionSpec]) -> list[str]:
    """UsageError where no sequence has a partner; else a line on how many have."""
    walks = Counter(walk_names(rows, specs))
    with_partner = sum(count for count in walks.values() if count > 1)
    if not with_partner:
        raise UsageError(
            f"--data.positives walk finds no walk that several cameras filmed at once in {', '.join(sorted(specs))}: "
            "add a collection that has them, give several --data.modalities, or give --data.positives clip"
        )
    return [
        f"{with_partner:,} of {rows.num_rows:,} sequences were seen otherwise too at that time: these are positives"
    ]


def _trainer(run: PretrainRun, board: ActorHandle, profile: bool) -> Trainer:
    """Ray Train over the run's workers; its own records lie in the run's folder, and nothing reads them."""
    variables = {"DS_ACCELERATOR": "cuda" if run.cluster.gpu else "cpu", **session.QUIET}
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.5")  # how soon a death is seen; 2 s by default
    counts, folder = run.worker_counts(), folder_of(run)
    elastic = len(counts) > 1
    return Trainer(
        folder=folder,
        restarts=run.cluster.restarts,
        allowed=counts,
        train_loop_per_worker=_train_rank,
        train_loop_config={"run": runs.to_json(run), "board": board, "profile": profile},
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


def _record_name(run: PretrainRun) -> str:
    """Under which Ray knows the run, and the places that it sets aside."""
    return hashlib.sha256(run.out.encode()).hexdigest()[:16]


def _train_rank(config: dict[str, object]) -> None:
    """Runs on every rank. DeepSpeed looks at the machine when it is imported, so only the workers import it.

    Its autotuner, which nobody uses, would import MLflow where it can: a second of each start.
    """
    sys.modules.setdefault("mlflow", None)
    from orchestration.worker import train_rank

    train_rank(config)
