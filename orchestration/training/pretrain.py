"""Driver of pretraining: from shards to checkpoints.

All that can be wrong with the settings is found here, before a worker starts. How workers are driven is in
orchestration/training/train.py, what they do in orchestration/rank/loop.py.
"""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from datasets.loading.sampler import GlobalSampler
from datasets.schema.collection import CollectionSpec
from datasets.schema.errors import UsageError
from datasets.schema.rows import WALK_COLUMNS
from datasets.storage import Place
from datasets.store.reader import Store
from datasets.store.selection import collections_of, training_rows, walk_names
from model import sizes
from model.objective import PartContrast
from model.p3d.checkpoint import load_published
from orchestration.cluster import session
from orchestration.rank.pretrain import pretrain_rank
from orchestration.run import checkpoint, tracking
from orchestration.run import folder as run_folder
from orchestration.run.checkpoint import State
from orchestration.run.folder import folder_of
from orchestration.run.serialise import flatten, to_json
from orchestration.run.settings import PretrainRun
from orchestration.training import train
from orchestration.training.validation import Scorer, scored_collections


def pretrain(run: PretrainRun, uri: str, profile: bool = False, parent: str | None = None) -> Place:
    """Train, or go on training, and return the last checkpoint.

    uri: where MLflow keeps its records, below the run `parent` where one is given. profile: also trace a few steps,
    into the run's folder. Unfinished where the run ends too early; the same call goes on with it.
    """
    run = run_folder.with_whole_paths(run)
    scored: list[str] = []
    if run.schedule.steps or run.data.leave_out:
        store = Store.open(run.shards)
        run = without_left_out(run, store)
    if run.schedule.steps:
        for said in check_data(run, store):
            print(said, flush=True)
        scored = scored_collections(run, store)
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
    settings = flatten(to_json(run))
    name = f"pretrain {folder.name}"
    tags = {"job": "pretrain"} | ({"mlflow.parentRunId": parent} if parent else {})
    with tracking.open_run(uri, name, settings, tags, run_folder.tracked_run(folder)) as tracker:
        run_folder.claim_folder(run)
        (folder / run_folder.TRACKED).write(tracker.run_id.encode())
        if published:
            newest = checkpoint.save(folder, run, 0, published, {})
        if run.schedule.steps:
            scorer = Scorer(run, tracker, scored, run.score.every)
            done = checkpoint.step_of(newest) if newest else 0
            train.train(run, tracker, scorer, pretrain_rank, done, profile)
    assert checkpoint.reached(folder) == run.schedule.steps, "the run ended before its last step"
    return checkpoint.at_step(folder, run.schedule.steps)


def without_left_out(run: PretrainRun, store: Store) -> PretrainRun:
    """The run with the collections named that it trains on, where some of the store are left out."""
    if not run.data.leave_out or run.data.collections is not None:
        return run
    there = store.collections
    if unknown := sorted(set(run.data.leave_out) - set(there)):
        raise UsageError(f"--data.leave-out {unknown[0]} is not in {run.shards}: it has {', '.join(sorted(there))}")
    kept = tuple(
        name for name, entry in sorted(there.items()) if name not in run.data.leave_out and "train" in entry["splits"]
    )
    return replace(run, data=replace(run.data, collections=kept))


def check_data(run: PretrainRun, store: Store) -> list[str]:
    """Whether the store has what the run wants; UsageError otherwise. Lines on what each collection contributes."""
    rows = training_rows(store, run.data.selection, WALK_COLUMNS)
    counts = {entry["values"]: entry["counts"] for entry in rows["collection"].value_counts().to_pylist()}
    specs = store.specs(collections_of(rows))
    discounts = {name: spec.sampling_discount for name, spec in specs.items()}
    shares = GlobalSampler(counts, discounts, run.schedule.batch, 0, run.data.mixing).shares
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


def published_weights(run: PretrainRun) -> State:
    """Weights of student and teacher, both those of the published teacher, which is what is evaluated.

    UsageError where the file is missing, is no such checkpoint, or is of another network than the run's.
    """
    module = PartContrast(run.network, run.contrast)
    load_published(Path(run.start), module.teacher)
    module.student.load_state_dict(module.teacher.state_dict())
    print(f"starting from the teacher in {run.start}", flush=True)
    return module.state_dict()
