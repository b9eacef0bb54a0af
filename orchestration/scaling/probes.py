"""Linear probes of a task's labels on the embedding of a trained cell of a study.

A probe is fitted on the train split of each collection with such labels and tested on its test split. Pretraining uses
no labels; whether it uses these collections' sequences is a setting of the study.
"""

import numpy as np
import pyarrow as pa

from datasets.loading.labels import MISSING, Label, TaskName, belongs_to, class_indices, labels_of, subjects_of
from datasets.schema.errors import UsageError
from datasets.schema.rows import WALK_COLUMNS, Modality
from datasets.store.reader import Store
from datasets.store.selection import of_modalities
from evaluation.classification.probe import probe
from evaluation.scaling.by_subject import BySubject, class_error
from orchestration.scaling.examined import Examined
from orchestration.scaling.plan import StudyPlan

_SILHOUETTE: tuple[Modality, ...] = ("silhouette",)


def probe_errors(examined: Examined) -> dict[str, BySubject]:
    """Mean error over classes, in percent, as `error/<collection>/probe/<label>`, for each of `measure.probes`."""
    found = {}
    for task in examined.plan.measure.probes:
        for name, (train, test) in labelled_rows(examined.plan, examined.store, task).items():
            labels = labels_of(task, train)
            embedded = [examined.embeddings(rows) for rows in (train, test)]
            for label in labels:
                error = _error(label, train, test, *embedded)
                if error is not None:
                    found[f"error/{name}/probe/{label.name}"] = error
    return found


def check_probes(plan: StudyPlan, store: Store) -> int:
    """The number of sequences that the probes of each cell embed. UsageError if the store lacks the labels."""
    sequences = 0
    for task in plan.measure.probes:
        for train, test in labelled_rows(plan, store, task).values():
            labels_of(task, train)
            sequences += train.num_rows + test.num_rows
    return sequences


def labelled_rows(plan: StudyPlan, store: Store, task: TaskName) -> dict[str, tuple[pa.Table, pa.Table]]:
    """The train and test rows of the probe of each collection with a task's labels.

    UsageError if no collection has the task's labels in both its train and its test split.
    """
    found = {}
    for name in sorted(store.collections):
        train, test = (_rows(store, name, split, task, plan.measure.probe_rows) for split in ("train", "test"))
        if train.num_rows and test.num_rows:
            found[name] = train, test
    if not found:
        raise UsageError(
            f"--measure.probes {task}: no collection of {store} has labels of {task} in both its train and its "
            "test split: ingest one that has, or leave the probe out"
        )
    return found


def _rows(store: Store, collection: str, split: str, task: TaskName, most: int) -> pa.Table:
    """At most `most` silhouettes of a split with labels of a task, evenly spaced in order of sequence_id."""
    walks = store.rows([collection], split, columns=[*WALK_COLUMNS])  # not the frames: most collections lack the labels
    labels = walks["labels"].to_pylist()
    labelled = np.array([any(belongs_to(task, label) for label, _ in one) for one in labels], dtype=bool)
    if not labelled.any():
        return walks.slice(0, 0)
    rows = store.rows([collection], split).filter(labelled)
    rows = rows.filter(of_modalities(rows, _SILHOUETTE))
    return rows.take(np.unique(np.linspace(0, rows.num_rows - 1, min(most, rows.num_rows)).astype(int)))


def _error(
    label: Label, train: pa.Table, test: pa.Table, of_train: np.ndarray, of_test: np.ndarray
) -> BySubject | None:
    """The error of one label from embeddings [n, C, P] of train and test rows; None if no test row has the label."""
    learned, truth = (class_indices([label], rows)[:, 0] for rows in (train, test))
    known, asked = learned != MISSING, truth != MISSING
    if not asked.any():
        return None
    people = np.asarray(subjects_of(train))[known].tolist()
    scores = probe(of_train[known], learned[known], people, of_test[asked], len(label.classes), balanced=True)
    return class_error(scores.argmax(axis=1), truth[asked], np.asarray(subjects_of(test))[asked])
