"""Retrieval between pairs of views: each probe view against each gallery view on its own, then averaged.

The arithmetic is that of the OpenGait evaluator (single-view gallery), so that numbers compare with the published ones.

A number that cannot be measured is NaN, never 0. In `ViewPairTable`, missing data is treated in three ways:

- a probe whose subject does not occur in the gallery view is an error of the method, as in OpenGait;
- a probe view without probes is a row of NaN, and so are the means over it, as in OpenGait;
- a gallery view without sequences is a column of NaN; OpenGait raises an exception.

Its `outcomes` follow the other convention (evaluation/retrieval/outcomes.py): what cannot be measured is left out, and
counted.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from datasets.schema.protocol import ProbeSet, Protocol
from evaluation.distances.metric import Metric
from evaluation.retrieval.outcomes import Outcomes, ProtocolResult
from evaluation.retrieval.ranks import first_match_ranks
from evaluation.retrieval.sequences import Sequences


@dataclass(frozen=True, kw_only=True, eq=False)
class ViewPairTable:
    """One probe set, evaluated for each pair of a probe view and a gallery view.

    `rank1` [V, V] is the accuracy in percent, rows probe views, columns gallery views, rounded to two decimals;
    `probes` [V] and `gallery` [V] count the sequences of each view, `gallery_subjects` the subjects of all views.
    `outcomes` hold each probe's ranks in each gallery view; their mean is over the pairs of different views.
    """

    name: str
    views: tuple[str, ...]
    rank1: NDArray[np.float64]
    probes: NDArray[np.int64]
    gallery: NDArray[np.int64]
    gallery_subjects: int
    outcomes: Outcomes
    excluded: int = 0

    def by_probe_view(self, rank: int = 1) -> NDArray[np.float64]:
        """Rank-k of each probe view in percent, [V]: the mean over the other views (OpenGait evaluator, `de_diag`).

        The divisor is always V - 1; a row with a NaN cell is NaN. NaN with a single view.
        """
        others = len(self.views) - 1
        if others == 0:
            return np.full(1, np.nan)
        cells = self.cells(rank)
        return (cells - np.diag(np.diag(cells))).sum(axis=1) / others

    def excluding_identical(self, rank: int = 1) -> float:
        """Mean of `by_probe_view` in percent: the number that papers report. One NaN cell makes it NaN."""
        return float(self.by_probe_view(rank).mean())

    def identical_only(self) -> float:
        """Mean of the diagonal in percent: probe and gallery from the same view. One NaN cell makes it NaN."""
        return float(np.diag(self.rank1).mean())

    def cells(self, rank: int) -> NDArray[np.float64]:
        """Rank-k of each pair of views in percent, as `rank1`, [V, V]."""
        if rank == 1:
            return self.rank1
        return _rounded(self.outcomes, self.gallery, rank)

    def result(self) -> ProtocolResult:
        """The table as one line of results."""
        return ProtocolResult(
            kind="view-pairs",
            probe_set=self.name,
            outcomes=self.outcomes,
            excluding_identical=self.excluding_identical(),
            identical_only=self.identical_only(),
            num_probes=int(self.probes.sum()),
            num_gallery=int(self.gallery.sum()),
            num_gallery_subjects=self.gallery_subjects,
            num_excluded=self.excluded,
            row_names=self.views,
            column_names=self.views,
            pairs=self.outcomes.cells(1),
        )


def view_pairs(
    sequences: Sequences, protocol: Protocol, probe_set: ProbeSet, metric: Metric, max_rank: int = 5
) -> ViewPairTable:
    """Evaluate a probe set, each probe view against each gallery view alone (OpenGait evaluator).

    The views of the table are the sorted view names of all sequences, as the protocol compares them and without those
    it excludes, whether or not the probe set uses their conditions. A probe counts as recognised if the nearest
    sequence of the gallery view is of its subject; among exactly equal distances the first sequence in the order of
    the test set counts.

    Args:
        sequences: the test set.
        protocol: the views that are compared.
        probe_set: probes and gallery.
        metric: see `distances`.
        max_rank: ranks up to this are distinguished.

    Raises:
        UsageError: unknown metric.
    """
    chosen = sequences.select(protocol, probe_set)
    names = chosen.view_names
    groups = [chosen.gallery[chosen.views[chosen.gallery] == view] for view in names]
    rows = np.searchsorted(names, chosen.views[chosen.probes])
    outcomes = Outcomes(
        ranks=first_match_ranks(sequences, chosen.probes, groups, metric, max_rank),
        subjects=sequences.subjects[chosen.probes],
        rows=rows,
        weights=1.0 - np.eye(len(names)),
        max_rank=max_rank,
    )
    gallery = np.array([len(group) for group in groups])
    return ViewPairTable(
        name=probe_set.name,
        views=names,
        rank1=_rounded(outcomes, gallery, 1),
        probes=np.bincount(rows, minlength=len(names)),
        gallery=gallery,
        gallery_subjects=len(np.unique(sequences.subjects[chosen.gallery])),
        outcomes=outcomes,
        excluded=chosen.num_excluded,
    )


def _rounded(outcomes: Outcomes, gallery: NDArray[np.int64], rank: int) -> NDArray[np.float64]:
    """Accuracy in percent [V, V] to two decimals, every probe counted; without gallery sequences a cell is NaN."""
    cells = np.round(outcomes.cells(rank, every_probe=True), 2)
    cells[:, gallery == 0] = np.nan
    return cells
