"""Embeddings at a byte a value: size, error, and that a protocol reads them as it reads any others."""

import numpy as np
import pytest

from datasets.schema.protocol import ProbeSet, Protocol
from evaluation.distances.int8_embeddings import Int8Embeddings, quantise
from evaluation.retrieval.sequences import Sequences
from evaluation.retrieval.view_pairs import view_pairs


def embeddings(seed: int, count: int = 60, channels: int = 256, parts: int = 31) -> np.ndarray:
    """Three walks of each of count / 3 subjects, parts at unit length."""
    rng = np.random.default_rng(seed)
    x = np.repeat(rng.normal(size=(count // 3, channels, parts)), 3, axis=0) + 1.5 * rng.normal(
        size=(count, channels, parts)
    )
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def test_a_sequence_takes_less_than_8_kilobytes() -> None:
    found = quantise(embeddings(0))
    assert found.nbytes == 60 * 7998
    assert found.shape == (60, 256, 31)


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_the_error_is_bounded(scale: float) -> None:
    x = scale * embeddings(1)
    x[3, :, 4] = 0
    back = quantise(x)[np.arange(len(x))]
    largest = np.abs(x).max(axis=1, keepdims=True)
    assert (np.abs(back - x) <= largest * (1 / 254) * (1 + 1 / 512) + 3e-8).all()
    assert back.dtype == np.float32 and (back[3, :, 4] == 0).all()


def test_the_error_is_small_beside_a_part() -> None:
    x = embeddings(1)
    error = np.linalg.norm(quantise(x)[:] - x, axis=1)
    assert error.mean() < 0.008  # parts have length 1, and values spread like these


def test_rounding_again_changes_nothing() -> None:
    once = quantise(embeddings(2))
    again = quantise(once[:])
    assert np.abs(again.values.astype(int) - once.values).max() <= 1
    np.testing.assert_allclose(again[:], once[:], atol=1e-3)


def test_a_protocol_reads_them_and_finds_the_same() -> None:
    x = embeddings(3)
    subjects = np.repeat(np.arange(20), 3).astype(str).tolist()
    conditions, views = ["p", "g", "g"] * 20, ["a", "a", "b"] * 20
    nm = ProbeSet(name="NM", probe=frozenset("p"), gallery=frozenset("g"))
    tables = [
        view_pairs(Sequences.of(one, subjects, conditions, views), Protocol(probe_sets=(nm,)), nm, "euc")
        for one in (x, quantise(x))
    ]
    assert tables[0].rank1[0].min() > 50 and (tables[0].outcomes.ranks == tables[1].outcomes.ranks).all()


def test_refuses_what_has_no_byte_form() -> None:
    for value in (np.nan, np.inf, 1e9):
        with pytest.raises(ValueError, match="NaN, infinite or very large"):
            quantise(np.full((1, 2, 3), value, dtype=np.float32))
    with pytest.raises(ValueError, match=r"expected embeddings \[n, C, P\]"):
        quantise(np.zeros((2, 3)))
    assert isinstance(quantise(np.zeros((0, 2, 3))), Int8Embeddings)
