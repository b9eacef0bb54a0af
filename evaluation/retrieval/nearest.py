"""The ranked gallery of single probes, for people to look at: who was taken for whom, under a protocol's exclusions.

A protocol is not evaluated by these lists: it evaluates pairs of views (or of conditions) pair by pair, while a list
that a person reads ranks all of them together.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from datasets.schema.protocol import ProbeSet, Protocol, ProtocolKind
from evaluation.distances.metric import Metric
from evaluation.retrieval.pooled import distances_to
from evaluation.retrieval.sequences import ProbeGallery, Sequences

_BLOCK = 256  # probes whose distances from the whole gallery are in memory at once
_WORK = 2**36  # multiplications that the choice of probes may take, some seconds; fewer probes are ranked beyond it
_SORTING = 2000  # multiplications in the time that it takes to sort one distance in


@dataclass(frozen=True, kw_only=True, eq=False)
class RankedGallery:
    """A probe and the k nearest sequences of its gallery, by their numbers.

    `distances` [k] ascend, `right` [k] says which are of the probe's subject. `first_right` is the rank of the first
    one that is, from 1, whether or not it is among the k; 0: the gallery has none.
    """

    probe: int
    gallery: NDArray[np.int64]
    distances: NDArray[np.float32]
    right: NDArray[np.bool_]
    first_right: int


@dataclass(frozen=True, kw_only=True, eq=False)
class ProbeSample:
    """Probes drawn at random, those that are right at rank 1 and those that are wrong.

    Of `ranked` probes drawn from all `probes` of the set (all of them, where that is affordable), `unmatched` have no
    sequence of their subject in the gallery, `right_share` of the others are right at rank 1 (NaN: no others). `right`
    and `wrong` hold the numbers of the probes to be shown.
    """

    probes: int
    ranked: int
    unmatched: int
    right_share: float
    right: NDArray[np.int64]
    wrong: NDArray[np.int64]


def nearest(
    sequences: Sequences,
    protocol: Protocol,
    kind: ProtocolKind,
    probe_set: ProbeSet,
    metric: Metric,
    probes: NDArray[np.int64],
    count: int,
) -> list[RankedGallery]:
    """The nearest gallery sequences of some probes, as far as the kind of protocol lets them be compared.

    - `pooled`: the whole gallery.
    - `pooled-other-views`, `cross-view-gallery`: all but those of the probe's own subject and view.
    - `view-pairs`: those of all views but the probe's own.
    - `condition-pairs`: those of all conditions and all views but the probe's own.

    Equal distances are in the order of the test set.

    Args:
        sequences: the test set.
        protocol: the views that are compared.
        kind: as above.
        probe_set: the gallery.
        metric: see `distances`.
        probes: numbers of n sequences that are probes of the set.
        count: number of gallery sequences, at most.

    Raises:
        UsageError: unknown metric.
        ValueError: a submission, whose right answers are not public, or a number that is no probe's.
    """
    if kind == "submission":
        raise ValueError("the right answers of a submission are known to the collection's owners alone")
    chosen = sequences.select(protocol, probe_set)
    if not np.isin(probes, chosen.probes).all():
        raise ValueError(f"not all of them are probes of {probe_set.name}")
    found = []
    for start in range(0, len(probes), _BLOCK):
        mine = probes[start : start + _BLOCK]
        distance = distances_to(sequences, mine, chosen.gallery, metric)
        distance[~_comparable(sequences, chosen, kind, mine)] = np.inf
        found += [_head(sequences, chosen, *one, count) for one in zip(mine.tolist(), distance, strict=True)]
    return found


def sample_probes(
    sequences: Sequences,
    protocol: Protocol,
    kind: ProtocolKind,
    probe_set: ProbeSet,
    metric: Metric,
    count: int,
    seed: int,
) -> ProbeSample:
    """Draw `count` probes at most: half of them right at rank 1, half of them wrong.

    Where too few are of one sort, more of the other are drawn. All probes are ranked to tell them apart, or, in
    galleries so large that this would take long, a random sample of them.

    Raises:
        UsageError, ValueError: as `nearest`.
    """
    chosen = sequences.select(protocol, probe_set)
    generator = np.random.default_rng(seed)
    _, channels, parts = sequences.embeddings.shape
    affordable = max(_WORK // max(len(chosen.gallery) * (channels * parts + _SORTING), 1), count)
    sample = generator.permutation(chosen.probes)[:affordable]
    ranks = np.array(
        [one.first_right for one in nearest(sequences, protocol, kind, probe_set, metric, sample, 1)], dtype=np.int64
    )
    right, wrong = sample[ranks == 1], sample[ranks > 1]
    shown = min(len(right), max(count // 2, count - len(wrong)))
    return ProbeSample(
        probes=len(chosen.probes),
        ranked=len(sample),
        unmatched=int((ranks == 0).sum()),
        right_share=len(right) / (len(right) + len(wrong)) if len(right) + len(wrong) else np.nan,
        right=right[:shown],
        wrong=wrong[: count - shown],
    )


def _comparable(
    sequences: Sequences, chosen: ProbeGallery, kind: ProtocolKind, probes: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Which gallery sequences each probe is compared with, [p, g]."""
    gallery = chosen.gallery
    own_view = chosen.views[probes, None] == chosen.views[gallery]
    if kind == "pooled":
        return np.ones_like(own_view)
    if kind == "view-pairs":
        return ~own_view
    if kind == "condition-pairs":
        return ~own_view & (sequences.conditions[probes, None] != sequences.conditions[gallery])
    return ~(own_view & (sequences.subjects[probes, None] == sequences.subjects[gallery]))


def _head(
    sequences: Sequences, chosen: ProbeGallery, probe: int, distance: NDArray[np.float32], count: int
) -> RankedGallery:
    """The head of one ranked list. distance [g]: infinite where the probe is not compared."""
    order = np.argsort(distance, kind="stable")[: int(np.isfinite(distance).sum())]
    right = sequences.subjects[chosen.gallery[order]] == sequences.subjects[probe]
    return RankedGallery(
        probe=probe,
        gallery=chosen.gallery[order[:count]],
        distances=distance[order[:count]],
        right=right[:count],
        first_right=int(right.argmax()) + 1 if right.any() else 0,
    )
