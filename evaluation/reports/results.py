"""Results of retrieval as rows: one method on one probe set of one collection, by one kind of protocol."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import pandas as pd

from datasets.schema.protocol import ProtocolKind
from evaluation.metrics import UNKNOWN, Estimate, columns, estimate
from evaluation.retrieval.metrics import METRICS
from evaluation.retrieval.outcomes import ProtocolResult

ZeroShot = Literal["", "unseen subjects", "unseen collection", "not known"]
# Kinds of protocol that compare pairs, and what they are pairs of.
PAIRED: Mapping[str, str] = {"view-pairs": "view", "condition-pairs": "condition"}
_NAMES = ("method", "collection", "kind", "probe_set")
_PUBLISHED = ("excluding_identical", "identical_only")
_COUNTS = (
    *("num_probes", "num_gallery", "num_gallery_subjects", "num_comparisons", "num_unmatched", "num_cells"),
    *("num_missing_cells", "num_excluded", "zero_shot"),
)


@dataclass(frozen=True, kw_only=True)
class ResultRow:
    """One method on one probe set: accuracies in percent (NaN: not measurable), and the numbers of what was evaluated.

    `metrics` holds an estimate of each of `evaluation.retrieval.metrics.METRICS`, by name. They leave out what cannot
    be measured (evaluation/retrieval/outcomes.py). `excluding_identical` and `identical_only` are Rank-1 as published
    evaluators count it, over every probe: without the identical view or condition, and with it alone (NaN where the
    gallery is pooled).

    `num_probes` and `num_gallery` count sequences over all views; chance is one in `num_gallery_subjects`. Left out
    are `num_unmatched` of `num_comparisons` (of a probe with a part of the gallery without its subject),
    `num_missing_cells` of `num_cells` (pairs of views or conditions without a counted probe), and `num_excluded`
    sequences of views that the protocol excludes.

    `zero_shot`: what the method was not trained on: the test subjects of a collection, though on other subjects of it
    (`unseen subjects`), or the whole collection; `not known` without its training data; empty for baselines.
    """

    method: str
    collection: str
    kind: ProtocolKind = "view-pairs"
    probe_set: str
    metrics: Mapping[str, Estimate] = field(default_factory=dict)
    excluding_identical: float
    identical_only: float
    num_probes: int
    num_gallery: int
    num_gallery_subjects: int
    num_comparisons: int = 0
    num_unmatched: int = 0
    num_cells: int = 0
    num_missing_cells: int = 0
    num_excluded: int = 0
    zero_shot: ZeroShot = ""

    def metric(self, name: str) -> Estimate:
        """The estimate of a metric; NaN if missing."""
        return self.metrics.get(name, UNKNOWN)

    def tracked(self) -> dict[str, float]:
        """Metrics named `<method>/<collection>/<kind>/<probe set>/<metric>`, without those that are missing.

        Rank-1 as published evaluators count it, for pairs of views: `<method>/<collection>/<probe set>/rank1_<which>`.
        """
        of_row = f"{self.method}/{self.collection}"
        values = columns(METRICS, self.metrics)
        found = {f"{of_row}/{self.kind}/{self.probe_set}/{name}": value for name, value in values.items()}
        if self.kind == "view-pairs":
            found |= {f"{of_row}/{self.probe_set}/rank1_{which}": getattr(self, which) for which in _PUBLISHED}
        return {name: value for name, value in found.items() if not math.isnan(value)}


def to_rows(
    method: str, collection: str, results: Iterable[ProtocolResult], zero_shot: ZeroShot = ""
) -> list[ResultRow]:
    """One row for each result, in their order."""
    rows = []
    for result in results:
        outcomes = result.outcomes
        row = ResultRow(
            method=method,
            collection=collection,
            kind=result.kind,
            probe_set=result.probe_set,
            metrics=estimate(METRICS, outcomes),
            excluding_identical=result.excluding_identical,
            identical_only=result.identical_only,
            num_probes=result.num_probes,
            num_gallery=result.num_gallery,
            num_gallery_subjects=result.num_gallery_subjects,
            num_comparisons=outcomes.comparisons,
            num_unmatched=outcomes.unmatched,
            num_cells=int((outcomes.weights > 0).sum()),
            num_missing_cells=outcomes.missing_cells,
            num_excluded=result.num_excluded,
            zero_shot=zero_shot,
        )
        rows.append(row)
    return rows


def to_frame(rows: Iterable[ResultRow]) -> pd.DataFrame:
    """A line for each row: names, metrics with their intervals, counts; without rows, the columns alone."""
    lines = [
        {name: getattr(row, name) for name in _NAMES}
        | columns(METRICS, row.metrics)
        | {name: getattr(row, name) for name in (*_PUBLISHED, *_COUNTS)}
        for row in rows
    ]
    return pd.DataFrame(lines, columns=[*_NAMES, *columns(METRICS, {}), *_PUBLISHED, *_COUNTS])
