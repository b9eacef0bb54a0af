"""Ranked galleries: the exclusion rules of each kind of protocol, by brute force; and an honest choice of probes."""

from itertools import product

import numpy as np
import pytest

from datasets.schema.protocol import ProbeSet, Protocol, ProtocolKind
from evaluation.distances.metric import paired_distances
from evaluation.retrieval import nearest as nearest_file
from evaluation.retrieval.nearest import nearest, sample_probes
from evaluation.retrieval.protocols import evaluate_protocol
from evaluation.retrieval.sequences import Sequences

WALK = ProbeSet(name="walk", probe=frozenset("p"), gallery=frozenset("g"))
PAIRS = ProbeSet(name="pairs", probe=frozenset("pg"), gallery=frozenset("pg"), kinds=("condition-pairs",))
PROTOCOL = Protocol(probe_sets=(WALK,), view_until="_", excluded_views=frozenset("x"))
KINDS = ("pooled", "pooled-other-views", "cross-view-gallery", "view-pairs", "condition-pairs")


def sequences(noise: float = 1.0, subjects: int = 6) -> Sequences:
    """Two walks in each of two conditions before three cameras, one of which is left out."""
    rng = np.random.default_rng(3)
    walks = list(product(map(str, range(subjects)), "pg", ("a_0", "a_1", "b_0", "x_0")))
    people = rng.normal(size=(subjects, 4, 2))
    embeddings = np.stack([people[int(subject)] + noise * rng.normal(size=(4, 2)) for subject, *_ in walks])
    return Sequences.of(embeddings.astype(np.float32), *zip(*walks, strict=True))


def may_meet(kind: ProtocolKind, probe: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """The rules as the protocols state them, on (subject, condition, view)."""
    (subject, condition, view), (other_subject, other_condition, other_view) = probe, other
    view, other_view = view[0], other_view[0]
    return {
        "pooled": other_condition == "g",
        "pooled-other-views": other_condition == "g" and (other_subject, other_view) != (subject, view),
        "cross-view-gallery": other_condition == "g" and (other_subject, other_view) != (subject, view),
        "view-pairs": other_condition == "g" and other_view != view,
        "condition-pairs": other_condition != condition and other_view != view,
    }[kind] and other_view != "x"


@pytest.mark.parametrize("kind", KINDS)
def test_the_ranked_gallery_is_that_of_brute_force(kind: ProtocolKind, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearest_file, "_BLOCK", 3)
    all_of_them = sequences(noise=2.5)
    names = list(zip(all_of_them.subjects, all_of_them.conditions, all_of_them.views, strict=True))
    probe_set = PAIRS if kind == "condition-pairs" else WALK
    probes = all_of_them.select(PROTOCOL, probe_set).probes
    found = nearest(all_of_them, PROTOCOL, kind, probe_set, "euc", probes, count=4)
    ranks = set()
    for probe, row in zip(probes, found, strict=True):
        others = np.array([n for n, name in enumerate(names) if may_meet(kind, names[probe], name)])
        x = np.repeat(all_of_them.embeddings[probe][None], len(others), axis=0)
        distance = paired_distances(x, all_of_them.embeddings[others], "euc")
        ranked = others[np.argsort(distance)]
        right = [names[n][0] == names[probe][0] for n in ranked]
        assert row.probe == probe
        assert row.gallery.tolist() == ranked[:4].tolist()
        assert row.right.tolist() == right[:4]
        assert row.first_right == (right.index(True) + 1 if any(right) else 0)
        np.testing.assert_allclose(row.distances, np.sort(distance)[:4], rtol=1e-5)
        ranks.add(row.first_right)
    assert len(ranks) > 2 and max(ranks) > 4  # so that the rules had something to decide


@pytest.mark.parametrize("kind", ["pooled", "pooled-other-views"])
def test_the_share_is_rank_1(kind: ProtocolKind) -> None:
    everyone = sequences()
    (scored,) = evaluate_protocol(
        everyone, Protocol(probe_sets=(WALK,), view_until="_", excluded_views=frozenset("x"), kinds=(kind,)), "euc"
    )
    drawn = sample_probes(everyone, PROTOCOL, kind, WALK, "euc", count=6, seed=0)
    assert 100 * drawn.right_share == pytest.approx(scored.outcomes.rank(1))
    assert (drawn.probes, drawn.ranked, drawn.unmatched) == (18, 18, scored.outcomes.unmatched)
    assert 0 < drawn.right_share < 1


def test_probes_are_drawn_half_and_half_and_by_seed() -> None:
    everyone = sequences()
    drawn, again, other = (sample_probes(everyone, PROTOCOL, "pooled", WALK, "euc", 6, seed) for seed in (0, 0, 1))
    assert len(drawn.right) == len(drawn.wrong) == 3
    shown = {
        one: nearest(everyone, PROTOCOL, "pooled", WALK, "euc", getattr(drawn, one), 1) for one in ("right", "wrong")
    }
    assert all(row.first_right == 1 and row.right[0] for row in shown["right"])
    assert all(row.first_right > 1 and not row.right[0] for row in shown["wrong"])
    np.testing.assert_array_equal(np.r_[again.right, again.wrong], np.r_[drawn.right, drawn.wrong])
    assert np.r_[other.right, other.wrong].tolist() != np.r_[drawn.right, drawn.wrong].tolist()


def test_where_nothing_is_wrong_more_right_ones_are_shown() -> None:
    drawn = sample_probes(sequences(noise=0.01), PROTOCOL, "pooled", WALK, "euc", 6, 0)
    assert (drawn.right_share, len(drawn.right), len(drawn.wrong)) == (1, 6, 0)


def test_in_a_large_gallery_some_probes_stand_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearest_file, "_WORK", 10 * 18 * (4 * 2 + nearest_file._SORTING))
    drawn = sample_probes(sequences(), PROTOCOL, "pooled", WALK, "euc", 4, 0)
    assert (drawn.probes, drawn.ranked) == (18, 10)
    assert len(drawn.right) + len(drawn.wrong) == 4


def test_a_probe_without_a_match_is_neither_right_nor_wrong() -> None:
    walks = [("1", "g", "a"), ("2", "g", "b"), ("1", "p", "a"), ("2", "p", "a"), ("3", "p", "a")]
    line = Sequences.of(np.arange(5, dtype=np.float32).reshape(-1, 1, 1), *zip(*walks, strict=True))
    (row,) = nearest(line, Protocol(probe_sets=(WALK,)), "pooled", WALK, "euc", np.array([4]), 5)
    assert (row.first_right, row.gallery.tolist()) == (0, [1, 0])
    drawn = sample_probes(line, Protocol(probe_sets=(WALK,)), "view-pairs", WALK, "euc", 4, 0)
    assert (drawn.unmatched, drawn.right_share, drawn.right.tolist(), drawn.wrong.tolist()) == (2, 1, [3], [])
    alone = Sequences.of(line.embeddings[[0, 4]], ["1", "3"], ["g", "p"], ["a", "a"])
    assert np.isnan(sample_probes(alone, Protocol(probe_sets=(WALK,)), "pooled", WALK, "euc", 4, 0).right_share)


def test_refuses_what_has_no_right_answer() -> None:
    with pytest.raises(ValueError, match="owners alone"):
        nearest(sequences(), PROTOCOL, "submission", WALK, "euc", np.array([0]), 1)
    with pytest.raises(ValueError, match="not all of them are probes of walk"):
        nearest(sequences(), PROTOCOL, "pooled", WALK, "euc", np.array([4]), 1)
