"""Measures by subject: errors and their weights add up."""

import numpy as np
import pytest

from evaluation.retrieval.outcomes import Outcomes, ProtocolResult
from evaluation.scaling.by_subject import BySubject, class_error, mean_by_subject, rank1_errors, subject_interval_of


def test_values_by_subject_make_up_the_whole() -> None:
    found = mean_by_subject(np.array([1.0, 2.0, 3.0, 10.0]), np.array(["b", "a", "a", "b"]))
    assert (found.subjects, found.values, found.weights) == (("a", "b"), (2.5, 5.5), (2.0, 2.0))
    assert found.value == np.average(found.values, weights=found.weights) == 4.0


def test_errors_of_subjects_and_of_sets_without_probes() -> None:
    def result(name: str, ranks: list[list[int]]) -> ProtocolResult:
        outcomes = Outcomes(
            ranks=np.array(ranks).reshape(-1, 2),
            subjects=np.array(["a", "a", "b", "c"])[: len(ranks)],
            rows=np.array([0, 1, 0, 1])[: len(ranks)],
            weights=1 - np.eye(2),
            max_rank=5,
        )
        counts = dict.fromkeys(("num_probes", "num_gallery", "num_gallery_subjects", "num_excluded"), 0)
        nan = {"excluding_identical": np.nan, "identical_only": np.nan}
        return ProtocolResult(kind="view-pairs", probe_set=name, outcomes=outcomes, **nan, **counts)

    # Row 0 counts in column 1, row 1 in column 0; c has no match where it counts.
    nm, none = result("NM", [[1, 1], [2, 1], [1, 3], [0, 1]]), result("CL", [])
    found = rank1_errors([nm, none], "X")
    assert list(found) == ["error/X/view-pairs/NM"]
    error = found["error/X/view-pairs/NM"]
    assert error.value == pytest.approx(75)  # half of the cell of row 0, all of that of row 1
    assert (error.subjects, error.values, error.weights) == (("X/a", "X/b"), (50.0, 100.0), (2.0, 1.0))
    both = rank1_errors([nm, result("BG", [[1, 1], [1, 1], [1, 1], [1, 1]])], "X")["error/X/view-pairs/mean"]
    assert both.value == pytest.approx(37.5) and both.subjects == ("X/a", "X/b") and both.values == (25.0, 50.0)


def test_classes_count_alike_and_people_weigh_what_their_rows_do() -> None:
    truth, answers = np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1])
    found = class_error(answers, truth, np.array(["a", "a", "b", "b"]))
    assert found.value == pytest.approx(100 * (1 / 3 + 0) / 2)
    assert found.subjects == ("a", "b") and found.values[0] == 0
    assert found.values[1] == pytest.approx(100 * (1 / 3) / (1 / 3 + 1))
    assert np.average(found.values, weights=found.weights) == pytest.approx(found.value)


def test_the_interval_is_that_of_the_weighted_mean_over_subjects() -> None:
    values = np.random.default_rng(1).normal(10, 2, 400)
    many = BySubject(value=10.0, subjects=tuple(map(str, range(400))), values=tuple(values), weights=(1.0,) * 400)
    low, high = subject_interval_of(many)
    error = values.std() / 20
    assert (low, high) == pytest.approx((values.mean() - 1.96 * error, values.mean() + 1.96 * error), abs=0.05)
    two = BySubject(value=2.0, subjects=("a", "b"), values=(1.0, 5.0), weights=(3.0, 1.0))
    assert subject_interval_of(two) == (1.0, 5.0)
    alone = BySubject(value=1.0, subjects=("a",), values=(1.0,), weights=(1.0,))
    assert np.isnan(subject_interval_of(alone)).all()
