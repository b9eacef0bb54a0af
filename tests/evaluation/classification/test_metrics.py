"""Metrics of classification: the published evaluator's, by hand where something is not defined, and their intervals."""

import json
from pathlib import Path

import numpy as np
import pytest

from evaluation.classification import predictions as predictions_file
from evaluation.classification.metrics import METRICS, auroc, per_class
from evaluation.classification.predictions import Predictions, class_probabilities
from evaluation.metrics import estimate

CLASSES = ("negative", "neutral", "positive")


def predictions(
    probabilities: np.ndarray, truth: list[str], positive: tuple[str, ...] = (), subjects: list[str] | None = None
) -> Predictions:
    """Of one subject each, if none are given."""
    return Predictions.of(
        probabilities,
        truth,
        subjects or [str(n) for n in range(len(truth))],
        CLASSES[: probabilities.shape[1]],
        positive,
    )


def one_hot(*predicted: str) -> np.ndarray:
    return np.eye(3)[[CLASSES.index(name) for name in predicted]]


def values(found: Predictions) -> dict[str, float]:
    return {metric.name: metric.value(found) for metric in METRICS}


def test_agrees_with_opengait(golden_folder: Path) -> None:
    stored = np.load(golden_folder / "eval_scoliosis1k.npz")
    expected = json.loads((golden_folder / "eval_scoliosis1k.json").read_text())["result"]
    found = values(
        predictions(class_probabilities(stored["embeddings"]), stored["types"].tolist(), positive=("positive",))
    )
    ours = {name: found[f"published_{name}"] for name in ("precision", "recall", "f1")}
    ours["accuracy"] = found["accuracy"]
    assert {f"scalar/test_{name}/": value for name, value in ours.items()} == pytest.approx(expected, abs=1e-6)
    for name in ("precision", "recall", "f1"):
        assert found[name] == pytest.approx(ours[name])  # every class occurs, and is predicted
    assert 0.5 < found["auroc"] <= 1


def test_sensitivity_and_specificity_by_hand() -> None:
    truth = ["positive", "positive", "positive", "negative", "neutral", "negative", "negative"]
    probabilities = one_hot("positive", "positive", "negative", "negative", "positive", "neutral", "negative")
    one = predictions(probabilities, truth, ("positive",))
    assert one.confusion.classes == CLASSES
    assert one.confusion.counts.tolist() == [[2, 1, 0], [0, 0, 1], [1, 0, 2]]
    found = values(one)
    assert (found["sensitivity"], found["specificity"], found["accuracy"]) == (2 / 3, 3 / 4, 4 / 7)
    assert found["auroc"] == pytest.approx((2 * 3 + 2 * 0.5 + 1 * 3 * 0.5) / (3 * 4))
    both = values(predictions(probabilities, truth, ("positive", "neutral")))
    assert (both["sensitivity"], both["specificity"]) == (3 / 4, 2 / 3)


@pytest.mark.filterwarnings("error")
def test_what_is_not_defined_is_missing_or_zero_by_convention() -> None:
    one = predictions(one_hot("negative", "negative", "negative"), ["negative", "negative", "positive"])
    found = per_class(one)
    np.testing.assert_array_equal(found["precision"], [2 / 3, np.nan, np.nan])
    np.testing.assert_array_equal(found["recall"], [1, np.nan, 0])
    np.testing.assert_allclose(found["f1"], [0.8, np.nan, 0])
    means = values(one)
    expected = {"precision": 2 / 3, "recall": 0.5, "f1": 0.4, "published_precision": 1 / 3}
    expected |= {"published_recall": 0.5, "published_f1": 0.4}
    assert {name: means[name] for name in expected} == pytest.approx(expected)
    assert np.isnan([means["sensitivity"], means["specificity"], means["auroc"]]).all()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("only", "sensitivity", "specificity"), [("positive", 0.5, np.nan), ("negative", np.nan, 0.5)])
def test_a_side_without_items_is_missing_and_not_zero(only: str, sensitivity: float, specificity: float) -> None:
    one = predictions(one_hot("positive", "negative"), [only, only], ("positive",))
    found = estimate(METRICS, one)
    assert found["sensitivity"].value == pytest.approx(sensitivity, nan_ok=True)
    assert found["specificity"].value == pytest.approx(specificity, nan_ok=True)
    assert np.isnan([found["auroc"].value, found["auroc"].low, found["auroc"].high]).all()
    missing = found["specificity" if only == "positive" else "sensitivity"]
    assert np.isnan([missing.low, missing.high]).all()


@pytest.mark.filterwarnings("error")
def test_a_single_class_is_scored_without_a_warning() -> None:
    found = values(predictions(np.ones((4, 1)), ["negative"] * 4))
    assert (found["accuracy"], found["f1"], found["published_f1"]) == (1, 1, 1)
    assert np.isnan(found["auroc"])


@pytest.mark.parametrize("seed", range(3))
def test_area_under_roc_counts_pairs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    score, positive = rng.integers(0, 6, 40) / 5, rng.random(40) < 0.4  # with ties
    truth = ["neutral" if one else "negative" for one in positive]
    found = auroc(predictions(np.stack([1 - score, score], axis=1), truth, ("neutral",)))
    pairs = np.sign(score[positive][:, None] - score[~positive])
    assert found == pytest.approx(((pairs + 1) / 2).mean())


def sampled(seed: int = 0, count: int = 60) -> tuple[np.ndarray, list[str], list[str]]:
    """Probabilities that are right more often than not, true classes, and subjects with two items each."""
    rng = np.random.default_rng(seed)
    true = np.repeat(rng.integers(0, 3, count // 2), 2)
    probabilities = np.round(rng.random((count, 3)) + 0.7 * np.eye(3)[true], 1)  # with ties
    return probabilities, [CLASSES[one] for one in true], [f"s{number // 2:02d}" for number in range(count)]


def test_intervals_are_those_of_metrics_on_drawn_subjects(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against the plain way: draw subjects, copy their items, compute the metrics again."""
    monkeypatch.setattr(predictions_file, "RESAMPLES", 100)
    probabilities, truth, subjects = sampled()
    found = estimate(METRICS, predictions(probabilities, truth, ("positive",), subjects))
    drawn = np.random.default_rng(0).multinomial(30, np.full(30, 1 / 30), size=100)
    names, who = np.unique(subjects, return_inverse=True)
    again: dict[str, list[float]] = {metric.name: [] for metric in METRICS if metric.interval}
    for counts in drawn:
        items = np.repeat(np.arange(len(truth)), counts[who])
        one = predictions(probabilities[items], [truth[item] for item in items], ("positive",))
        for metric in METRICS:
            if metric.interval:
                again[metric.name].append(metric.value(one))
    assert len(names) == 30 and len(again) == 7
    for name, resampled in again.items():
        low, high = found[name].low, found[name].high
        assert (low, high) == pytest.approx(np.nanpercentile(resampled, [2.5, 97.5])), name
        assert 0 <= low <= high <= 1
    assert found["accuracy"].low < found["accuracy"].high


@pytest.mark.filterwarnings("error")
def test_what_is_not_defined_has_no_interval() -> None:
    probabilities, truth, _ = sampled()
    one = estimate(METRICS, predictions(probabilities, truth, subjects=["a"] * 60))
    assert np.isnan([[metric.low, metric.high] for metric in one.values()]).all()
    none_positive = estimate(METRICS, predictions(probabilities, truth))
    for name in ("auroc", "sensitivity"):
        assert np.isnan([none_positive[name].low, none_positive[name].high]).all()
    assert not np.isnan([none_positive["accuracy"].low, none_positive["accuracy"].high]).any()
