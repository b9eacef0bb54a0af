"""The labels of fine-tuning tasks: their classes, and the classes of rows as numbers.

A task predicts one label, or several (attributes). Class order is that of the published evaluator, where there is one.
A row without a label is left out of it: missing is not a class.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import pyarrow as pa

from datasets.schema.errors import UsageError

TaskName = Literal["identification", "scoliosis", "depression", "attributes"]
TASKS: tuple[TaskName, ...] = get_args(TaskName)
MISSING = -1
SUBJECT = "subject"  # the label of identification
_ATTRIBUTE = "attribute_"
_CLASSES = {  # of labels that mean the same in every collection: classes in order, and those that count as a finding
    "scoliosis": (("negative", "neutral", "positive"), ("positive",)),
    "depression": (("normal", "depressed"), ("depressed",)),
}


@dataclass(frozen=True)
class Label:
    """A label to predict, its classes in order, and those that are positive for sensitivity and specificity."""

    name: str
    classes: tuple[str, ...]
    positive: tuple[str, ...] = ()


def subjects_of(rows: pa.Table) -> list[str]:
    """The subject of each row as `<collection>/<subject>`, since names of subjects repeat between collections."""
    names = zip(rows["collection"].to_pylist(), rows["subject"].to_pylist(), strict=True)
    return [f"{collection}/{subject}" for collection, subject in names]


def labels_of(task: TaskName, rows: pa.Table) -> tuple[Label, ...]:
    """The labels of a task that can be learned from rows: those with at least two classes among them.

    Attributes are all labels `attribute_<number>`, in order of number.

    Args:
        task: to fine-tune for.
        rows: WALK_COLUMNS (datasets/schema/rows.py) of the rows to train on.

    Raises:
        UsageError: no label has two classes, or a row has a class that the task does not know.
    """
    if task == "identification":
        found = [Label(SUBJECT, tuple(sorted(set(subjects_of(rows)))))]
    else:
        found = [Label(name, *_classes_of(name, counts)) for name, counts in _count(task, rows).items()]
    learnable = tuple(label for label in found if len(_classes_in(label, rows)) > 1)
    if not learnable:
        what = "subjects" if task == "identification" else f"classes of {task}"
        raise UsageError(
            f"the rows to train on have fewer than two {what}: train on a store that has them in its train split, "
            "or name the right --data.collections"
        )
    return learnable


def class_indices(labels: Sequence[Label], rows: pa.Table) -> np.ndarray:
    """The class of each row for each label, int64 [rows, labels]; MISSING without it, or with none of its classes."""
    table = np.full((rows.num_rows, len(labels)), MISSING, dtype=np.int64)
    of_rows = [dict(one) for one in rows["labels"].to_pylist()]
    for column, label in enumerate(labels):
        index = {name: number for number, name in enumerate(label.classes)}
        values = subjects_of(rows) if label.name == SUBJECT else [one.get(label.name) for one in of_rows]
        table[:, column] = [MISSING if value is None else index.get(value, MISSING) for value in values]
    return table


def collections_with(task: TaskName, rows: pa.Table) -> list[str]:
    """The collections with labels of a task, in order of name; all of them for identification."""
    names = np.asarray(rows["collection"].to_pylist(), dtype=object)
    if task == "identification":
        return sorted(set(names.tolist()))
    has = [any(belongs_to(task, name) for name, _ in one) for one in rows["labels"].to_pylist()]
    return sorted(set(names[np.asarray(has, dtype=bool)].tolist()))


def belongs_to(task: TaskName, name: str) -> bool:
    """Whether a label of a row, by its name, is one that a task predicts."""
    return name.startswith(_ATTRIBUTE) if task == "attributes" else name == task


def _count(task: TaskName, rows: pa.Table) -> Mapping[str, Counter[str]]:
    """How often each class of each label of a task occurs, by name of the label."""
    counts: dict[str, Counter[str]] = {}
    for labels in rows["labels"].to_pylist():
        for name, value in labels:
            if belongs_to(task, name):
                counts.setdefault(name, Counter())[value] += 1
    return dict(sorted(counts.items(), key=lambda one: _by_number(one[0])))


def _classes_of(name: str, counts: Counter[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The classes of a label, and the positive ones; UsageError for a class that a known label does not have."""
    if name not in _CLASSES:
        return tuple(sorted(counts, key=_by_number)), ()
    classes, positive = _CLASSES[name]
    if strange := sorted(set(counts) - set(classes)):
        raise UsageError(
            f"label {name!r} has the value {strange[0]!r}, which is none of {', '.join(classes)}: rename it where the "
            "labels come from (docs/own-walks.md) and ingest again"
        )
    return classes, positive


def _classes_in(label: Label, rows: pa.Table) -> set[int]:
    return set(class_indices([label], rows)[:, 0].tolist()) - {MISSING}


def _by_number(name: str) -> tuple[int, str]:
    """A key that sorts names by the number at their end."""
    digits = name[len(name.rstrip("0123456789")) :]
    return int(digits or -1), name
