"""What became of each probe, and the numbers that a results table is made of: Rank-k, mAP, mINP and their intervals.

Probes are counted in cells: a row of cells is a group of probes (a view, a condition with a view), a column is a part
of the gallery. A score is the weighted mean over the cells of the mean over the probes in each. Two conventions:

- *ours*: a probe whose subject does not occur in a part of the gallery cannot be recognised there by anybody, and is
  not counted there; a cell without a counted probe is left out of the mean. How many both are stands beside the score.
- *every probe counts* (the evaluators of OpenGait for pairs of views): without a match it is an error; a cell that
  cannot be measured makes the mean NaN.

It does not know how a protocol chooses probes, gallery and cells.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from evaluation.bootstrap import subject_interval


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcomes:
    """Outcomes of n probes in R x G cells.

    `ranks` [n, G]: at which place of the ranked list the first correct sequence stands, from 1; 0 where there is none.
    It may be cut at `most`: whatever is larger stands for any place further down. `subjects` [n] and `rows` [n]: whose
    each probe is, and its row of cells. `weights` [R, G] of the cells in the score, 0 outside it. `average_precision`
    and `inverse_negative_penalty` [n], in 0..1, where whole lists were ranked (then G is 1); NaN without a match.
    """

    ranks: NDArray[np.integer]
    subjects: NDArray[np.str_]
    rows: NDArray[np.int64]
    weights: NDArray[np.float64]
    most: int
    average_precision: NDArray[np.float64] | None = None
    inverse_negative_penalty: NDArray[np.float64] | None = None

    def cells(self, rank: int, every_probe: bool = False) -> NDArray[np.float64]:
        """Rank-k accuracy of each cell in percent, [R, G]; NaN where no probe is counted.

        A gallery with fewer than k sequences is no hindrance: what is in it counts.
        """
        assert rank <= self.most, f"ranks are known up to {self.most}"
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

    def mean_average_precision(self) -> float:
        """mAP in percent, over the probes with a match; NaN where no whole lists were ranked."""
        return self._mean_of(self.average_precision)

    def mean_inverse_negative_penalty(self) -> float:
        """mINP in percent (Ye et al., TPAMI 2021), over the probes with a match; NaN where no lists were ranked."""
        return self._mean_of(self.inverse_negative_penalty)

    def rank_interval(self, rank: int) -> tuple[float, float]:
        """95% interval of `rank` over subjects, in percent."""
        matched = self.ranks > 0
        return self._interval(matched & (self.ranks <= rank), matched)

    def mean_average_precision_interval(self) -> tuple[float, float]:
        """95% interval of `mean_average_precision` over subjects, in percent."""
        if self.average_precision is None:
            return np.nan, np.nan
        return self._interval(self.average_precision[:, None], self.ranks > 0)

    @property
    def comparisons(self) -> int:
        """How often a probe was compared with a part of the gallery that is in the score."""
        return int((np.bincount(self.rows, minlength=len(self.weights)) * (self.weights > 0).sum(axis=1)).sum())

    @property
    def unmatched(self) -> int:
        """How many of these found no sequence of the probe's subject there, and are left out."""
        missing = np.zeros(len(self.weights), dtype=np.int64)
        for row in np.unique(self.rows):
            missing[row] = ((self.ranks[self.rows == row] == 0) & (self.weights[row] > 0)).sum()
        return int(missing.sum())

    @property
    def missing_cells(self) -> int:
        """How many cells of the score hold no counted probe, and are left out."""
        return int((np.isnan(self.cells(1)) & (self.weights > 0)).sum())

    def _mean(self, cells: NDArray[np.float64]) -> float:
        there = ~np.isnan(cells) & (self.weights > 0)
        return float(np.average(cells[there], weights=self.weights[there])) if there.any() else np.nan

    def _mean_of(self, values: NDArray[np.float64] | None) -> float:
        return np.nan if values is None else self._mean(self._cell_means(100 * values[:, None], self.ranks > 0))

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
class Score:
    """One probe set scored in one kind of protocol.

    `excluding_identical` and `identical_only` are Rank-1 in percent by the convention in which every probe counts:
    without the identical view (or condition) and with it alone; where no pairs are formed, the first is that of the
    whole ranked list and the second NaN. Numbers of probes, gallery sequences and gallery subjects, and of sequences
    that were left out for their view.

    `pairs` [I, J] is Rank-1 in percent of each pair of a probe view (or condition) in `row_names` and a gallery view
    (or condition) in `column_names`, by our convention (NaN: no probe can be counted), the identical pairs included;
    without rows and columns where no pairs are formed.
    """

    kind: str
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
