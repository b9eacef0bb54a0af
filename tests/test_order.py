"""The order of training: a pure function of seed and step, without replacement, in the asked-for proportions."""

import hashlib
from collections import Counter

import numpy as np
import pytest

from datasets.order import GlobalOrder
from datasets.schema import UsageError

SIZES = {"small": 70, "large": 1000}


def order(seed: int = 0, batch: int = 16, **discounts: float) -> GlobalOrder:
    return GlobalOrder(SIZES, discounts, batch, seed)


def test_any_step_can_be_asked_for_in_any_order() -> None:
    forwards, backwards = order(), order()
    steps = range(300)
    first = [(v.collection, v.epoch, v.rows.tolist()) for v in (forwards.at(step) for step in steps)]
    last = [(v.collection, v.epoch, v.rows.tolist()) for v in (backwards.at(step) for step in reversed(steps))]
    assert first == last[::-1]
    far = order().at(5000)  # beyond what is drawn at first
    again = order()
    again.at(3)
    np.testing.assert_array_equal(far.rows, again.at(5000).rows)


def test_seeds_differ_and_the_order_never_changes() -> None:
    def digest(seed: int) -> str:
        visits = [order(seed).at(step) for step in (0, 1, 2, 50)]
        return hashlib.sha256(b"".join(v.rows.tobytes() + v.collection.encode() for v in visits)).hexdigest()[:16]

    assert digest(0) != digest(1)
    assert digest(0) == "f8a968dc2c9423f3"  # a change here means that earlier runs cannot be resumed


def test_an_epoch_visits_a_sequence_at_most_once_and_a_batch_never_twice() -> None:
    subject = order()
    seen: dict[tuple[str, int], list[int]] = {}
    for step in range(600):
        visit = subject.at(step)
        assert len(set(visit.rows.tolist())) == 16
        seen.setdefault((visit.collection, visit.epoch), []).extend(visit.rows.tolist())
    for (name, _), rows in seen.items():
        assert len(rows) == len(set(rows))
        assert max(rows) < SIZES[name]
    first, second = (seen["small", epoch] for epoch in (0, 1))
    assert len(first) == 64 and first != second


def test_collections_are_drawn_by_the_cube_root_of_their_size() -> None:
    subject = order(large=0.1)
    drawn = Counter(subject.at(step).collection for step in range(20_000))
    expected = 100 ** (1 / 3) / (100 ** (1 / 3) + 70 ** (1 / 3))
    assert subject.shares["large"] == pytest.approx(expected)
    assert drawn["large"] / 20_000 == pytest.approx(expected, abs=0.015)


def test_a_collection_that_cannot_fill_a_batch_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(UsageError, match=r"small has 70 sequences .* set --schedule\.batch to at most 70"):
        order(batch=71)
