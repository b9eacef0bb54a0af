"""Driver of pretraining: checks the settings against the store before a worker starts, then trains.

What it shares with fine-tuning is in orchestration/training/driver.py, what ranks do in orchestration/rank/loop.py.
"""

import logging
from collections import Counter
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
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
from model.p3d.checkpoint import load_published
from orchestration.rank.pretrain import pretrain_rank
from orchestration.run import checkpoint
from orchestration.run import folder as run_folder
from orchestration.run.checkpoint import State
from orchestration.run.folder import folder_of
from orchestration.run.settings import PretrainRun
from orchestration.training.driver import Job, drive, sole_writer
from orchestration.training.train import Launcher
from orchestration.training.validation import scored_collections

logger = logging.getLogger(__name__)


def pretrain(
    run: PretrainRun, uri: str, profile: bool = False, parent: str | None = None, launcher: Launcher | None = None
) -> Place:
    """Train a run, or resume it; returns its last checkpoint. For the arguments and errors, see `drive`.

    parent: the MLflow run, of a study, below which this one is recorded; the study checks the data, shows progress and
    holds the lease.
    """
    run = run_folder.with_absolute_paths(run)
    data: list[str] = []
    scored: list[str] = []
    if run.schedule.steps or run.data.leave_out:
        store = Store.open(run.shards)
        run = without_left_out(run, store)
    if run.schedule.steps and parent is None:
        data = check_data(run, store)
        scored = scored_collections(run, store)

    def plan(newest: Place | None) -> Job:
        first = None
        if run.start is not None and newest is None:
            first = partial(checkpoint.save, folder_of(run), run, 0, published_weights(run, Path(run.start)), {})
        return Job(
            name="pretrain",
            tags={"mlflow.parentRunId": parent} if parent else {},
            rank=pretrain_rank,
            write_first_checkpoint=first,
            scored=scored,
            score_every=run.score.every,
            data=data,
            silent=parent is not None,
        )

    with sole_writer(folder_of(run), "jobs.pretrain") if parent is None else nullcontext():
        return drive(run, plan, uri, profile, launcher)


def without_left_out(run: PretrainRun, store: Store) -> PretrainRun:
    """The run with `data.leave_out` replaced by the collections that remain. UsageError for one that is not there."""
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
    """A summary, then lines on each collection's share; UsageError where the store lacks what the run needs."""
    rows = training_rows(store, run.data.selection, WALK_COLUMNS)
    counts = {entry["values"]: entry["counts"] for entry in rows["collection"].value_counts().to_pylist()}
    specs = store.specs(collections_of(rows))
    discounts = {name: spec.sampling_discount for name, spec in specs.items()}
    shares = GlobalSampler(counts, discounts, run.schedule.batch, 0, run.data.mixing).shares
    parameters = f"encoder {run.network.size}: {sizes.parameters_of(run.network.size):,} parameters"
    lines = [f"{parameters}; training on {rows.num_rows:,} sequences of {', '.join(shares)}"]
    of_what = "the steps" if run.data.mixing == "step" else "each batch"
    for name, share in shares.items():
        lines.append(f"train on {counts[name]:,} sequences of {name}, {100 * share:.0f}% of {of_what}")
    return lines + (_check_walks(rows, specs) if run.data.positives == "walk" else [])


def _check_walks(rows: pa.Table, specs: dict[str, CollectionSpec]) -> list[str]:
    """A line on how many sequences have a positive from another sequence; UsageError where none has."""
    walks = Counter(walk_names(rows, specs))
    with_partner = sum(count for count in walks.values() if count > 1)
    if not with_partner:
        raise UsageError(
            f"--data.positives walk finds no walk that several cameras filmed at once in {', '.join(sorted(specs))}: "
            "add a collection that has them, give several --data.modalities, or give --data.positives clip"
        )
    return [f"{with_partner:,} of {rows.num_rows:,} sequences have positives from other cameras or modalities"]


def published_weights(run: PretrainRun, start: Path) -> State:
    """Weights of student and teacher, both those of the teacher in a published checkpoint.

    UsageError where the file is missing, is no such checkpoint, or is of another network than the run's.
    """
    module = run.objective.build(run.network)
    load_published(start, module.teacher)
    module.student.load_state_dict(module.teacher.state_dict())
    logger.info(f"starting from the teacher in {start}")
    return module.state_dict()
