"""Distances against the formula written out, and within the memory that they promise."""

import tracemalloc

import numpy as np
import pytest

from datasets.schema.errors import UsageError
from evaluation.distances import metric as distances_file
from evaluation.distances.metric import Metric, distances, paired_distances


@pytest.mark.parametrize("metric", ["euc", "cos"])
@pytest.mark.parametrize("seed", range(5))
def test_blocked_distances_equal_the_naive_formula(monkeypatch: pytest.MonkeyPatch, seed: int, metric: Metric) -> None:
    rng = np.random.default_rng(seed)
    n, m, channels, parts = rng.integers(1, 30, size=4)
    x, y = rng.normal(size=(n, channels, parts)), rng.normal(size=(m, channels, parts))
    if metric == "euc":
        naive = np.linalg.norm(x[:, None] - y[None], axis=2).mean(axis=2)
    else:
        unit_x, unit_y = (z / np.linalg.norm(z, axis=1, keepdims=True) for z in (x, y))
        naive = 1 - np.einsum("icp,jcp->ij", unit_x, unit_y) / parts
    for rows in (1, 7, 2**11):
        monkeypatch.setattr(distances_file, "BLOCK_ROWS", rows)
        blocked = distances(x.astype(np.float32), y.astype(np.float32), metric)
        assert blocked.dtype == np.float32
        np.testing.assert_allclose(blocked, naive, rtol=1e-4, atol=1e-5)
    rows, columns = rng.integers(0, n, 50), rng.integers(0, m, 50)
    np.testing.assert_allclose(
        paired_distances(x[rows], y[columns], metric), naive[rows, columns], rtol=1e-12, atol=1e-15
    )


def test_distances_need_little_beside_their_result(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distances_file, "BLOCK_VALUES", 2**14)
    x = np.zeros((2000, 64, 8), dtype=np.float32)
    tracemalloc.start()
    result = distances(x, x[:50], "euc")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak - result.nbytes < x.nbytes / 10


def test_distances_refuse_what_they_cannot_measure() -> None:
    x = np.zeros((2, 3, 4), dtype=np.float32)
    with pytest.raises(UsageError, match="unknown metric 'l1'"):
        distances(x, x, "l1")
    with pytest.raises(ValueError, match="expected embeddings"):
        distances(x, x[:, :2], "euc")
    assert distances(x[:0], x, "cos").shape == (0, 2)
    assert np.array_equal(distances(x, x, "cos"), np.ones((2, 2)))  # the zero vector has no direction: no NaN
