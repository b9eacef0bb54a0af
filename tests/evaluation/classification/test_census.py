"""The census of a classification task: imbalance, missing labels, and people on both sides of the split."""

from evaluation.classification import census
from evaluation.classification.census import Side


def test_the_census_names_imbalance_and_people_on_both_sides() -> None:
    train = Side(labels=("normal",) * 3 + ("depressed", None), people=("a", "a", "b", "c", "d"))
    test = Side(labels=("normal", "depressed", "other"), people=("a", "x", "y"))
    table = census.class_counts("depression", ("normal", "depressed"), train, test)
    for words in (
        "| normal | 3 | 2 | 1 | 1 |",
        "train: normal has 3.0 times the sequences of depressed; "
        "a classifier that always predicts normal is right for 75.0%",
        "train: 1 of 5 sequences have no such label and are left out",
        "1 test sequences of classes without training rows are left out: other",
        "few test sequences of depressed (1), normal (1)",
    ):
        assert words in table, words
    assert "1 of 3 test subjects are in the training data, with 1 sequences: a" in census.leakage(
        train.people, test.people
    )
    assert "None of the 2 test subjects is among the 4" in census.leakage(train.people, ("x", "y"), ["X: not known"])
