"""What a metric is: its name, its meaning, how it is computed, how it is shown, and the reading of lists of metrics.

The metrics are listed in evaluation/retrieval/metrics.py and evaluation/classification/metrics.py. Tables, CSV files,
MLflow and legends follow these lists, so that a new metric is one more entry.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

Result = TypeVar("Result")


@dataclass(frozen=True)
class Estimate:
    """The value of a metric and its 95% interval over subjects; NaN for what cannot be measured or is not computed."""

    value: float
    low: float = math.nan
    high: float = math.nan


UNKNOWN = Estimate(math.nan)


@dataclass(frozen=True, kw_only=True)
class Metric(Generic[Result]):
    """One number that says how good a result is.

    Args:
        name: the column in CSV files and the last part of the name in MLflow; with an interval also `<name>_low` and
            `<name>_high`.
        title: the heading in tables.
        meaning: what it measures, for the legend of a report.
        value: computes it; NaN where it cannot be measured.
        interval: computes the lower and the upper end of its 95% interval over subjects; None for no interval.
        higher_is_better: for the legend.
        in_tables: whether tables show it; CSV files and MLflow have every metric.
        interval_in_tables: whether they show its interval, too.
    """

    name: str
    title: str
    meaning: str
    value: Callable[[Result], float]
    interval: Callable[[Result], tuple[float, float]] | None = None
    higher_is_better: bool = True
    in_tables: bool = True
    interval_in_tables: bool = False


def estimate(metrics: Iterable[Metric[Result]], result: Result) -> dict[str, Estimate]:
    """Every metric of a result, by name."""
    found = {}
    for metric in metrics:
        low, high = metric.interval(result) if metric.interval else (math.nan, math.nan)
        found[metric.name] = Estimate(metric.value(result), low, high)
    return found


def columns(metrics: Iterable[Metric[Result]], estimates: Mapping[str, Estimate]) -> dict[str, float]:
    """Values and ends of intervals by the names of their columns, in the order of the list; NaN for what is missing."""
    found = {}
    for metric in metrics:
        one = estimates.get(metric.name, UNKNOWN)
        found[metric.name] = one.value
        if metric.interval:
            found |= {f"{metric.name}_low": one.low, f"{metric.name}_high": one.high}
    return found


def legend(metrics: Iterable[Metric[Result]]) -> str:
    """What the metrics in the tables of a report mean, as a list in Markdown."""
    lines = []
    for metric in metrics:
        if metric.in_tables:
            better = "higher" if metric.higher_is_better else "lower"
            lines.append(f"- {metric.title}: {metric.meaning} ({better} is better)")
    return "\n".join(lines)
