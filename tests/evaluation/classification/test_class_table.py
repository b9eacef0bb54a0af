"""Tables of classification: rows by sequence and by subject, and a column for every metric."""

import numpy as np
import pytest

from evaluation.classification import class_table, metrics
from evaluation.classification.class_table import class_rows, confusion_markdown
from evaluation.classification.predictions import Confusion, Predictions
from evaluation.metrics import Metric

CLASSES = ("negative", "neutral", "positive")


def sampled(subjects: list[str] | None = None, positive: tuple[str, ...] = ()) -> Predictions:
    """Predictions that are right more often than not, of subjects with two items each."""
    rng = np.random.default_rng(0)
    true = np.repeat(rng.integers(0, 3, 30), 2)
    probabilities = np.round(rng.random((60, 3)) + 0.7 * np.eye(3)[true], 1)
    who = subjects or [f"s{number // 2}" for number in range(60)]
    return Predictions.of(probabilities, [CLASSES[one] for one in true], who, CLASSES, positive)


def test_rows_are_by_sequence_and_by_subject() -> None:
    rows = class_rows("m", "X", "q", sampled(positive=("positive",)))
    assert [(row.level, row.items) for row in rows] == [
        ("sequence", 60),
        ("subject (mean)", 30),
        ("subject (majority)", 30),
    ]
    accuracy = rows[0].metrics["accuracy"]
    assert rows[0].confusion.counts.sum() == 60 and accuracy.low < accuracy.value < accuracy.high
    table = class_table.to_markdown(rows)
    assert f"| sequence | m | 60 | {100 * accuracy.value:.1f} [" in table and table.startswith("### X: q")
    mixed = class_rows("m", "X", "q", sampled(subjects=["a"] * 60))
    assert [row.level for row in mixed] == ["sequence"]  # a subject with several true classes
    assert "| \u2013 |" in class_table.to_markdown(mixed)


def test_every_metric_has_its_columns_and_its_name_in_mlflow() -> None:
    rows = class_rows("m", "X", "q, r", sampled())
    names = ["accuracy", "precision", "recall", "f1", "sensitivity", "specificity", "auroc"]
    columns = [name + end for name in names for end in ("", "_low", "_high")]
    columns += [f"published_{name}" for name in ("precision", "recall", "f1")]
    frame = class_table.to_frame(rows)
    assert list(frame.columns) == ["method", "collection", "question", "level", "items", "subjects", *columns]
    assert list(class_table.to_frame([]).columns) == list(frame.columns)
    tracked = rows[1].tracked()
    assert tracked["m/X/q r/subject by mean/accuracy_low"] == rows[1].metrics["accuracy"].low
    assert not any("auroc" in name for name in tracked)  # no class is positive


def test_an_entry_of_the_list_is_all_that_a_metric_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    share = Metric(
        name="called", title="called positive", meaning="", value=lambda one: float(one.predicted.mean() / 2)
    )
    monkeypatch.setattr(class_table, "METRICS", (*metrics.METRICS, share))
    rows = class_rows("m", "X", "q", sampled())
    assert class_table.to_frame(rows)["called"].between(0, 1).all()
    assert "m/X/q/sequence/called" in rows[0].tracked()
    assert "| AUROC | called positive |" in class_table.to_markdown(rows)


def test_a_confusion_matrix_has_a_row_for_each_true_class() -> None:
    lines = confusion_markdown(Confusion(("a", "b"), np.array([[1, 2], [3, 4]]))).splitlines()
    assert (lines[0], lines[-1]) == ("| true / predicted | a | b |", "| b | 3 | 4 |")
