"""Driver of fine-tuning: checks the settings against the store and the pretrained run, then trains.

The weights of the pretrained teacher become the checkpoint of step 0, from which workers resume as from any other. What
this driver shares with pretraining is in orchestration/training/driver.py; scoring is in orchestration/scoring.
"""

import logging
from collections import Counter
from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc
import torch

from datasets.loading.labels import class_indices, collections_with, labels_of, subjects_of
from datasets.schema.errors import UsageError
from datasets.schema.rows import WALK_COLUMNS
from datasets.storage import Place, open_place
from datasets.store.reader import Store
from datasets.store.selection import training_rows
from orchestration.embedding.networks import teacher_of
from orchestration.rank.finetune import describe, finetune_rank, sampler_of
from orchestration.run import checkpoint
from orchestration.run import folder as run_folder
from orchestration.run.checkpoint import State
from orchestration.run.finetune_settings import FinetuneRun, Start, write_start
from orchestration.run.folder import folder_of
from orchestration.training.driver import Job, drive, sole_writer

logger = logging.getLogger(__name__)


def finetune(run: FinetuneRun, uri: str, profile: bool = False) -> Place:
    """Train a run, or resume it; returns its last checkpoint. For the arguments and errors, see `drive`."""
    run = run_folder.with_absolute_paths(run)

    def plan(newest: Place | None) -> Job:
        parent = run_folder.tracked_run(open_place(run.run))
        tags = {"task": run.task, "run": run.run} | ({"mlflow.parentRunId": parent} if parent else {})
        first = first_checkpoint(run) if newest is None else None
        return Job(name="finetune", tags=tags, rank=finetune_rank, write_first_checkpoint=first)

    with sole_writer(folder_of(run), "jobs.finetune"):
        return drive(run, plan, uri, profile)


def first_checkpoint(run: FinetuneRun) -> Callable[[], Place]:
    """Check what a new run starts from; returns a function that writes it into the run's folder as step 0."""
    start = check_start(run)
    weights = first_weights(run, start)

    def write() -> Place:
        write_start(folder_of(run), start)
        return checkpoint.save(folder_of(run), run, 0, weights, {})

    return write


def check_start(run: FinetuneRun) -> Start:
    """What a new run starts from; logs its labels and their classes. UsageError where it cannot start."""
    pretrained = run_folder.read_run(open_place(run.run))
    chosen = checkpoint.select(open_place(run.run), run.step)
    run.check_encoder(pretrained.network.size)
    rows = training_rows(Store.open(run.shards), run.data.selection, WALK_COLUMNS)
    collections = tuple(run.data.collections or collections_with(run.task, rows))
    if not collections:
        raise UsageError(
            f"no sequence to train on in {run.shards} has a label of {run.task}: ingest a collection with such labels, "
            "or declare where your own collection has them (docs/own-walks.md)"
        )
    rows = rows.filter(pc.is_in(rows["collection"], pa.array(collections)))
    labels = labels_of(run.task, rows)
    classes = class_indices(labels, rows)
    sampler_of(run, classes, subjects_of(rows))  # UsageError where there are too few people to fill a batch
    task = f"{describe(labels)} on {rows.num_rows:,} sequences of {', '.join(collections)}"
    logger.info(f"encoder {pretrained.network.size} from {chosen}; task: {task}")
    for label, column in zip(labels, classes.T, strict=True):
        known = column[column >= 0]
        counts = Counter(known.tolist())
        shown = f"{len(counts):,} classes"
        if len(label.classes) <= 10:
            shown = ", ".join(f"{name} {counts[number]:,}" for number, name in enumerate(label.classes))
        logger.debug(f"train on {len(known):,} of {rows.num_rows:,} sequences with {label.name}: {shown}")
    return Start(pretrained.network, str(chosen), collections, labels)


def first_weights(run: FinetuneRun, start: Start) -> State:
    """Student and teacher with the pretrained teacher's weights, and a head initialised from the run's seed."""
    teacher = teacher_of(open_place(start.checkpoint))
    torch.manual_seed(run.seed)
    module = start.module(run)
    for one in (module.student, module.teacher):
        one.network.load_state_dict(teacher.state_dict())
    return module.state_dict()
