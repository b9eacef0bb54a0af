"""Driver of pretraining: Ray Train with the workers that the run asks for, from shards to checkpoints.

All that can be wrong with the settings is found here, before a worker starts. What a worker does is in
orchestration/worker.py.
"""

import dataclasses
import hashlib
from collections import Counter
from pathlib import Path

import pyarrow as pa
import ray.train
from ray.train.torch import TorchConfig, TorchTrainer
from ray.util.queue import Queue

from datasets import corpus, storage
from datasets.corpus_map import WALK_COLUMNS, walk_names
from datasets.declared import declared_in
from datasets.manifest import read_manifest
from datasets.order import GlobalOrder
from datasets.schema import CollectionSpec, UsageError
from evaluation import plots
from model import sizes
from orchestration import checkpoint, progress, runs, session, tracking
from orchestration.published import published_weights
from orchestration.runs import PretrainRun
from orchestration.tracking import Tracker

TRACKED = "mlflow_run_id"


def pretrain(run: PretrainRun, uri: str) -> Path:
    """Train, or go on training, and return the last checkpoint. uri: where MLflow keeps its records."""
    run = _with_whole_paths(run)
    if run.schedule.steps:
        _check_data(run)
    runs.check_folder(run)
    folder = Path(run.out)
    newest = checkpoint.latest(folder)
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
    with tracking.open_run(
        uri, f"pretrain {folder.name}", settings, {"job": "pretrain"}, tracked_run(folder)
    ) as tracker:
        runs.claim_folder(run)
        (folder / TRACKED).write_text(tracker.run_id)
        if published:
            newest = checkpoint.save(folder, run, 0, published, {})
        if run.schedule.steps:
            _train(run, uri, tracker, checkpoint.step_of(newest) if newest else 0)
    last = checkpoint.latest(folder)
    assert last is not None and checkpoint.step_of(last) == run.schedule.steps, "the run ended before its last step"
    return last


def _with_whole_paths(run: PretrainRun) -> PretrainRun:
    """The run with paths that mean the same on every worker, and from any folder when it is resumed."""
    places = {"shards": str(storage.at(run.shards)), "out": str(Path(run.out).resolve())}
    if run.start:
        places["start"] = str(Path(run.start).resolve())
    return dataclasses.replace(run, **places)


def _train(run: PretrainRun, uri: str, tracker: Tracker, done: int) -> None:
    """All steps after the first `done`, and the figure of the whole curve."""
    with progress.shown("pretrain", "step", done, run.schedule.steps) as queue:
        _trainer(run, (uri, tracker.run_id), queue).fit()
    figure = Path(run.out) / "loss.png"
    plots.loss_figure(*zip(*tracker.history("loss"), strict=True), figure)
    tracker.attach(figure)


def tracked_run(folder: Path) -> str | None:
    """The MLflow run of a run's folder."""
    path = folder / TRACKED
    return path.read_text() if path.is_file() else None


def _check_data(run: PretrainRun) -> None:
    """Whether the store has what the run wants; UsageError otherwise. Says what each collection contributes."""
    store = storage.at(run.shards)
    rows = corpus.training_rows(store, run.data.collections, run.data.holdout, WALK_COLUMNS)
    counts = {entry["values"]: entry["counts"] for entry in rows["collection"].value_counts().to_pylist()}
    manifest = read_manifest(store)
    specs = {name: declared_in(manifest, name) for name in counts}
    discounts = {name: spec.sampling_discount for name, spec in specs.items()}
    shares = GlobalOrder(counts, discounts, run.schedule.batch, 0, run.data.mixing).shares
    print(f"encoder {run.network.size}: {sizes.parameters_of(run.network.size):,} parameters", flush=True)
    of_what = "the steps" if run.data.mixing == "step" else "each batch"
    for name, share in shares.items():
        print(f"train on {counts[name]:,} sequences of {name}, {100 * share:.0f}% of {of_what}", flush=True)
    if run.data.positives == "walk":
        _check_walks(rows, specs)


def _check_walks(rows: pa.Table, specs: dict[str, CollectionSpec]) -> None:
    """UsageError where no sequence has a partner; else says how many have."""
    walks = Counter(walk_names(rows, specs))
    with_partner = sum(count for count in walks.values() if count > 1)
    if not with_partner:
        raise UsageError(
            f"--data.positives walk finds no walk that several cameras filmed at once in {', '.join(sorted(specs))}: "
            "add a collection that has them, or give --data.positives clip"
        )
    print(f"{with_partner:,} of {rows.num_rows:,} sequences were filmed by other cameras too: these are positives")


def _trainer(run: PretrainRun, tracked: tuple[str, str], queue: Queue) -> TorchTrainer:
    """Ray Train over the run's workers; its own records lie in the run's folder."""
    name = hashlib.sha256(run.out.encode()).hexdigest()[:16]
    variables = {"DS_ACCELERATOR": "cuda" if run.cluster.gpu else "cpu", **session.QUIET}
    return TorchTrainer(
        _train_rank,
        train_loop_config={"run": runs.to_json(run), "tracking": tracked, "progress": queue},
        torch_config=TorchConfig(backend="nccl" if run.cluster.gpu else "gloo"),
        scaling_config=ray.train.ScalingConfig(num_workers=run.cluster.workers, use_gpu=run.cluster.gpu),
        run_config=ray.train.RunConfig(
            name=name,
            storage_path=str(Path(run.out) / "ray"),
            worker_runtime_env={"env_vars": variables},
        ),
    )


def _train_rank(config: dict[str, object]) -> None:
    """Runs on every rank. DeepSpeed looks at the machine when it is imported, so only the workers import it."""
    from orchestration.worker import train_rank

    train_rank(config)
