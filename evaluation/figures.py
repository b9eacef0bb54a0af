"""Shared parts of figures: colours, an empty figure, tidy axes."""

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

PALETTE = ("#2f5d8a", "#d98032", "#4f9463", "#a1506b", "#7a6fb0", "#8a7a5c", "#4aa3b5", "#9a9a9a")


def blank(width: float, height: float) -> Figure:
    """An empty figure of this size in inches, on a canvas of its own: no display, and no global state of pyplot."""
    figure = Figure(figsize=(width, height), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def tidy(axes: Axes) -> None:
    """Remove the top and right spines, and draw pale grid lines."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)
