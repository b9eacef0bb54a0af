"""What fine-tuning asks of a walk: the tasks, their label rules, and the labels of rows as numbers.

A task is one question or several; the answer to each is a class. Class order is that of the published evaluator where
there is one. A label that a row does not have is missing, and never a class. Knows rows, and nothing of how they are
answered.
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
SUBJECT = "subject"  # the question of identification
_ATTRIBUTE = "attribute_"
_MEANINGS = {  # the tasks whose classes mean the same in every collection: its classes, and those that mean "found"
    "scoliosis": (("negative", "neutral", "positive"), ("positive",)),
    "depression": (("normal", "depressed"), ("depressed",)),
}


@dataclass(frozen=True)
class Question:
    """A label, its classes in order, and which of them mean "found" for sensitivity and specificity."""

    label: str
    classes: tuple[str, ...]
    positive: tuple[str, ...] = ()


def people(rows: pa.Table) -> list[str]:
    """Who walks in each row: `<collection>/<subject>`, since subjects are named by their collection alone."""
    names = zip(rows["collection"].to_pylist(), rows["subject"].to_pylist(), strict=True)
    return [f"{collection}/{subject}" for collection, subject in names]


def questions(task: TaskName, rows: pa.Table) -> tuple[Question, ...]:
    """The questions of a task that rows to train on can teach: those with at least two classes among them.

    rows: WALK_COLUMNS of datasets/loading/corpus.py. UsageError where there is none, or a class that the task does not
    know. Attributes are every label `attribute_<number>`, in order of number.
    """
    if task == "identification":
        found = [Question(SUBJECT, tuple(sorted(set(people(rows)))))]
    else:
        seen = _seen(task, rows)
        found = [Question(label, *_classes(label, counts)) for label, counts in seen.items()]
    taught = tuple(one for one in found if len(_used(one, rows)) > 1)
    if not taught:
        what = "subjects" if task == "identification" else f"classes of {task}"
        raise UsageError(
            f"the rows to train on have fewer than two {what}: train on a store that has them in its train split, "
            "or name the right --data.collections"
        )
    return taught


def answers(asked: Sequence[Question], rows: pa.Table) -> np.ndarray:
    """The class of each row for each question, int64 [rows, questions]; MISSING without a label or with another one."""
    table = np.full((rows.num_rows, len(asked)), MISSING, dtype=np.int64)
    labels = [dict(one) for one in rows["labels"].to_pylist()]
    for column, question in enumerate(asked):
        number = {name: place for place, name in enumerate(question.classes)}
        given = people(rows) if question.label == SUBJECT else [one.get(question.label) for one in labels]
        table[:, column] = [MISSING if one is None else number.get(one, MISSING) for one in given]
    return table


def collections_with(task: TaskName, rows: pa.Table) -> list[str]:
    """The collections that have labels of a task, by name; for identification those whose subjects are people."""
    names = np.asarray(rows["collection"].to_pylist(), dtype=object)
    if task == "identification":
        return sorted(set(names.tolist()))
    has = [any(is_of(task, label) for label, _ in one) for one in rows["labels"].to_pylist()]
    return sorted(set(names[np.asarray(has, dtype=bool)].tolist()))


def is_of(task: TaskName, label: str) -> bool:
    """Whether a label of a row is one that a task asks about."""
    return label.startswith(_ATTRIBUTE) if task == "attributes" else label == task


def _seen(task: TaskName, rows: pa.Table) -> Mapping[str, Counter]:
    """The labels of a task, and how often each has each class."""
    seen: dict[str, Counter] = {}
    for labels in rows["labels"].to_pylist():
        for label, value in labels:
            if is_of(task, label):
                seen.setdefault(label, Counter())[value] += 1
    return dict(sorted(seen.items(), key=lambda one: _in_order(one[0])))


def _classes(label: str, counts: Counter) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The classes of a label and the positive ones; UsageError for a class that a known task does not have."""
    if label not in _MEANINGS:
        return tuple(sorted(counts, key=_in_order)), ()
    classes, positive = _MEANINGS[label]
    if strange := sorted(set(counts) - set(classes)):
        raise UsageError(
            f"label {label!r} has the value {strange[0]!r}, which is none of {', '.join(classes)}: rename it where the "
            "labels come from (docs/own-walks.md) and ingest again"
        )
    return classes, positive


def _used(question: Question, rows: pa.Table) -> set[int]:
    return set(answers([question], rows)[:, 0].tolist()) - {MISSING}


def _in_order(name: str) -> tuple[int, str]:
    """Numbers at the end of names count as numbers."""
    digits = name[len(name.rstrip("0123456789")) :]
    return int(digits or -1), name
