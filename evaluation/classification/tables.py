"""Results of classification as rows: one method, one question, one level, with intervals over subjects.

Shares in 0..1; missing numbers stay missing. Knows neither networks nor collections.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evaluation.classification.intervals import SCORES, intervals, point
from evaluation.classification.scores import by_subject, classify
from evaluation.text_table import MISSING, escape, markdown_table

NAN = float("nan")
Level = str  # of what the items are: "sequence", "subject (mean)", "subject (majority)"


@dataclass(frozen=True, kw_only=True)
class ClassRow:
    """One method on one question at one level: `items` of `subjects` are scored.

    precision, recall and f1 are plain means over the classes for which they are defined; `published_*` count 0 where
    one is not, as the published evaluator does. Each score has its 95% interval over subjects.
    """

    method: str
    collection: str
    question: str
    level: Level
    items: int
    subjects: int
    accuracy: float
    accuracy_low: float = NAN
    accuracy_high: float = NAN
    precision: float = NAN
    precision_low: float = NAN
    precision_high: float = NAN
    recall: float = NAN
    recall_low: float = NAN
    recall_high: float = NAN
    f1: float = NAN
    f1_low: float = NAN
    f1_high: float = NAN
    sensitivity: float = NAN
    sensitivity_low: float = NAN
    sensitivity_high: float = NAN
    specificity: float = NAN
    specificity_low: float = NAN
    specificity_high: float = NAN
    auroc: float = NAN
    auroc_low: float = NAN
    auroc_high: float = NAN
    published_precision: float = NAN
    published_recall: float = NAN
    published_f1: float = NAN
    confusion: tuple[tuple[int, ...], ...] = ()  # rows true classes, columns predicted ones


def class_rows(
    method: str,
    collection: str,
    question: str,
    scores: NDArray[np.floating],
    truth: Sequence[str],
    subjects: Sequence[str],
    classes: Sequence[str],
    positive: Sequence[str],
) -> list[ClassRow]:
    """By sequence, and by subject as the mean of its scores and as the majority of its answers.

    The last two are left out where a subject has sequences of several true classes (an attribute such as a coat).

    Args:
        scores: [n, K] probabilities of n sequences.
        truth, subjects: of each sequence.
        classes: names of the K classes.
        positive: the classes that mean "found".
    """
    levels = {"sequence": (scores, list(truth), list(subjects))}
    if len(set(zip(subjects, truth, strict=True))) == len(set(subjects)):
        levels |= {f"subject ({how})": by_subject(scores, truth, subjects, how) for how in ("mean", "majority")}
    rows = []
    for level, (values, true, who) in levels.items():
        found = classify(values, true, classes, positive)
        numbers = point(found)
        for name, (low, high) in intervals(values, true, who, found, positive).items():
            numbers |= {f"{name}_low": low, f"{name}_high": high}
        published = {f"published_{name}": value for name, value in found.published_macro().items()}
        row = ClassRow(
            method=method,
            collection=collection,
            question=question,
            level=level,
            items=len(true),
            subjects=len(set(who)),
            confusion=tuple(map(tuple, found.confusion.tolist())),
            **numbers,
            **published,
        )
        rows.append(row)
    return rows


def to_frame(rows: Iterable[ClassRow]) -> pd.DataFrame:
    """One line per row, columns named as the fields of `ClassRow`, less the confusion matrix."""
    columns = [column.name for column in fields(ClassRow) if column.name != "confusion"]
    return pd.DataFrame([asdict(row) for row in rows], columns=columns)


def markdown(rows: Sequence[ClassRow]) -> str:
    """A table for each collection and question: a line per level and method, scores with intervals in percent."""
    blocks = []
    for collection, question in dict.fromkeys((row.collection, row.question) for row in rows):
        mine = [row for row in rows if (row.collection, row.question) == (collection, question)]
        cells = [["level", "method", "items", *SCORES]]
        for level in dict.fromkeys(row.level for row in mine):
            for row in (row for row in mine if row.level == level):
                cells.append([level, row.method, f"{row.items:,}", *(_score(row, name) for name in SCORES)])
        blocks.append(f"### {escape(collection)}: {escape(question)}\n\n{markdown_table(cells, labels=2)}")
    return "\n\n".join(blocks)


def _score(row: ClassRow, name: str) -> str:
    value, low, high = (getattr(row, name + end) for end in ("", "_low", "_high"))
    if np.isnan(value):
        return MISSING
    return f"{100 * value:.1f}" + ("" if np.isnan(low) else f" [{100 * low:.1f}, {100 * high:.1f}]")
