"""The figure of the training loss."""

from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from evaluation.reports.loss_curve import loss_figure


def test_curves_of_any_length_are_drawn(tmp_path: Path) -> None:
    loss_figure([0, 1, 2], [3.0, np.nan, 1.0], tmp_path / "short.png")
    loss_figure(range(100), np.geomspace(5, 1, 100), tmp_path / "long.png")
    loss_figure([7], [1.0], tmp_path / "one.png")
    for name in ("short", "long", "one"):
        assert matplotlib.image.imread(tmp_path / f"{name}.png").std() > 0.01, f"{name} is blank"


def test_refuses_steps_without_losses(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="2 steps, 1 losses"):
        loss_figure([1, 2], [1.0], tmp_path / "loss.png")
