"""Bars of Rank-1 accuracy."""

from pathlib import Path

import matplotlib.image
import pytest

from evaluation.reports.rank1_bars import rank1_figure
from tests.fixtures.results import ROWS, evaluated, row


def test_bars_are_drawn(tmp_path: Path) -> None:
    rank1_figure([*ROWS, *evaluated()[1:], row("GEI", "walk", 1, 2, "Street")], tmp_path / "rank1.png")
    assert matplotlib.image.imread(tmp_path / "rank1.png").std() > 0.01


def test_refuses_what_it_cannot_draw(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no results"):
        rank1_figure([], tmp_path / "rank1.png")
    with pytest.raises(ValueError, match="two results"):
        rank1_figure([ROWS[0], ROWS[0]], tmp_path / "rank1.png")
