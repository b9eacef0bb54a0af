"""Driver of fine-tuning: from a pretrained run and labels in a store to checkpoints, by the path of pretraining.

The weights of the pretrained teacher become step 0 of the run, from which all workers go on as from any other step. All
that can be wrong with the settings is found here, before a worker starts. Scores are the matter of
orchestration/scoring/finetuned.py.
"""

from collections import Counter

import pyarrow as pa
import pyarrow.compute as pc
import torch

from datasets.loading import labels as tasks
from datasets.schema.errors import UsageError
from datasets.schema.rows import WALK_COLUMNS
from datasets.storage import Place, open_place
from datasets.store.reader import Store
from datasets.store.selection import training_rows
from orchestration.cluster import session
from orchestration.embedding.networks import teacher_of
from orchestration.rank.finetune import finetune_rank, in_words, order_of
from orchestration.run import checkpoint, tracking
from orchestration.run import folder as run_folder
from orchestration.run.checkpoint import State
from orchestration.run.finetune_settings import FinetuneRun, Start, read_start, write_start
from orchestration.run.folder import folder_of
from orchestration.run.serialise import flatten, to_json
from orchestration.training import train
from orchestration.training.validation import Scorer


def finetune(run: FinetuneRun, uri: str, profile: bool = False) -> Place:
    """Train, or go on training, and return the last checkpoint.

    uri: where MLflow keeps its records. profile: also trace a few steps, into the run's folder. Unfinished where the
    run ends too early; the same call goes on with it.
    """
    run = run_folder.with_whole_paths(run)
    run_folder.check_folder(run)
    folder = folder_of(run)
    newest = checkpoint.newest_whole(folder)
    if newest and checkpoint.step_of(newest) >= run.schedule.steps:
        print(f"{folder} is trained already: {run.schedule.steps} steps", flush=True)
        return newest
    if newest:
        print(f"going on after step {checkpoint.step_of(newest)} of {folder}", flush=True)
    start = read_start(folder) if newest else begin(run)
    first = None if newest else first_weights(run, start)
    session.start(run.cluster.workers)
    if run.cluster.gpu:
        session.require_gpus()
    name, settings = f"finetune {folder.name}", flatten(to_json(run))
    with tracking.open_run(uri, name, settings, tags_of(run, "finetune"), run_folder.tracked_run(folder)) as tracker:
        run_folder.claim_folder(run)
        (folder / run_folder.TRACKED).write(tracker.run_id.encode())
        if first is not None:
            write_start(folder, start)
            newest = checkpoint.save(folder, run, 0, first, {})
        scorer = Scorer(run, tracker, names=[], every=1)  # nothing is chosen by a score while it trains
        train.train(run, tracker, scorer, finetune_rank, checkpoint.step_of(newest), profile)
    assert checkpoint.reached(folder) == run.schedule.steps, "the run ended before its last step"
    return checkpoint.at_step(folder, run.schedule.steps)


def tags_of(run: FinetuneRun, job: str) -> dict[str, str]:
    """The tags of a run in MLflow, below the pretrained one where that is tracked."""
    tags = {"job": job, "task": run.task, "run": run.run}
    parent = run_folder.tracked_run(open_place(run.run))
    return tags | ({"mlflow.parentRunId": parent} if parent else {})


def begin(run: FinetuneRun) -> Start:
    """What a run starts from; UsageError where it cannot. Says what it is asked, and of whom."""
    pretrained = run_folder.read_run(open_place(run.run))
    chosen = checkpoint.chosen(open_place(run.run), run.step)
    run.check_norms(pretrained.network.size)
    rows = training_rows(Store.open(run.shards), run.data.selection, WALK_COLUMNS)
    collections = tuple(run.data.collections or tasks.collections_with(run.task, rows))
    if not collections:
        raise UsageError(
            f"no sequence to train on in {run.shards} has a label of {run.task}: ingest a collection that has them, or "
            "say where one's own have them (docs/own-walks.md)"
        )
    rows = rows.filter(pc.is_in(rows["collection"], pa.array(collections)))
    questions = tasks.questions(run.task, rows)
    labels = tasks.answers(questions, rows)
    order_of(run, labels, tasks.people(rows))  # whether batches can be filled
    print(f"encoder {pretrained.network.size} from {chosen}, to tell {in_words(questions)}", flush=True)
    for column, question in enumerate(questions):
        known = labels[:, column][labels[:, column] >= 0]
        counts = Counter(known.tolist())
        classes = f"{len(counts):,} classes"
        if len(question.classes) <= 10:
            classes = ", ".join(f"{name} {counts[number]:,}" for number, name in enumerate(question.classes))
        print(f"train on {len(known):,} of {rows.num_rows:,} sequences with {question.label}: {classes}", flush=True)
    return Start(pretrained.network, str(chosen), collections, questions)


def first_weights(run: FinetuneRun, start: Start) -> State:
    """Student and teacher with the pretrained teacher's weights, and a new head."""
    teacher = teacher_of(open_place(start.checkpoint))
    torch.manual_seed(run.seed)
    module = start.module(run)
    for one in (module.student, module.teacher):
        one.network.load_state_dict(teacher.state_dict())
    return module.state_dict()
