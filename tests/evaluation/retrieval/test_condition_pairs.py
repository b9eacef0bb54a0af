"""Pairs of conditions, by hand: which cells count, and what is missing."""

from itertools import product

import numpy as np
import pytest

from datasets.schema.protocol import ProbeSet, Protocol
from evaluation.retrieval.condition_pairs import ConditionPairTable, condition_pairs
from evaluation.retrieval.outcomes import ProtocolResult
from evaluation.retrieval.sequences import Sequences

ALL = frozenset({"x", "y", "z"})
HARD = ProbeSet(name="hard", probe=ALL, gallery=ALL, kinds=("condition-pairs",))
EASY = ProbeSet(name="easy", probe=ALL, gallery=frozenset({"x"}), kinds=("condition-pairs",))


def table(walks: list[tuple[float, str, str, str]], probe_set: ProbeSet = HARD) -> ConditionPairTable:
    position, *names = zip(*walks, strict=True)
    sequences = Sequences.of(np.array(position, dtype=np.float32).reshape(-1, 1, 1), *names)
    return condition_pairs(sequences, Protocol(probe_sets=(probe_set,)), probe_set, "euc")


def complete(seed: int) -> list[tuple[float, str, str, str]]:
    rng = np.random.default_rng(seed)
    return [(3 * int(s) + rng.normal(), s, c, v) for s, c, v in product("0123", "xyz", ("a", "b", "c"))]


def by_hand(walks: list[tuple[float, str, str, str]]) -> np.ndarray:
    """The table as the published script walks through it."""
    result = np.zeros((3, 3))
    for (i, one), (j, other) in product(enumerate("xyz"), enumerate("xyz")):
        for v, w in product("abc", "abc"):
            probes = [walk for walk in walks if walk[2:] == (one, v)]
            gallery = [walk for walk in walks if walk[2:] == (other, w)]
            right = [min(gallery, key=lambda g, p=p: abs(g[0] - p[0]))[1] == p[1] for p in probes]
            if v != w:
                result[i, j] += 100 * np.mean(right) / 2 / 3
    return result


@pytest.mark.parametrize("seed", range(4))
def test_a_complete_table_is_as_by_hand(seed: int) -> None:
    walks = complete(seed)
    expected, hard, easy = by_hand(walks), table(walks), table(walks, EASY)
    np.testing.assert_allclose(hard.accuracy(), expected)
    others = expected[~np.eye(3, dtype=bool)].mean()
    assert hard.excluding_identical() == pytest.approx(others)
    assert hard.outcomes.rank(1) == pytest.approx(others)
    assert hard.identical_only() == pytest.approx(np.diag(expected).mean())
    assert easy.excluding_identical() == pytest.approx(expected[1:, 0].mean())
    assert easy.accuracy().mean() == pytest.approx(expected[:, 0].mean())
    found = hard.result()
    np.testing.assert_allclose(found.pairs, expected)
    assert (found.row_names, found.column_names) == (("x", "y", "z"),) * 2
    assert isinstance(found, ProtocolResult) and (found.kind, found.num_probes, found.num_gallery) == (
        "condition-pairs",
        36,
        36,
    )
    assert (found.outcomes.comparisons, found.outcomes.unmatched, found.outcomes.missing_cells) == (36 * 4, 0, 0)


def test_a_missing_cell_is_missing_and_the_others_count() -> None:
    walks = [walk for walk in complete(0) if walk[2:] != ("z", "b")]
    hard = table(walks)
    missing = np.isnan(hard.accuracy())
    np.testing.assert_array_equal(missing, np.array([[0, 0, 1], [0, 0, 1], [1, 1, 1]], dtype=bool))
    assert np.isnan(hard.excluding_identical())
    assert 0 < hard.outcomes.rank(1) <= 100
    different = ~np.eye(3, dtype=bool)
    weights = np.array([[6, 6, 4], [6, 6, 4], [4, 4, 2]])  # pairs of different views that can be measured
    assert np.average(hard.result().pairs[different], weights=weights[different]) == pytest.approx(
        hard.outcomes.rank(1)
    )
    assert hard.outcomes.missing_cells == 2 * 2 * 2  # z, b with x and y in the two other views, and the other way round


def test_a_single_view_cannot_be_scored() -> None:
    walks = [walk for walk in complete(0) if walk[3] == "a"]
    assert np.isnan([table(walks).excluding_identical(), table(walks).outcomes.rank(1)]).all()
    assert np.isnan(table(walks).result().pairs).all()
