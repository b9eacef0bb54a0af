"""What a linear reader finds of a task's labels in the embedding of a trained cell of a study.

The reader learns from the train split of each collection that has the labels, and is asked about its test split. The
cell has seen neither's labels; whether it has seen these collections at all is a setting of the study.
"""

import numpy as np
import pyarrow as pa

from datasets.loading import labels as tasks
from datasets.loading.labels import Question, TaskName
from datasets.schema.errors import UsageError
from datasets.schema.rows import WALK_COLUMNS
from datasets.store.reader import Store
from datasets.store.selection import of_modalities
from evaluation.classification.probe import probe
from evaluation.scaling.by_subject import BySubject, class_error
from orchestration.scaling.context import Examined
from orchestration.scaling.plan import StudyPlan


def probe_errors(held: Examined) -> dict[str, BySubject]:
    """Mean error over classes, in percent, as `error/<collection>/probe/<label>`, for each of `measure.probes`."""
    found = {}
    for task in held.plan.measure.probes:
        for name, (train, test) in labelled_rows(held.plan, held.store, task).items():
            asked = tasks.questions(task, train)
            embedded = [held.embeddings(rows) for rows in (train, test)]
            for question in asked:
                error = _error(question, train, test, *embedded)
                if error is not None:
                    found[f"error/{name}/probe/{question.label}"] = error
    return found


def check_probes(plan: StudyPlan, store: Store) -> int:
    """How many sequences the probes of each cell embed. UsageError where the store has not what they need."""
    found = 0
    for task in plan.measure.probes:
        for train, test in labelled_rows(plan, store, task).values():
            tasks.questions(task, train)
            found += train.num_rows + test.num_rows
    return found


def labelled_rows(plan: StudyPlan, store: Store, task: TaskName) -> dict[str, tuple[pa.Table, pa.Table]]:
    """The rows of each collection that a probe learns from, and those that it is asked about.

    UsageError where the store has no collection with the task's labels on both sides of its split.
    """
    found = {}
    for name in sorted(store.collections):
        sides = [_rows(store, name, split, task, plan.measure.probe_rows) for split in ("train", "test")]
        if all(side.num_rows for side in sides):
            found[name] = tuple(sides)
    if not found:
        raise UsageError(
            f"--measure.probes {task}: no collection of {store} has labels of {task} in both its train and its "
            "test split: ingest one that has, or leave the probe out"
        )
    return found


def _rows(store: Store, collection: str, split: str, task: TaskName, most: int) -> pa.Table:
    """Silhouettes of a split with labels of a task; no more than `most`, evenly spaced in order of sequence_id."""
    few = store.rows([collection], split, columns=[*WALK_COLUMNS])
    has = np.array([any(tasks.is_of(task, label) for label, _ in one) for one in few["labels"].to_pylist()], dtype=bool)
    if not has.any():
        return few.slice(0, 0)
    rows = store.rows([collection], split).filter(has)
    rows = rows.filter(of_modalities(rows, ("silhouette",)))
    return rows.take(np.unique(np.linspace(0, rows.num_rows - 1, min(most, rows.num_rows)).astype(int)))


def _error(
    question: Question, train: pa.Table, test: pa.Table, known: np.ndarray, unseen: np.ndarray
) -> BySubject | None:
    """None where no row that is asked about has the label."""
    labels, truth = (tasks.answers([question], rows)[:, 0] for rows in (train, test))
    taught, asked = labels != tasks.MISSING, truth != tasks.MISSING
    if not asked.any():
        return None
    who = np.asarray(tasks.people(train))[taught].tolist()
    answers = probe(known[taught], labels[taught], who, unseen[asked], len(question.classes), balanced=True)
    return class_error(answers.argmax(axis=1), truth[asked], np.asarray(tasks.people(test))[asked])
