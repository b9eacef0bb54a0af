"""Pooled galleries: each probe ranks the whole gallery, or all of it but its own subject in its own view.

Rank-k, mAP and mINP as in the evaluator of OpenGait (`evaluate_rank`, `evaluate_many`, `compute_ACC_mAP`). Distances
are float32; among equal ones the first sequence comes first, where OpenGait's order depends on an unstable sort. A
submission is the same ranking without metrics: the file for GREW's server (Zhu et al., ICCV 2021), in the form of
OpenGait's `GREW_submission`.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from datasets.schema.protocol import ProbeSet, Protocol, ProtocolKind
from evaluation.distances.metric import Metric, distances
from evaluation.retrieval.metrics import METRICS
from evaluation.retrieval.outcomes import Outcomes, ProtocolResult
from evaluation.retrieval.sequences import ProbeGallery, Sequences

DEPTH = 20  # gallery sequences that a submission lists for each probe
_BLOCK = 256  # probes whose distances from the whole gallery are in memory at once
_GALLERY = 4096  # gallery sequences whose embeddings are in memory at once


def pooled_gallery(
    sequences: Sequences, protocol: Protocol, probe_set: ProbeSet, kind: ProtocolKind, metric: Metric
) -> ProtocolResult:
    """Evaluate a probe set against its whole gallery.

    kind: `pooled`; `pooled-other-views` without the gallery sequences of the probe's own subject and view;
    `cross-view-gallery`, the same averaged within each probe view and then over the views.
    """
    chosen = sequences.select(protocol, probe_set)
    ranks, of_lists = _rank(sequences, chosen, metric, other_views=kind != "pooled")
    rows = np.zeros(len(chosen.probes), dtype=np.int64)
    if kind == "cross-view-gallery":
        rows = np.searchsorted(chosen.view_names, chosen.views[chosen.probes])
    outcomes = Outcomes(
        ranks=ranks[:, None],
        subjects=sequences.subjects[chosen.probes],
        rows=rows,
        weights=np.ones((len(chosen.view_names) if kind == "cross-view-gallery" else 1, 1)),
        max_rank=max(len(chosen.gallery), 50),
        of_lists=of_lists,
    )
    return ProtocolResult(
        kind=kind,
        probe_set=probe_set.name,
        outcomes=outcomes,
        excluding_identical=outcomes.rank_of_every_probe(1),
        identical_only=np.nan,
        num_probes=len(chosen.probes),
        num_gallery=len(chosen.gallery),
        num_gallery_subjects=len(np.unique(sequences.subjects[chosen.gallery])),
        num_excluded=chosen.num_excluded,
    )


def submission(
    sequences: Sequences, protocol: Protocol, probe_set: ProbeSet, metric: Metric, depth: int = DEPTH
) -> pd.DataFrame:
    """The subjects of the `depth` nearest gallery sequences of each probe, one row a probe.

    Columns `videoId` (the probe's view, which names it), `rank1`, `rank2`, ... A subject occurs as often as its
    sequences do; a number loses its leading zeros, as the server expects. With fewer gallery sequences than `depth` the
    rest of a row is empty, where OpenGait stops. Among equal distances the first sequence comes first.
    """
    chosen = sequences.select(protocol, probe_set)
    subjects = [str(int(name)) if name.isdecimal() else name for name in sequences.subjects[chosen.gallery].tolist()]
    rows = []
    for start in range(0, len(chosen.probes), _BLOCK):
        mine = chosen.probes[start : start + _BLOCK]
        distance = distances_to(sequences, mine, chosen.gallery, metric)
        nearest = np.argsort(distance, axis=1, kind="stable")[:, :depth]
        rows += [[subjects[index] for index in row] + [""] * (depth - len(row)) for row in nearest.tolist()]
    table = pd.DataFrame(rows, columns=[f"rank{rank}" for rank in range(1, depth + 1)])
    table.insert(0, "videoId", sequences.views[chosen.probes])
    return table


def _rank(
    sequences: Sequences, chosen: ProbeGallery, metric: Metric, *, other_views: bool
) -> tuple[NDArray[np.int64], dict[str, NDArray[np.float64]]]:
    """Of each probe [n]: rank of the first match (0: none), and the metrics of its whole list (NaN: none)."""
    probes, gallery = chosen.probes, chosen.gallery
    ranks = np.zeros(len(probes), dtype=np.int64)
    of_list = {one.name: one.of_list for one in METRICS if one.of_list is not None}
    of_lists = {name: np.full(len(probes), np.nan) for name in of_list}
    for start in range(0, len(probes), _BLOCK):
        mine = probes[start : start + _BLOCK]
        distance = distances_to(sequences, mine, gallery, metric)
        same = sequences.subjects[mine, None] == sequences.subjects[gallery]
        if other_views:
            own_view = same & (chosen.views[mine, None] == chosen.views[gallery])
            same &= ~own_view
            distance[own_view] = np.inf  # behind everything that is ranked
        for index, (row, matches) in enumerate(zip(distance, same, strict=True), start):
            if matches.any():
                found = match_ranks(row, np.flatnonzero(matches))
                ranks[index] = found[0]
                for name, compute in of_list.items():
                    of_lists[name][index] = compute(found)
    return ranks, of_lists


def match_ranks(distance: NDArray[np.float32], matches: NDArray[np.int64]) -> NDArray[np.int64]:
    """Ranks of the matches, ascending from 1; equal distances are in the order of the gallery.

    Counting closer sequences costs one comparison for each match and gallery sequence; sorting the gallery costs more.
    """
    own = distance[matches, None]
    before = np.count_nonzero(distance < own, axis=1)
    equal = distance == own
    tied = [np.count_nonzero(row[:match]) for row, match in zip(equal, matches, strict=True)]
    return np.sort(before + np.array(tied)) + 1


def distances_to(
    sequences: Sequences, probes: NDArray[np.int64], gallery: NDArray[np.int64], metric: Metric
) -> NDArray[np.float32]:
    """Distances [p, g] of sequences by their numbers, with a bounded part of the gallery in memory."""
    x = sequences.embeddings[probes]
    result = np.empty((len(probes), len(gallery)), dtype=np.float32)
    for start in range(0, len(gallery), _GALLERY):
        y = sequences.embeddings[gallery[start : start + _GALLERY]]
        result[:, start : start + _GALLERY] = distances(x, y, metric)
    return result
