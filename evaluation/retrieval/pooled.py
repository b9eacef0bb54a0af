"""Pooled galleries: each probe ranks the whole gallery, or all of it but its own subject in its own view.

Rank-k, mAP and mINP as in the evaluator of OpenGait (`evaluate_rank`, `evaluate_many`, `compute_ACC_mAP`). Distances
are float32; among equal ones the first sequence comes first, where OpenGait leaves it to an unstable sort. It does not
know how outcomes are averaged.
"""

import numpy as np
from numpy.typing import NDArray

from datasets.schema.protocol import ProbeSet, Protocol, ProtocolKind
from evaluation.distances.metric import Metric, distances
from evaluation.retrieval.outcomes import Outcomes, Score
from evaluation.retrieval.sequences import Selection, Sequences

_BLOCK = 256  # probes whose distances from the whole gallery are in memory at once
_GALLERY = 4096  # gallery sequences whose embeddings are in memory at once


def pooled_gallery(
    sequences: Sequences, protocol: Protocol, probe_set: ProbeSet, kind: ProtocolKind, metric: Metric
) -> Score:
    """Score a probe set against its whole gallery.

    kind: `pooled`; `pooled-other-views` without the gallery sequences of the probe's own subject and view;
    `cross-view-gallery`, the same averaged within each probe view and then over the views.
    """
    chosen = sequences.select(protocol, probe_set)
    ranks, precision, penalty = _rank(sequences, chosen, metric, other_views=kind != "pooled")
    rows = np.zeros(len(chosen.probes), dtype=np.int64)
    if kind == "cross-view-gallery":
        rows = np.searchsorted(chosen.view_names, chosen.views[chosen.probes])
    outcomes = Outcomes(
        ranks=ranks[:, None],
        subjects=sequences.subjects[chosen.probes],
        rows=rows,
        weights=np.ones((len(chosen.view_names) if kind == "cross-view-gallery" else 1, 1)),
        most=max(len(chosen.gallery), 50),
        average_precision=precision,
        inverse_negative_penalty=penalty,
    )
    return Score(
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


def _rank(
    sequences: Sequences, chosen: Selection, metric: Metric, *, other_views: bool
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Of each probe [n]: rank of the first match (0: none), average precision, inverse negative penalty (NaN: none)."""
    probes, gallery = chosen.probes, chosen.gallery
    ranks = np.zeros(len(probes), dtype=np.int64)
    precision, penalty = np.full((2, len(probes)), np.nan)
    for start in range(0, len(probes), _BLOCK):
        mine = probes[start : start + _BLOCK]
        distance = distances_to(sequences, mine, gallery, metric)
        same = sequences.subjects[mine, None] == sequences.subjects[gallery]
        if other_views:
            own_view = same & (chosen.views[mine, None] == chosen.views[gallery])
            same &= ~own_view
            distance[own_view] = np.inf  # behind everything that is ranked
        for place, (row, matches) in enumerate(zip(distance, same, strict=True), start):
            if matches.any():
                found = match_ranks(row, np.flatnonzero(matches))
                ranks[place] = found[0]
                precision[place] = np.mean(np.arange(1, len(found) + 1) / found)
                penalty[place] = len(found) / found[-1]
    return ranks, precision, penalty


def match_ranks(distance: NDArray[np.float32], matches: NDArray[np.int64]) -> NDArray[np.int64]:
    """Places of the matches in the ranked list, ascending from 1; equal distances stand in the order of the gallery.

    Counting what is closer costs one comparison with each sequence a match, and no sort of the whole gallery.
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
