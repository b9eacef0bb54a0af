"""The figures of Rank-1 and of the training loss are drawn, and refused where nothing can be drawn."""

from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from evaluation.reports.loss_curve import loss_figure
from evaluation.reports.rank1_bars import rank1_figure
from tests.fixtures.results import NAN, ROWS, evaluated, row


def test_figures_are_drawn(tmp_path: Path) -> None:
    rank1_figure([*ROWS, *evaluated()[1:], row("GEI", "walk", 1, 2, "Street")], tmp_path / "rank1.png")
    loss_figure([0, 1, 2], [3.0, NAN, 1.0], tmp_path / "short.png")
    loss_figure(range(100), np.geomspace(5, 1, 100), tmp_path / "long.png")
    loss_figure([7], [1.0], tmp_path / "one.png")
    for name in ("rank1", "short", "long", "one"):
        image = matplotlib.image.imread(tmp_path / f"{name}.png")
        assert image.std() > 0.01, f"{name} is blank"


def test_figures_refuse_what_they_cannot_draw(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no results"):
        rank1_figure([], tmp_path / "rank1.png")
    with pytest.raises(ValueError, match="two results"):
        rank1_figure([ROWS[0], ROWS[0]], tmp_path / "rank1.png")
    with pytest.raises(ValueError, match="2 steps, 1 losses"):
        loss_figure([1, 2], [1.0], tmp_path / "loss.png")
