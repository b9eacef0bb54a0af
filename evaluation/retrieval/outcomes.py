"""The outcome of each probe, and means of outcomes with their intervals.

Probes are counted in cells: a row of cells is a group of probes (a view, a condition with a view), a column is a part
of the gallery. A metric is the weighted mean over the cells of the mean over the probes in each. Two conventions:

- *ours*: a probe whose subject does not occur in a part of the gallery cannot be recognised in it, and is not counted;
  a cell without a counted probe is left out of the mean. Results say how many of both are left out.
- *every probe counts* (the evaluators of OpenGait for pairs of views): a probe without a match is an error; a cell that
  cannot be measured makes the mean NaN.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from datasets.schema.protocol import ProtocolKind
from evaluation.bootstrap import subject_interval


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcomes:
    """Outcomes of n probes in R x G cells.

    `ranks` [n, G]: the rank of the first correct sequence, from 1; 0 without a correct one. Ranks above `max_rank` may
    be cut off at `max_rank` + 1. `subjects` [n] and `rows` [n]: the subject of each probe, and its row of cells.
    `weights` [R, G] of the cells in the mean, 0 outside it. `of_lists`: a number in 0..1 of each probe [n], NaN without
    a match, for each metric of whole ranked lists; empty where no whole lists were ranked (else G is 1).
    """

    ranks: NDArray[np.integer]
    subjects: NDArray[np.str_]
    rows: NDArray[np.int64]
    weights: NDArray[np.float64]
    max_rank: int
    of_lists: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)

    def cells(self, rank: int, every_probe: bool = False) -> NDArray[np.float64]:
        """Rank-k accuracy of each cell in percent, [R, G]; NaN where no probe is counted.

        A gallery with fewer than k sequences counts like any other.
        """
        assert rank <= self.max_rank, f"ranks are known up to {self.max_rank}"
        matched = self.ranks > 0
        reached = np.where(matched & (self.ranks <= rank), np.uint8(100), np.uint8(0))
        return self._cell_means(reached, np.ones_like(matched) if every_probe else matched)

    def rank(self, rank: int) -> float:
        """Rank-k accuracy in percent: probes without a match and cells without probes left out. NaN if all are."""
        return self._mean(self.cells(rank))

    def rank_of_every_probe(self, rank: int) -> float:
        """Rank-k accuracy in percent where a probe without a match is an error; one unmeasured cell makes it NaN."""
        cells = self.cells(rank, every_probe=True)[self.weights > 0]
        return float(np.average(cells, weights=self.weights[self.weights > 0])) if cells.size else np.nan

    def rank_interval(self, rank: int) -> tuple[float, float]:
        """95% interval of `rank` over subjects, in percent."""
        matched = self.ranks > 0
        return self._interval(matched & (self.ranks <= rank), matched)

    def list_mean(self, name: str) -> float:
        """Mean in percent of one of `of_lists` over the probes with a match; NaN where no whole lists were ranked."""
        if name not in self.of_lists:
            return np.nan
        return self._mean(self._cell_means(100 * self.of_lists[name][:, None], self.ranks > 0))

    def list_interval(self, name: str) -> tuple[float, float]:
        """95% interval of `list_mean` over subjects, in percent."""
        if name not in self.of_lists:
            return np.nan, np.nan
        return self._interval(self.of_lists[name][:, None], self.ranks > 0)

    @property
    def comparisons(self) -> int:
        """Number of comparisons of a probe with a part of the gallery that is in the mean."""
        return int((np.bincount(self.rows, minlength=len(self.weights)) * (self.weights > 0).sum(axis=1)).sum())

    @property
    def unmatched(self) -> int:
        """Number of these comparisons without a sequence of the probe's subject in the gallery, which are left out."""
        missing = np.zeros(len(self.weights), dtype=np.int64)
        for row in np.unique(self.rows):
            missing[row] = ((self.ranks[self.rows == row] == 0) & (self.weights[row] > 0)).sum()
        return int(missing.sum())

    @property
    def missing_cells(self) -> int:
        """Number of cells with a weight but without a counted probe, which are left out."""
        return int((np.isnan(self.cells(1)) & (self.weights > 0)).sum())

    def _mean(self, cells: NDArray[np.float64]) -> float:
        measured = ~np.isnan(cells) & (self.weights > 0)
        return float(np.average(cells[measured], weights=self.weights[measured])) if measured.any() else np.nan

    def _interval(self, outcomes: NDArray, counted: NDArray[np.bool_]) -> tuple[float, float]:
        low, high = subject_interval(outcomes, counted, self.subjects, self.rows, self.weights)
        return 100 * low, 100 * high

    def _cell_means(self, outcomes: NDArray, counted: NDArray[np.bool_]) -> NDArray[np.float64]:
        means = np.full(self.weights.shape, np.nan)
        for row in np.unique(self.rows):
            mine = self.rows == row
            number = counted[mine].sum(axis=0)
            reached = np.where(counted[mine], outcomes[mine], 0).sum(axis=0, dtype=np.float64)
            np.divide(reached, number, out=means[row], where=number > 0)
        return means


@dataclass(frozen=True, kw_only=True, eq=False)
class ProtocolResult:
    """One probe set evaluated by one kind of protocol.

    `excluding_identical` and `identical_only` are Rank-1 in percent by the convention in which every probe counts:
    without the identical view (or condition) and with it alone; where no pairs are formed, the first is that of the
    whole ranked list and the second NaN. Beside them the numbers of probes, gallery sequences and gallery subjects, and
    of sequences that were left out for their view.

    `pairs` [I, J] is Rank-1 in percent of each pair of a probe view (or condition) in `row_names` and a gallery view
    (or condition) in `column_names`, by our convention (NaN: no probe can be counted), the identical pairs included;
    without rows and columns where no pairs are formed.
    """

    kind: ProtocolKind
    probe_set: str
    outcomes: Outcomes
    excluding_identical: float
    identical_only: float
    num_probes: int
    num_gallery: int
    num_gallery_subjects: int
    num_excluded: int
    row_names: tuple[str, ...] = ()
    column_names: tuple[str, ...] = ()
    pairs: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 0)))
