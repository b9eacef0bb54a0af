"""Candidates of unknown walks: the order of people, and how likely a stranger is as near."""

import numpy as np
import pytest

from evaluation.retrieval.candidates import identify


def points(*positions: float) -> np.ndarray:
    """Embeddings of one channel and one part, so that distances are differences."""
    return np.array(positions, dtype=np.float32)[:, None, None]


def test_people_are_ranked_by_the_nearest_of_their_walks() -> None:
    known, subjects = points(0, 1, 5, 6, 20), ["a", "b", "a", "b", "c"]
    (one,) = identify(points(5.1), known, subjects, "euc", count=3)
    assert one.subjects == ("a", "b", "c")
    np.testing.assert_allclose(one.distances, [0.1, 0.9, 14.9], atol=1e-5)
    assert one.walks.tolist() == [2, 3, 4]
    assert one.strangers == 0  # no walk is within 0.1 of a walk of another subject


def test_the_share_of_walks_with_an_impostor_as_near() -> None:
    known, subjects = points(0, 1, 5, 6, 20), ["a", "b", "a", "b", "c"]
    assert identify(points(7.0), known, subjects, "euc")[0].strangers == pytest.approx(4 / 5)  # all but c's
    assert identify(points(40.0), known, subjects, "euc")[0].strangers == 1
    assert np.isnan(identify(points(3.0), points(0, 1), ["a", "a"], "euc")[0].strangers)
    assert identify(points(3.0), points(0, 1), ["a", "a"], "euc")[0].subjects == ("a",)
    with pytest.raises(ValueError, match="the gallery is empty"):
        identify(points(3.0), points(), [], "euc")
