"""Retrieval between pairs of conditions: probes of one condition against a gallery of another, view by view.

The protocol of CCGR (Zou et al., AAAI 2024): the accuracy of a pair of conditions is that of their pairs of different
views, averaged within each probe view, then over them; `easy` and `hard` are means over pairs of different conditions.
Its published script leaves a cell without a gallery at 0, and a probe view without probes makes every mean NaN; here
cells that cannot be measured are NaN in `accuracy`, and left out of the metrics.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from datasets.schema.protocol import ProbeSet, Protocol
from evaluation.distances.metric import Metric
from evaluation.retrieval.outcomes import Outcomes, ProtocolResult
from evaluation.retrieval.ranks import first_match_ranks
from evaluation.retrieval.sequences import Sequences


@dataclass(frozen=True, kw_only=True, eq=False)
class ConditionPairTable:
    """One probe set, evaluated for each pair of a probe condition and a gallery condition.

    `probe_conditions` [I] and `gallery_conditions` [J] are those with sequences, sorted; `gallery` [J, V]
    counts the sequences of each gallery condition and view. `outcomes` hold each probe's ranks in each of these cells;
    their mean is over pairs of different conditions and different views, every pair with the same weight.
    """

    name: str
    probe_conditions: tuple[str, ...]
    gallery_conditions: tuple[str, ...]
    views: tuple[str, ...]
    gallery: NDArray[np.int64]
    gallery_subjects: int
    outcomes: Outcomes
    excluded: int = 0

    def accuracy(self, rank: int = 1) -> NDArray[np.float64]:
        """Rank-k in percent of each pair of conditions, [I, J], identical views left out, every probe counted.

        The divisor over gallery views is always V - 1 and over probe views V. A cell without probes or without a
        gallery makes its pair NaN, and so does a single view.
        """
        views = len(self.views)
        cells = self.outcomes.cells(rank, every_probe=True)
        cells[:, self.gallery.ravel() == 0] = np.nan
        cells = self._by_view(cells)
        if views < 2:
            return np.full((cells.shape[0], cells.shape[2]), np.nan)
        other = ~np.eye(views, dtype=bool)[:, None, :]
        return np.where(other, cells, 0.0).sum(axis=(1, 3)) / (views - 1) / views

    def excluding_identical(self, rank: int = 1) -> float:
        """Mean over the pairs of different conditions, in percent: CCGR's number. One NaN pair makes it NaN."""
        return _mean(self.accuracy(rank)[self._different()])

    def identical_only(self, rank: int = 1) -> float:
        """Mean over the pairs of a condition with itself, in percent; NaN without such a pair."""
        return _mean(self.accuracy(rank)[~self._different()])

    def result(self) -> ProtocolResult:
        """The table as one line of results."""
        return ProtocolResult(
            kind="condition-pairs",
            probe_set=self.name,
            outcomes=self.outcomes,
            excluding_identical=self.excluding_identical(),
            identical_only=self.identical_only(),
            num_probes=len(self.outcomes.rows),
            num_gallery=int(self.gallery.sum()),
            num_gallery_subjects=self.gallery_subjects,
            num_excluded=self.excluded,
            row_names=self.probe_conditions,
            column_names=self.gallery_conditions,
            pairs=self._measured(),
        )

    def _measured(self) -> NDArray[np.float64]:
        """Rank-1 in percent of each pair of conditions, [I, J]: the mean over the measured pairs of different views."""
        cells = self._by_view(self.outcomes.cells(1))
        counted = ~np.isnan(cells) & ~np.eye(len(self.views), dtype=bool)[:, None, :]
        sums, number = np.where(counted, cells, 0.0).sum(axis=(1, 3)), counted.sum(axis=(1, 3))
        return np.divide(sums, number, out=np.full(sums.shape, np.nan), where=number > 0)

    def _by_view(self, cells: NDArray[np.float64]) -> NDArray[np.float64]:
        """Cells as probe condition, probe view, gallery condition, gallery view: [I, V, J, V]."""
        views = len(self.views)
        return cells.reshape(len(self.probe_conditions), views, len(self.gallery_conditions), views)

    def _different(self) -> NDArray[np.bool_]:
        return np.array(self.probe_conditions)[:, None] != np.array(self.gallery_conditions)


def condition_pairs(
    sequences: Sequences, protocol: Protocol, probe_set: ProbeSet, metric: Metric, max_rank: int = 5
) -> ConditionPairTable:
    """Evaluate a probe set by pairs of conditions; a sequence may be a probe and in the gallery of other conditions.

    Args:
        sequences: the test set.
        protocol: the views that are compared.
        probe_set: probes and gallery; it names whole conditions.
        metric: see `distances`.
        max_rank: ranks up to this are distinguished.

    Raises:
        UsageError: unknown metric.
    """
    chosen = sequences.select(protocol, probe_set)
    views, subjects, conditions = chosen.view_names, sequences.subjects, sequences.conditions
    of_probes, of_gallery = (np.unique(conditions[some]).tolist() for some in (chosen.probes, chosen.gallery))
    gallery_cells = _by_cell(conditions[chosen.gallery], chosen.views[chosen.gallery], of_gallery, views)
    groups = [chosen.gallery[gallery_cells == cell] for cell in range(len(of_gallery) * len(views))]
    outcomes = Outcomes(
        ranks=first_match_ranks(sequences, chosen.probes, groups, metric, max_rank),
        subjects=subjects[chosen.probes],
        rows=_by_cell(conditions[chosen.probes], chosen.views[chosen.probes], of_probes, views),
        weights=_weights(of_probes, of_gallery, len(views)),
        max_rank=max_rank,
    )
    return ConditionPairTable(
        name=probe_set.name,
        probe_conditions=tuple(of_probes),
        gallery_conditions=tuple(of_gallery),
        views=views,
        gallery=np.bincount(gallery_cells, minlength=len(groups)).reshape(len(of_gallery), len(views)),
        gallery_subjects=len(np.unique(subjects[chosen.gallery])),
        outcomes=outcomes,
        excluded=chosen.num_excluded,
    )


def _by_cell(
    conditions: NDArray[np.str_], views: NDArray[np.str_], names: list[str], view_names: tuple[str, ...]
) -> NDArray[np.int64]:
    """The number of each sequence's condition and view, condition by condition."""
    return np.searchsorted(names, conditions) * len(view_names) + np.searchsorted(view_names, views)


def _weights(of_probes: list[str], of_gallery: list[str], views: int) -> NDArray[np.float64]:
    """1 for the cells of different conditions and different views, [I V, J V]."""
    weights = np.zeros((len(of_probes), views, len(of_gallery), views))
    for (row, one), (column, other) in product(enumerate(of_probes), enumerate(of_gallery)):
        if one != other:
            weights[row, :, column, :] = 1.0 - np.eye(views)
    return weights.reshape(len(of_probes) * views, len(of_gallery) * views)


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if values.size else np.nan
