"""Distances between embeddings: per part, then averaged over the parts.

The arithmetic is that of the OpenGait evaluator (`cuda_dist`).
"""

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from datasets.schema.errors import UsageError

Metric = Literal["euc", "cos"]

# Both bound the working memory of `distances`: the copies of two blocks (64 MiB each at most, or one row), and the
# products between them (16 MiB each).
BLOCK_VALUES = 2**24
BLOCK_ROWS = 2**11

_LENGTH = 1e-12  # a part shorter than this has no direction: its cosine with anything is 0


def check_metric(metric: str) -> None:
    """UsageError for an unknown metric."""
    if metric not in get_args(Metric):
        raise UsageError(f"unknown metric {metric!r}: choose one of {', '.join(get_args(Metric))}")


def distances(x: NDArray[np.floating], y: NDArray[np.floating], metric: Metric) -> NDArray[np.float32]:
    """Distances between embeddings, each with each (OpenGait evaluator, `cuda_dist`).

    `euc` is the plain L2 distance of each part, without normalisation; `cos` is one minus the cosine. Computed in
    float32 from norms and products, block by block: the memory beside the result does not grow with n or m. As in
    OpenGait, the euclidean distance of equal embeddings is therefore zero only up to the square root of rounding.

    Args:
        x: [n, C, P], C channels of P parts.
        y: [m, C, P].
        metric: `euc` or `cos`.

    Returns:
        float32 [n, m].

    Raises:
        UsageError: unknown metric.
        ValueError: shapes that do not fit each other, no channel, or no part.
    """
    check_metric(metric)
    if x.ndim != 3 or y.ndim != 3 or x.shape[1:] != y.shape[1:] or 0 in x.shape[1:]:
        raise ValueError(f"expected embeddings [n, C, P] and [m, C, P], got {x.shape} and {y.shape}")
    rows = int(np.clip(BLOCK_VALUES // (x.shape[1] * x.shape[2]), 1, BLOCK_ROWS))
    result = np.empty((len(x), len(y)), dtype=np.float32)
    for i in range(0, len(x), rows):
        x_block = parts_first(x[i : i + rows], metric)
        for j in range(0, len(y), rows):
            result[i : i + rows, j : j + rows] = _block(x_block, parts_first(y[j : j + rows], metric), metric)
    return result


def paired_distances(x: NDArray[np.floating], y: NDArray[np.floating], metric: Metric) -> NDArray[np.float64]:
    """Exact distances of pairs of embeddings, in float64 from differences.

    Equal pairs have equal distances whatever other pairs are given, and equal embeddings have distance 0.

    Args:
        x: [n, C, P].
        y: [n, C, P].
        metric: `euc` or `cos`.

    Returns:
        float64 [n].
    """
    result = np.empty(len(x))
    rows = max(BLOCK_VALUES // 8 // (x.shape[1] * x.shape[2]), 1)
    for start in range(0, len(x), rows):
        a, b = (np.asarray(z[start : start + rows], dtype=np.float64) for z in (x, y))
        if metric == "cos":
            a, b = (z / np.maximum(np.linalg.norm(z, axis=1, keepdims=True), _LENGTH) for z in (a, b))
            result[start : start + rows] = 1 - np.einsum("kcp,kcp->k", a, b) / a.shape[2]
        else:
            a = a - b
            result[start : start + rows] = np.sqrt(np.einsum("kcp,kcp->kp", a, a)).mean(axis=1)
    return result


def parts_first(x: NDArray[np.floating], metric: Metric) -> NDArray[np.float32]:
    """[a, C, P] -> contiguous float32 [P, a, C]; unit vectors where the metric is the cosine."""
    parts: NDArray[np.float32] = np.array(x.transpose(2, 0, 1), dtype=np.float32, order="C")
    if metric == "cos":
        parts /= np.maximum(np.linalg.norm(parts, axis=2, keepdims=True), _LENGTH)
    return parts


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
    total /= len(x)
    return 1 - total if metric == "cos" else total
