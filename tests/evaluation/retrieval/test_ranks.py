"""Ranks from rounded embeddings are those of exact distances, ties and crowds included."""

import numpy as np
import pytest
import torch

from evaluation.distances import screening
from evaluation.distances.metric import Metric
from evaluation.retrieval import ranks as ranks_file
from evaluation.retrieval.ranks import first_match_ranks
from evaluation.retrieval.sequences import Sequences
from tests.fixtures.distances import exact_distances


@pytest.fixture(params=["int8", "float32"])
def products(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both kinds of products; int8 is exact on this machine or the test is skipped."""
    if request.param == "int8" and not screening.are_fast():
        pytest.skip("no fast int8 product on this processor")
    monkeypatch.setattr(screening, "are_fast", lambda: request.param == "int8")
    return request.param


def crowd(seed: int, channels: int, parts: int, subjects: int = 9) -> Sequences:
    """Subjects so close to each other that roundings decide, some pairs of equal embeddings, some zero parts."""
    rng = np.random.default_rng(seed)
    who = rng.integers(0, subjects, 150)
    embeddings = rng.normal(size=(1, channels, parts)) + 0.02 * rng.normal(size=(150, channels, parts))
    embeddings[40:80] = embeddings[:40]
    embeddings[::7, :, 0] = 0
    names = [str(one) for one in who]
    return Sequences.of(embeddings.astype(np.float32), names, ["c"] * 150, ["v"] * 150)


@pytest.mark.parametrize("metric", ["euc", "cos"])
@pytest.mark.parametrize("seed", range(6))
def test_ranks_are_those_of_a_full_sort(
    monkeypatch: pytest.MonkeyPatch, products: str, seed: int, metric: Metric
) -> None:
    channels, parts = [(5, 3), (1, 1), (64, 2), (30, 7), (3, 31), (256, 1)][seed]
    sequences = crowd(seed, channels, parts)
    probes, gallery = np.arange(0, 60), np.arange(60, 150)
    groups = [gallery[gallery % 3 == group] for group in range(3)] + [gallery[:0], gallery[:1]]
    distance = exact_distances(sequences.embeddings[probes], sequences.embeddings, metric)
    expected = np.zeros((len(probes), len(groups)), dtype=int)
    for row, column in np.ndindex(expected.shape):
        group = groups[column]
        order = group[np.argsort(distance[row, group], kind="stable")]
        right = np.flatnonzero(sequences.subjects[order] == sequences.subjects[probes[row]])
        expected[row, column] = right[0] + 1 if len(right) else 0
    assert len(np.unique(expected)) > 5
    for most in (1, 5, 90):
        for size in (1, 40, 4096):
            monkeypatch.setattr(ranks_file, "_GALLERY", size)
            monkeypatch.setattr(ranks_file, "_PROBES", 7 * size)
            found = first_match_ranks(sequences, probes, groups, metric, most)
            np.testing.assert_array_equal(found, np.minimum(expected, most + 1))


def test_the_number_of_threads_is_left_as_it_was() -> None:
    before = torch.get_num_threads()
    sequences = crowd(0, 4, 2)
    first_match_ranks(sequences, np.arange(9), [np.arange(9, 20)], "euc")
    assert torch.get_num_threads() == before
