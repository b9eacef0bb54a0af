"""The figure of what was measured, and the intervals that it shows."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from evaluation.scaling.by_subject import BySubject
from evaluation.scaling.measured_figure import measured_figure, subject_interval_of
from tests.fixtures.study_records import cells_of, plan_of


def test_the_figure_shows_the_values(tmp_path: Path) -> None:
    cells = cells_of(plan_of(tmp_path, sizes=("xxs", "xs"), seeds=(0,)))
    titles = {"loss": "Loss", "error/X/view-pairs/NM": "Error"}
    measured_figure(cells, titles, tmp_path / "all.png")
    measured_figure(cells[:4], titles, tmp_path / "one.png")
    both, one = (imread(tmp_path / name) for name in ("all.png", "one.png"))
    assert both.shape == one.shape
    assert (both != one).any()


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
