"""Rank-1 retrieval between pairs of views: embeddings and their labels in, accuracies in percent out.

The arithmetic is that of the OpenGait evaluator (single-view gallery), so that numbers compare with the published ones.
This file does not know where embeddings come from, nor any collection: the protocol says what is probe and gallery.

A number that cannot be measured is NaN, never 0. Missing data is treated in three ways:

- a probe whose subject does not occur in the gallery view is an error of the method, as in OpenGait;
- a probe view without probes is a row of NaN, and so are the means over it, as in OpenGait;
- a gallery view without sequences is a column of NaN; OpenGait stops with an exception there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from datasets.schema import Protocol, UsageError

Metric = Literal["euc", "cos"]

# Both limits bound the working memory of `distances`: the copies of the two blocks (64 MiB each at most, or one row),
# and the products between them (16 MiB each).
BLOCK_VALUES = 2**24
BLOCK_ROWS = 2**11


def distances(x: NDArray[np.floating], y: NDArray[np.floating], metric: Metric) -> NDArray[np.float32]:
    """Distances between embeddings, per part, then averaged over the parts (OpenGait evaluator, `cuda_dist`).

    `euc` is the plain L2 distance of each part, without normalisation; `cos` is one minus the cosine. Computed in
    float32 from norms and products, block by block; beside the result the memory does not grow with n or m. As in
    OpenGait, the euclidean distance of equal embeddings is therefore zero only up to the square root of rounding.

    Args:
        x: [n, C, P], C channels of P parts.
        y: [m, C, P].
        metric: `euc` or `cos`.

    Returns:
        float32 [n, m].

    Raises:
        UsageError: unknown metric.
        ValueError: the shapes do not fit each other, or there is no channel or part.
    """
    if metric not in get_args(Metric):
        raise UsageError(f"unknown metric {metric!r}: choose one of {', '.join(get_args(Metric))}")
    if x.ndim != 3 or y.ndim != 3 or x.shape[1:] != y.shape[1:] or 0 in x.shape[1:]:
        raise ValueError(f"expected embeddings [n, C, P] and [m, C, P], got {x.shape} and {y.shape}")
    rows = int(np.clip(BLOCK_VALUES // (x.shape[1] * x.shape[2]), 1, BLOCK_ROWS))
    result = np.empty((len(x), len(y)), dtype=np.float32)
    for i in range(0, len(x), rows):
        x_block = _parts_first(x[i : i + rows], metric)
        for j in range(0, len(y), rows):
            result[i : i + rows, j : j + rows] = _block(x_block, _parts_first(y[j : j + rows], metric), metric)
    return result


def _parts_first(x: NDArray[np.floating], metric: Metric) -> NDArray[np.float32]:
    """[a, C, P] -> contiguous float32 [P, a, C]; unit vectors where the metric is the cosine."""
    x = np.array(x.transpose(2, 0, 1), dtype=np.float32, order="C")
    if metric == "cos":
        x /= np.maximum(np.linalg.norm(x, axis=2, keepdims=True), 1e-12)
    return x


def _block(x: NDArray[np.float32], y: NDArray[np.float32], metric: Metric) -> NDArray[np.float32]:
    """Distances [a, b] of [P, a, C] and [P, b, C]; one part at a time, so that one product is in memory."""
    total = np.zeros((x.shape[1], y.shape[1]), dtype=np.float32)
    for x_part, y_part in zip(x, y, strict=True):
        product = x_part @ y_part.T
        if metric == "cos":
            total += product
        else:
            squared = (x_part**2).sum(axis=1)[:, None] + (y_part**2).sum(axis=1)[None, :] - 2 * product
            total += np.sqrt(np.maximum(squared, 0))
    mean = total / len(x)
    return 1 - mean if metric == "cos" else mean


@dataclass(frozen=True, kw_only=True, eq=False)
class ViewPairTable:
    """One probe set, scored for each pair of a probe view and a gallery view.

    `rank1` [V, V] is the accuracy in percent, rows probe views, columns gallery views, rounded to two decimals;
    `probes` [V] and `gallery` [V] count the sequences of each view, `gallery_subjects` the subjects of all views.
    """

    name: str
    views: tuple[str, ...]
    rank1: NDArray[np.float64]
    probes: NDArray[np.int64]
    gallery: NDArray[np.int64]
    gallery_subjects: int

    def by_probe_view(self) -> NDArray[np.float64]:
        """Accuracy of each probe view in percent, [V]: the mean over the other views (OpenGait evaluator, `de_diag`).

        The divisor is always V - 1; a row with a NaN cell is NaN. With a single view there is no other: NaN.
        """
        others = len(self.views) - 1
        if others == 0:
            return np.full(1, np.nan)
        return (self.rank1 - np.diag(np.diag(self.rank1))).sum(axis=1) / others

    def excluding_identical(self) -> float:
        """Mean of `by_probe_view` in percent: the number that papers report. One NaN cell makes it NaN."""
        return float(self.by_probe_view().mean())

    def identical_only(self) -> float:
        """Mean of the diagonal in percent: probe and gallery from the same view. One NaN cell makes it NaN."""
        return float(np.diag(self.rank1).mean())


def single_view_gallery(
    embeddings: NDArray[np.floating],
    subjects: Sequence[str],
    conditions: Sequence[str],
    views: Sequence[str],
    protocol: Protocol,
    metric: Metric,
) -> list[ViewPairTable]:
    """Score every probe set of a protocol, each probe view against each gallery view alone (OpenGait evaluator).

    The views of all tables are the sorted view names of all sequences handed in, as the protocol compares them and
    without those it excludes, whether or not it uses their conditions. A probe counts as recognised if the nearest
    sequence of the gallery view is of its subject; among exactly equal distances the first sequence in the order of
    `embeddings` is taken.

    Args:
        embeddings: [n, C, P], one row per sequence of the test set.
        subjects: subject of each sequence, n strings as released.
        conditions: condition of each sequence, n strings as released.
        views: view of each sequence, n strings as released.
        protocol: probes and gallery of each line of the results, and the views that are compared.
        metric: see `distances`.

    Returns:
        One table per probe set, in the order of the protocol.

    Raises:
        UsageError: no sequences, or an unknown metric.
        ValueError: lengths that differ, or embeddings that are not finite (their nearest neighbour means nothing).
    """
    columns = [np.asarray(column, dtype=str) for column in (subjects, conditions, views)]
    if any(column.shape != (len(embeddings),) for column in columns):
        lengths = ", ".join(str(len(column)) for column in columns)
        raise ValueError(f"{len(embeddings)} embeddings with {lengths} subjects, conditions and views")
    if len(embeddings) == 0:
        raise UsageError("no sequences to evaluate: the test split is empty, check the collection that was ingested")
    if not np.isfinite([embeddings.min(), embeddings.max()]).all():  # NaN passes through both, without a mask of all
        raise ValueError("embeddings hold NaN or infinite values: the encoder or its checkpoint is broken")
    compared = np.array([protocol.compared_view(view) for view in columns[2]])
    scored = ~np.isin(compared, sorted(protocol.excluded_views))
    results = []
    for probe_set in protocol.probe_sets:
        roles = np.array([probe_set.role(*names) for names in zip(*columns, strict=True)])
        roles = np.where(scored, roles, "neither")
        views_scored = tuple(np.unique(compared[scored]).tolist())
        results.append(_score(probe_set.name, embeddings, columns[0], roles, compared, views_scored, metric=metric))
    return results


def _score(
    name: str,
    embeddings: NDArray[np.floating],
    subjects: NDArray[np.str_],
    roles: NDArray[np.str_],
    views: NDArray[np.str_],
    names: tuple[str, ...],
    *,
    metric: Metric,
) -> ViewPairTable:
    """The table of one probe set over the views `names`. roles: of each sequence, as `ProbeSet.role` gives them."""
    probes = [np.flatnonzero((roles == "probe") & (views == view)) for view in names]
    gallery = [np.flatnonzero((roles == "gallery") & (views == view)) for view in names]
    rank1 = np.full((len(names), len(names)), np.nan)
    for row, column in np.ndindex(rank1.shape):
        p, g = probes[row], gallery[column]
        if len(p) and len(g):
            nearest = g[distances(embeddings[p], embeddings[g], metric).argmin(axis=1)]
            hits = np.count_nonzero(subjects[nearest] == subjects[p])
            rank1[row, column] = np.round(hits * 100 / len(p), 2)
    return ViewPairTable(
        name=name,
        views=names,
        rank1=rank1,
        probes=np.array([len(rows) for rows in probes]),
        gallery=np.array([len(rows) for rows in gallery]),
        gallery_subjects=len(np.unique(subjects[roles == "gallery"])),
    )
