"""Classification against the published evaluator, and by hand where something is not defined."""

import json
from pathlib import Path

import numpy as np
import pytest

from evaluation.classification.scores import area_under_roc, by_subject, classify, probabilities

CLASSES = ("negative", "neutral", "positive")


def test_agrees_with_opengait(golden_folder: Path) -> None:
    stored = np.load(golden_folder / "eval_scoliosis1k.npz")
    expected = json.loads((golden_folder / "eval_scoliosis1k.json").read_text())["result"]
    found = classify(probabilities(stored["embeddings"]), stored["types"].tolist(), CLASSES, {"positive"})
    ours = {"accuracy": found.accuracy, **found.published_macro()}
    assert {f"scalar/test_{name}/": value for name, value in ours.items()} == pytest.approx(expected, abs=1e-6)
    assert found.macro() == pytest.approx(found.published_macro())  # every class occurs, and is predicted
    assert 0.5 < found.auroc <= 1


def one_hot(*predicted: str) -> np.ndarray:
    return np.eye(3)[[CLASSES.index(name) for name in predicted]]


def test_sensitivity_and_specificity_by_hand() -> None:
    truth = ["positive", "positive", "positive", "negative", "neutral", "negative", "negative"]
    scores = one_hot("positive", "positive", "negative", "negative", "positive", "neutral", "negative")
    found = classify(scores, truth, CLASSES, {"positive"})
    assert found.confusion.tolist() == [[2, 1, 0], [0, 0, 1], [1, 0, 2]]
    assert (found.sensitivity, found.specificity, found.accuracy) == (2 / 3, 3 / 4, 4 / 7)
    assert found.auroc == (2 * 3 + 2 * 0.5 + 1 * 3 * 0.5) / (3 * 4)
    both = classify(scores, truth, CLASSES, {"positive", "neutral"})
    assert (both.sensitivity, both.specificity) == (3 / 4, 2 / 3)


def test_what_is_not_defined_is_missing_or_zero_by_convention() -> None:
    found = classify(one_hot("negative", "negative", "negative"), ["negative", "negative", "positive"], CLASSES)
    np.testing.assert_array_equal(found.precision, [2 / 3, np.nan, np.nan])
    np.testing.assert_array_equal(found.recall, [1, np.nan, 0])
    np.testing.assert_allclose(found.f1, [0.8, np.nan, 0])
    assert found.macro() == pytest.approx({"precision": 2 / 3, "recall": 0.5, "f1": 0.4})
    assert found.published_macro() == pytest.approx({"precision": 1 / 3, "recall": 0.5, "f1": 0.4})
    assert np.isnan([found.sensitivity, found.specificity, found.auroc]).all()
    assert np.isnan(classify(one_hot("negative"), ["negative"], CLASSES, {"positive"}).auroc)


def test_by_subject_as_mean_or_by_majority() -> None:
    scores = np.array([[0.9, 0.05, 0.05], [0.3, 0.3, 0.4], [0.3, 0.3, 0.4], [0, 0, 1.0]])
    truth, subjects = ["positive", "positive", "positive", "negative"], ["b", "b", "b", "a"]
    mean, true, names = by_subject(scores, truth, subjects, "mean")
    assert (names, true) == (["a", "b"], ["negative", "positive"])
    np.testing.assert_allclose(mean, [[0, 0, 1], [0.5, 0.65 / 3, 0.85 / 3]])
    majority, _, _ = by_subject(scores, truth, subjects, "majority")
    np.testing.assert_allclose(majority, [[0, 0, 1], [1 / 3, 0, 2 / 3]])
    with pytest.raises(ValueError, match="subject b is both positive and neutral"):
        by_subject(scores, ["positive", "neutral", "positive", "negative"], subjects, "mean")


@pytest.mark.parametrize("seed", range(3))
def test_area_under_roc_counts_pairs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores, positive = rng.integers(0, 6, 40) / 5, rng.random(40) < 0.4
    pairs = np.sign(scores[positive][:, None] - scores[~positive])
    assert area_under_roc(scores, positive) == pytest.approx(((pairs + 1) / 2).mean())


def test_refuses_what_it_cannot_score() -> None:
    with pytest.raises(ValueError, match="at least one"):
        classify(np.zeros((0, 3)), [], CLASSES)
    with pytest.raises(ValueError, match="not among the classes negative, neutral, positive: Positive"):
        classify(one_hot("neutral"), ["Positive"], CLASSES)
    with pytest.raises(ValueError, match="NaN or infinite"):
        classify(np.full((1, 3), np.nan), ["neutral"], CLASSES)
