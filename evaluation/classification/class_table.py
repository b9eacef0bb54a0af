"""Results of classification as rows: one method on one question by sequence or by subject, its metrics in 0..1."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from evaluation.classification.metrics import METRICS
from evaluation.classification.predictions import Confusion, Predictions
from evaluation.metrics import UNKNOWN, Estimate, columns, estimate
from evaluation.text_table import MISSING, escape, markdown_table


@dataclass(frozen=True, kw_only=True, eq=False)
class ClassRow:
    """One method on one question of one collection.

    `level`: what an item is, "sequence", "subject (mean)" or "subject (majority)". `metrics`: an estimate of each of
    METRICS, by name.
    """

    method: str
    collection: str
    question: str
    level: str
    items: int
    subjects: int
    metrics: Mapping[str, Estimate]
    confusion: Confusion

    def tracked(self) -> dict[str, float]:
        """Metrics named `<method>/<collection>/<question>/<level>/<metric>`; MLflow takes no brackets and no commas."""
        prefix = f"{self.method}/{self.collection}/{self.question}/{self.level}".replace(",", "")
        prefix = prefix.replace("(", "by ").replace(")", "")
        values = columns(METRICS, self.metrics)
        return {f"{prefix}/{name}": value for name, value in values.items() if not np.isnan(value)}


def class_rows(method: str, collection: str, question: str, predictions: Predictions) -> list[ClassRow]:
    """By sequence, and by subject as the mean of its probabilities and as the majority of its predictions.

    The last two are left out where a subject has sequences of several true classes (an attribute such as a coat).

    Args:
        predictions: of sequences.
    """
    levels = {"sequence": predictions}
    if predictions.one_class_a_subject:
        levels |= {
            "subject (mean)": predictions.by_subject("mean"),
            "subject (majority)": predictions.by_subject("majority"),
        }
    return [
        ClassRow(
            method=method,
            collection=collection,
            question=question,
            level=level,
            items=len(one.truth),
            subjects=len(np.unique(one.subjects)),
            metrics=estimate(METRICS, one),
            confusion=one.confusion,
        )
        for level, one in levels.items()
    ]


def to_frame(rows: Iterable[ClassRow]) -> pd.DataFrame:
    """A row each: what it is, then each metric with its interval; without rows, the columns alone."""
    names = ["method", "collection", "question", "level", "items", "subjects"]
    lines = [{name: getattr(row, name) for name in names} | columns(METRICS, row.metrics) for row in rows]
    return pd.DataFrame(lines, columns=[*names, *columns(METRICS, {})])


def to_markdown(rows: Sequence[ClassRow]) -> str:
    """A table for each collection and question: a line for each level and method, metrics with intervals in percent."""
    shown = [metric for metric in METRICS if metric.in_tables]
    blocks = []
    for collection, question in dict.fromkeys((row.collection, row.question) for row in rows):
        mine = [row for row in rows if (row.collection, row.question) == (collection, question)]
        cells = [["level", "method", "items", *(metric.title for metric in shown)]]
        for level in dict.fromkeys(row.level for row in mine):
            for row in (row for row in mine if row.level == level):
                percents = (_percent(row.metrics.get(metric.name, UNKNOWN)) for metric in shown)
                cells.append([level, row.method, f"{row.items:,}", *percents])
        blocks.append(f"### {escape(collection)}: {escape(question)}\n\n{markdown_table(cells, labels=2)}")
    return "\n\n".join(blocks)


def confusion_markdown(confusion: Confusion) -> str:
    """A confusion matrix as a table: rows true classes, columns predicted ones."""
    rows = [[name, *map(str, row)] for name, row in zip(confusion.classes, confusion.counts.tolist(), strict=True)]
    return markdown_table([["true / predicted", *confusion.classes], *rows])


def _percent(one: Estimate) -> str:
    if np.isnan(one.value):
        return MISSING
    interval = "" if np.isnan(one.low) else f" [{100 * one.low:.1f}, {100 * one.high:.1f}]"
    return f"{100 * one.value:.1f}{interval}"
