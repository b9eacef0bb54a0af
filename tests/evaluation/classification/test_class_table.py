"""Tables of classification: rows by sequence and by subject, the simple baselines, and the census of the data."""

import numpy as np
import pytest

from evaluation.classification import census, class_table, metrics
from evaluation.classification.census import Side
from evaluation.classification.class_table import class_rows, confusion_markdown
from evaluation.classification.predictions import Confusion, Predictions
from evaluation.classification.probe import majority, probe
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


def test_a_probe_reads_what_is_linear_and_nothing_from_noise() -> None:
    rng = np.random.default_rng(1)
    labels, unseen = rng.integers(0, 2, 80), rng.integers(0, 2, 200)
    noise, other = rng.standard_normal((80, 6, 5)), rng.standard_normal((200, 6, 5))
    signal, new = noise.copy(), other.copy()
    signal[:, 2, 3] += 3 * labels
    new[:, 2, 3] += 3 * unseen
    subjects = [str(place // 2) for place in range(80)]
    found = probe(signal, labels, subjects, new, classes=3, balanced=True)
    assert found.shape == (200, 3) and (found[:, 2] == 0).all() and found.sum(axis=1) == pytest.approx(1)
    assert (found.argmax(axis=1) == unseen).mean() > 0.85
    chance = probe(noise, labels, subjects, other, classes=2, balanced=False)
    assert abs((chance.argmax(axis=1) == unseen).mean() - 0.5) < 0.12
    always = majority(np.array([0, 2, 2]), 4, 3)
    assert always.shape == (4, 3) and (always.argmax(axis=1) == 2).all()


def test_the_census_names_imbalance_and_people_on_both_sides() -> None:
    train = Side(labels=("normal",) * 3 + ("depressed", None), people=("a", "a", "b", "c", "d"))
    test = Side(labels=("normal", "depressed", "other"), people=("a", "x", "y"))
    said = census.class_counts("depression", ("normal", "depressed"), train, test)
    for words in (
        "| normal | 3 | 2 | 1 | 1 |",
        "train: normal has 3.0 times the sequences of depressed; "
        "a classifier that always predicts normal is right for 75.0%",
        "train: 1 of 5 sequences have no such label and are left out",
        "1 test sequences of classes without training rows are left out: other",
        "few test sequences of depressed (1), normal (1)",
    ):
        assert words in said, words
    assert "1 of 3 test subjects are in the training data, with 1 sequences: a" in census.leakage(
        train.people, test.people
    )
    assert "None of the 2 test subjects is among the 4" in census.leakage(train.people, ("x", "y"), ["X: nobody knows"])
    assert confusion_markdown(Confusion(("a", "b"), np.array([[1, 2], [3, 4]]))).splitlines()[-1] == "| b | 3 | 4 |"
