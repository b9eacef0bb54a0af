"""The sampler of pretraining: a pure function of seed and step, without replacement, in the asked-for proportions."""

import hashlib
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

from datasets.loading.sampler import BatchIndices, GlobalSampler
from datasets.schema.errors import UsageError

SIZES = {"small": 70, "large": 1000}
MIXED = {"tiny": 5, "small": 40, "large": 1000}  # of 32 places: about 4, 8 and 20


def sampler(seed: int = 0, batch: int = 16, **discounts: float) -> GlobalSampler:
    return GlobalSampler(SIZES, discounts, batch, seed)


def mixed(seed: int = 0) -> GlobalSampler:
    return GlobalSampler(MIXED, {}, 32, seed, "batch")


def told(indices: BatchIndices) -> bytes:
    return b"".join(part.tobytes() for part in (indices.collections, indices.rows, indices.epochs))


@pytest.mark.parametrize("make", [sampler, mixed])
def test_any_step_can_be_asked_for_in_any_order(make: Callable[[], GlobalSampler]) -> None:
    forwards, backwards = make(), make()
    first = [told(forwards.at(step)) for step in range(300)]
    assert first == [told(backwards.at(step)) for step in reversed(range(300))][::-1]
    far = make().at(5000)  # beyond what is drawn at first
    assert told(far) == told(forwards.at(5000))


def test_seeds_differ_and_the_order_never_changes() -> None:
    def digest(seed: int) -> str:
        batches = [sampler(seed).at(step) for step in (0, 1, 2, 50)]
        names = [sampler(seed).names[batch.collections[0]].encode() for batch in batches]
        told = b"".join(batch.rows.tobytes() + name for batch, name in zip(batches, names, strict=True))
        return hashlib.sha256(told).hexdigest()[:16]

    assert digest(0) != digest(1)
    assert digest(0) == "c30ecc3021aa5a86"  # a change here means that earlier runs cannot be resumed


def test_an_epoch_visits_a_sequence_at_most_once_and_a_batch_never_twice() -> None:
    subject = sampler()
    seen: dict[tuple[str, int], list[int]] = {}
    for step in range(600):
        batch = subject.at(step)
        assert len(set(batch.rows.tolist())) == 16
        ((name, epoch),) = {(subject.names[one], n) for one, n in zip(batch.collections, batch.epochs, strict=True)}
        seen.setdefault((name, int(epoch)), []).extend(batch.rows.tolist())
    for (name, _), rows in seen.items():
        assert len(rows) == len(set(rows))
        assert max(rows) < SIZES[name]
    first, second = (seen["small", epoch] for epoch in (0, 1))
    assert len(first) == 64 and first != second


def test_another_collection_leaves_the_permutations_of_the_others() -> None:
    more = GlobalSampler({"another": 500, **SIZES}, {}, 16, 0)

    def first_epoch(subject: GlobalSampler, name: str) -> list[int]:
        number, rows = subject.names.index(name), []
        for step in range(600):
            batch = subject.at(step)
            rows += batch.rows[(batch.collections == number) & (batch.epochs == 0)].tolist()
        return rows

    assert sampler().names.index("small") != more.names.index("small")
    for name, size in SIZES.items():
        assert first_epoch(sampler(), name) == first_epoch(more, name)
        assert len(first_epoch(more, name)) == size // 16 * 16


def test_collections_are_drawn_by_the_cube_root_of_their_size() -> None:
    subject = sampler(large=0.1)
    drawn = Counter(subject.names[subject.at(step).collections[0]] for step in range(20_000))
    expected = 100 ** (1 / 3) / (100 ** (1 / 3) + 70 ** (1 / 3))
    assert subject.shares["large"] == pytest.approx(expected)
    assert drawn["large"] / 20_000 == pytest.approx(expected, abs=0.015)


def test_a_mixed_batch_has_a_sequence_twice_only_where_there_are_too_few() -> None:
    subject = mixed()
    seen: dict[tuple[int, int], list[int]] = {}
    placed: Counter[int] = Counter()
    for step in range(400):
        batch = subject.at(step)
        for choice, size in enumerate((1000, 40, 5)):  # in order of name: large, small, tiny
            mine = batch.collections == choice
            rows, (epoch, *more) = batch.rows[mine].tolist(), sorted(set(batch.epochs[mine].tolist())) or [-1]
            assert not more and len(set(rows)) == min(len(rows), size) and max(rows, default=0) < size
            seen.setdefault((choice, epoch), []).extend(rows)
            placed[choice] += len(rows)
    for (choice, epoch), rows in seen.items():
        assert choice == 2 or epoch == -1 or len(rows) == len(set(rows))
    lengths = [len(rows) for (choice, _), rows in seen.items() if choice == 1]
    assert max(lengths) == 40 and np.median(lengths) > 30
    mass = np.array([1000, 40, 5]) ** (1 / 3)
    np.testing.assert_allclose([placed[choice] / (400 * 32) for choice in range(3)], mass / mass.sum(), atol=0.02)
    first = [np.bincount(subject.at(step).collections[:16], minlength=3) for step in range(400)]
    np.testing.assert_allclose(np.mean(first, axis=0) / 16, mass / mass.sum(), atol=0.03)  # of a rank too


def test_a_collection_that_cannot_fill_a_batch_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(UsageError, match=r"small has 70 sequences .* set --schedule\.batch to at most 70"):
        sampler(batch=71)
    with pytest.raises(UsageError, match=r"leave small out .* or mix collections .* with --data\.mixing batch"):
        sampler(batch=71)
