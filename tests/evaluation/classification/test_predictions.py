"""Predictions by subject, and the inputs that are refused."""

import numpy as np
import pytest

from evaluation.classification.predictions import Predictions

CLASSES = ("negative", "neutral", "positive")


def test_by_subject_as_mean_or_by_majority() -> None:
    probabilities = np.array([[0.9, 0.05, 0.05], [0.3, 0.3, 0.4], [0.3, 0.3, 0.4], [0, 0, 1.0]])
    truth, subjects = ["positive", "positive", "positive", "negative"], ["b", "b", "b", "a"]
    one = Predictions.of(probabilities, truth, subjects, CLASSES)
    mean = one.by_subject("mean")
    assert mean.subjects.tolist() == ["a", "b"] and mean.truth.tolist() == [0, 2]
    np.testing.assert_allclose(mean.probabilities, [[0, 0, 1], [0.5, 0.65 / 3, 0.85 / 3]])
    majority = one.by_subject("majority")
    np.testing.assert_allclose(majority.probabilities, [[0, 0, 1], [1 / 3, 0, 2 / 3]])
    assert one.one_class_a_subject and one.predicted.tolist() == [0, 2, 2, 2]
    mixed = Predictions.of(probabilities, ["positive", "neutral", "positive", "negative"], subjects, CLASSES)
    assert not mixed.one_class_a_subject
    with pytest.raises(ValueError, match="subject b is both positive and neutral"):
        mixed.by_subject("mean")


def test_refuses_what_it_cannot_score() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Predictions.of(np.zeros((0, 3)), [], [], CLASSES)
    with pytest.raises(ValueError, match=r"1 items .* of 2 subjects"):
        Predictions.of(np.eye(3)[:1], ["neutral"], ["a", "b"], CLASSES)
    with pytest.raises(ValueError, match="not among the classes negative, neutral, positive: Positive"):
        Predictions.of(np.eye(3)[:1], ["Positive"], ["a"], CLASSES)
    with pytest.raises(ValueError, match="NaN or infinite"):
        Predictions.of(np.full((1, 3), np.nan), ["neutral"], ["a"], CLASSES)
