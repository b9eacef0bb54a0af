"""The figures of scaling laws: each is drawn for grids and for scattered runs, and shows what it was given."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from benchmarks.scaling_fits import chinchilla, grid
from evaluation.scaling import plots
from evaluation.scaling.compute_optimal import envelope, isoflop
from evaluation.scaling.law_bootstrap import bootstrap
from evaluation.scaling.law_fits import fit_error, fit_flop_rule, fit_loss
from evaluation.scaling.laws import FlopRule
from evaluation.scaling.panels import levels, power_of_ten, short
from evaluation.scaling.predictions import hold_out_largest
from evaluation.scaling.runs import Runs
from tests.fixtures.study_records import cells_of, plan_of


def drawn(path: Path) -> np.ndarray:
    """The picture, [H, W, 3]; it must hold more than a frame."""
    picture = imread(path)[..., :3]
    assert (picture < 0.9).any(axis=2).mean() > 0.01
    return picture


@pytest.mark.parametrize("study", [grid(5, 4, 100), chinchilla], ids=["grid", "scattered"])
def test_figures_of_a_study(tmp_path: Path, study) -> None:
    runs = study(np.random.default_rng(0), 0.01)
    fit, rule = fit_loss(runs), fit_flop_rule(runs)
    draws = bootstrap(fit, runs, seed=0, repeats=50)
    plots.loss_figure(runs, fit, draws, rule, tmp_path / "loss.png")
    plots.allocation_figure(runs, fit, draws, rule, tmp_path / "bare.png")
    plots.allocation_figure(runs, fit, draws, rule, tmp_path / "allocation.png", best=envelope(runs))
    plots.prediction_figure(runs, fit, tmp_path / "alone.png")
    held = hold_out_largest(runs, seed=0, repeats=50)
    plots.prediction_figure(runs, fit, tmp_path / "prediction.png", held)
    drawn(tmp_path / "loss.png")
    assert (drawn(tmp_path / "bare.png") != drawn(tmp_path / "allocation.png")).any()
    assert (drawn(tmp_path / "alone.png") != drawn(tmp_path / "prediction.png")).any()
    with pytest.raises(ValueError, match="not supported"):
        plots.prediction_figure(runs, fit, tmp_path / "prediction.nothing")


def test_repeated_data_and_subjects_do_not_hinder_the_figure(tmp_path: Path) -> None:
    runs = grid(4, 4, 100)(np.random.default_rng(0), 0.01)
    runs = replace(runs, unique=np.minimum(runs.unique, 1e5), by_subject=np.tile(runs.loss[:, None], 3))
    fit = fit_loss(runs, decay=15.0)
    draws = bootstrap(fit, runs, seed=0, repeats=50)
    plots.loss_figure(runs, fit, draws, fit_flop_rule(runs), tmp_path / "loss.png")
    drawn(tmp_path / "loss.png")


def test_figures_of_equal_budgets(tmp_path: Path) -> None:
    rule = FlopRule(scale=6.0)
    flop, parameters = (axis.ravel() for axis in np.meshgrid([1e12, 1e13, 1e14, 3e15], np.geomspace(3e5, 3e7, 6)))
    seen = rule.seen(parameters, flop)
    loss = 0.6 + 56 / parameters**0.35 + 79 / seen**0.4  # the smallest and the largest budget have no minimum here
    runs = Runs(parameters=parameters, seen=seen, unique=seen, flop=flop, loss=loss)
    curves = isoflop(runs, seed=0, repeats=50)
    plots.isoflop_figure(runs, curves, tmp_path / "isoflop.png")
    drawn(tmp_path / "isoflop.png")
    fit = fit_loss(runs)
    draws = bootstrap(fit, runs, seed=0, repeats=50)
    plots.allocation_figure(runs, fit, draws, rule, tmp_path / "all.png", curves, envelope(runs))
    drawn(tmp_path / "all.png")


def test_figure_of_errors_with_laws_for_some_axes(tmp_path: Path) -> None:
    runs = grid(5, 4, 100)(np.random.default_rng(0), 0.01)
    errors = replace(runs, loss=20 * runs.loss)
    longest = errors.take(errors.seen > 1.9e6)
    laws = {}
    for axis, some, shift in (("flop", errors, None), ("parameters", longest, 0.0)):
        fit = fit_error(some, axis, shift=shift)
        laws[axis] = (some, fit, bootstrap(fit, some, seed=0, repeats=50))
    plots.error_figure(errors, "Rank-1 error (%)", laws, tmp_path / "laws.png")
    plots.error_figure(errors, "Rank-1 error (%)", {}, tmp_path / "points.png")
    assert (drawn(tmp_path / "laws.png") != drawn(tmp_path / "points.png")).any()


def test_numbers_on_axes_can_be_read() -> None:
    assert [short(value) for value in (0.5, 404, 134.96e6, 1.5e12)] == ["0.5", "404", "135M", "1.5T"]
    assert [power_of_ten(value) for value in (1e13, 3.2e16, 1e15)] == ["$10^{13}$", r"$3.2\times10^{16}$", "$10^{15}$"]
    np.testing.assert_allclose(levels(np.array([3.0, 1.0, 1.0 + 1e-9, 2.0])), [1, 2, 3])
    assert len(levels(np.geomspace(1, 1e6, 200))) == 4


def test_what_was_measured_is_drawn_without_a_law(tmp_path: Path) -> None:
    cells = cells_of(plan_of(tmp_path, sizes=("xxs", "xs"), seeds=(0,)))
    titles = {"loss": "Loss", "error/X/view-pairs/NM": "Error"}
    plots.measured_figure(cells, titles, tmp_path / "all.png")
    plots.measured_figure(cells[:4], titles, tmp_path / "one.png")
    both, one = (imread(tmp_path / name) for name in ("all.png", "one.png"))
    assert both.shape == one.shape
    assert (both != one).any()
