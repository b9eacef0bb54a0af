"""The training loss as a figure."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from evaluation.figures import PALETTE, blank, tidy


def loss_figure(steps: Sequence[int], losses: Sequence[float], path: Path) -> None:
    """Training loss over optimizer steps; a long curve is drawn pale, with its running mean over it.

    The mean is centred: a trailing one would lag behind a falling loss. Losses that are not finite are gaps.

    Raises:
        ValueError: no points, steps and losses that differ in number, or a suffix that matplotlib cannot write.
        OSError: the folder does not exist or cannot be written.
    """
    if len(steps) != len(losses) or not len(steps):
        raise ValueError(f"expected one loss per step and at least one, got {len(steps)} steps, {len(losses)} losses")
    values = np.array(losses, dtype=float)
    values[~np.isfinite(values)] = np.nan
    window = len(values) // 20
    figure = blank(width=7.0, height=4.0)
    axes = figure.subplots()
    marker = "o" if len(values) == 1 else None  # a line through one point is invisible
    if window < 3:
        axes.plot(steps, values, color=PALETTE[0], linewidth=1.5, marker=marker)
    else:
        mean = np.convolve(values, np.full(window, 1 / window), mode="valid")
        axes.plot(steps, values, color=PALETTE[0], alpha=0.3, linewidth=0.8, label="as logged")
        middle = slice(window // 2, window // 2 + len(mean))
        axes.plot(steps[middle], mean, color=PALETTE[0], linewidth=1.8, label=f"mean of {window} points")
        axes.legend(frameon=False)
    axes.set_xlabel("Step")
    axes.set_ylabel("Loss")
    tidy(axes)
    figure.savefig(path)
