"""Tables of classification: their intervals, the simple readers beside them, and what is said of the data."""

import numpy as np
import pytest

from evaluation.classification import census, tables
from evaluation.classification.census import Side
from evaluation.classification.intervals import intervals, point
from evaluation.classification.probe import majority, probe
from evaluation.classification.scores import classify
from evaluation.classification.tables import class_rows

CLASSES = ("negative", "neutral", "positive")


def some(seed: int = 0, count: int = 60) -> tuple[np.ndarray, list[str], list[str]]:
    """Scores that are right more often than not, true classes, and subjects with two items each."""
    rng = np.random.default_rng(seed)
    true = np.repeat(rng.integers(0, 3, count // 2), 2)
    scores = np.round(rng.random((count, 3)) + 0.7 * np.eye(3)[true], 1)  # with ties
    return scores, [CLASSES[one] for one in true], [f"s{place // 2}" for place in range(count)]


def test_intervals_are_those_of_scores_on_drawn_subjects() -> None:
    """Against the plain way: draw subjects, copy their items, score them again."""
    scores, truth, subjects = some()
    found = intervals(scores, truth, subjects, classify(scores, truth, CLASSES, ["positive"]), ["positive"], seed=3)
    drawn = np.random.default_rng(3).multinomial(30, np.full(30, 1 / 30), size=1000)
    names, who = np.unique(subjects, return_inverse=True)
    again = {name: [] for name in found}
    for counts in drawn:
        items = np.repeat(np.arange(len(truth)), counts[who])
        one = classify(scores[items], [truth[item] for item in items], CLASSES, ["positive"])
        for name, value in point(one).items():
            again[name].append(value)
    assert len(names) == 30
    for name, (low, high) in found.items():
        assert (low, high) == pytest.approx(np.nanpercentile(again[name], [2.5, 97.5])), name
        assert 0 <= low <= high <= 1 and found["accuracy"][0] < found["accuracy"][1]


def test_what_is_not_defined_has_no_interval() -> None:
    scores, truth, _ = some()
    one = intervals(scores, truth, ["a"] * 60, classify(scores, truth, CLASSES), [])
    assert all(np.isnan(ends).all() for ends in one.values())
    none_positive = intervals(scores, truth, [str(n) for n in range(60)], classify(scores, truth, CLASSES), [])
    assert np.isnan(none_positive["auroc"]).all() and np.isnan(none_positive["sensitivity"]).all()
    assert not np.isnan(none_positive["accuracy"]).any()


def test_rows_are_by_sequence_and_by_subject() -> None:
    scores, truth, subjects = some()
    rows = class_rows("m", "X", "q", scores, truth, subjects, CLASSES, ["positive"])
    assert [(row.level, row.items) for row in rows] == [
        ("sequence", 60),
        ("subject (mean)", 30),
        ("subject (majority)", 30),
    ]
    assert np.sum(rows[0].confusion) == 60 and rows[0].accuracy_low < rows[0].accuracy < rows[0].accuracy_high
    table = tables.markdown(rows)
    assert f"| sequence | m | 60 | {100 * rows[0].accuracy:.1f} [" in table and table.startswith("### X: q")
    assert "confusion" not in tables.to_frame(rows).columns
    mixed = class_rows("m", "X", "q", scores, truth, ["a"] * 60, CLASSES, [])
    assert [row.level for row in mixed] == ["sequence"]  # a subject with several true classes
    assert "| \u2013 |" in tables.markdown(mixed)


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
        "train: normal has 3.0 times the sequences of depressed; who always answers normal is right for 75.0%",
        "train: 1 of 5 sequences have no such label and are left out",
        "1 test sequences of classes without training rows are left out: other",
        "few test sequences of depressed (1), normal (1)",
    ):
        assert words in said, words
    assert "1 of 3 test subjects are in the training data, with 1 sequences: a" in census.leakage(
        train.people, test.people
    )
    assert "None of the 2 test subjects is among the 4" in census.leakage(train.people, ("x", "y"), ["X: nobody knows"])
    assert census.confusion(("a", "b"), ((1, 2), (3, 4))).splitlines()[-1] == "| b | 3 | 4 |"
