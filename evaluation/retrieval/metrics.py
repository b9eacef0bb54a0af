"""The metrics of retrieval. To add one, add an entry to METRICS.

Values are in percent. They are means over the probes of each cell, then over cells (evaluation/retrieval/outcomes.py),
of a number in 0..1 for each probe: whether its first correct sequence is among the first k (Rank-k), or a function of
the ranks of all its correct sequences (mAP, mINP; where whole lists are ranked, in pooled galleries).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.metrics import Metric
from evaluation.retrieval.outcomes import Outcomes


@dataclass(frozen=True, kw_only=True)
class RetrievalMetric(Metric[Outcomes]):
    """A metric of the outcomes of probes.

    `of_list` makes a number in 0..1 of the ranks of all correct sequences of a probe, ascending from 1, at least one;
    None for metrics of the first correct sequence alone.
    """

    of_list: Callable[[NDArray[np.int64]], float] | None = None


def average_precision(ranks: NDArray[np.int64]) -> float:
    """The mean over the correct sequences of the precision at each."""
    return float(np.mean(np.arange(1, len(ranks) + 1) / ranks))


def inverse_negative_penalty(ranks: NDArray[np.int64]) -> float:
    """The share of correct sequences among those down to the last correct one (Ye et al., TPAMI 2021)."""
    return len(ranks) / int(ranks[-1])


def _rank(k: int, has_interval: bool = False) -> RetrievalMetric:
    first = "sequence is" if k == 1 else f"{k} sequences hold one"
    return RetrievalMetric(
        name=f"rank{k}",
        title=f"rank-{k}",
        meaning=f"share of the probes whose nearest {first} of the same subject",
        value=lambda outcomes: outcomes.rank(k) if k <= outcomes.max_rank else np.nan,
        interval=(lambda outcomes: outcomes.rank_interval(k)) if has_interval else None,
        interval_in_tables=has_interval,
    )


def _of_list(
    name: str, title: str, meaning: str, of_list: Callable[[NDArray[np.int64]], float], has_interval: bool = False
) -> RetrievalMetric:
    return RetrievalMetric(
        name=name,
        title=title,
        meaning=meaning,
        value=lambda outcomes: outcomes.list_mean(name),
        interval=(lambda outcomes: outcomes.list_interval(name)) if has_interval else None,
        of_list=of_list,
    )


METRICS: tuple[RetrievalMetric, ...] = (
    _rank(1, has_interval=True),
    _rank(5),
    _rank(10),
    _rank(20),
    _of_list(
        "map", "mAP", "average precision of the ranked list, mean over probes", average_precision, has_interval=True
    ),
    _of_list(
        "minp",
        "mINP",
        "share of correct sequences in the ranked list down to the last correct one, mean over probes",
        inverse_negative_penalty,
    ),
)
