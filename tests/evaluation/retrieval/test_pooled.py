"""Pooled galleries and submissions against the published evaluator, and by hand."""

import json
from pathlib import Path

import numpy as np
import pytest

from datasets.catalog.registry import CATALOG
from datasets.schema.protocol import ProbeSet, Protocol, ProtocolKind
from evaluation.distances.metric import Metric
from evaluation.metrics import estimate
from evaluation.retrieval.metrics import METRICS
from evaluation.retrieval.outcomes import ProtocolResult
from evaluation.retrieval.pooled import match_ranks, pooled_gallery, submission
from evaluation.retrieval.protocols import evaluate_protocol
from evaluation.retrieval.sequences import Sequences

POOLED = {"gait3d": "Gait3D", "ccgr-mini": "CCGR"}
WALK = ProbeSet(name="walk", probe=frozenset({"p"}), gallery=frozenset({"g"}))


def sequences_of(walks: list[tuple[float, str, str, str]]) -> Sequences:
    """Sequences of (position on a line, subject, condition, view)."""
    position, *names = zip(*walks, strict=True)
    return Sequences.of(np.array(position, dtype=np.float32).reshape(-1, 1, 1), *names)


def pooled(walks: list[tuple[float, str, str, str]], kind: ProtocolKind = "pooled") -> ProtocolResult:
    return pooled_gallery(sequences_of(walks), Protocol(probe_sets=(WALK,)), WALK, kind, "euc")


def golden(folder: Path, name: str, metric: Metric) -> tuple[dict, Sequences]:
    stored = np.load(folder / f"eval_{name}.npz")
    expected = json.loads((folder / f"eval_{name}.json").read_text())[metric]
    return expected, Sequences.of(stored["embeddings"], stored["labels"], stored["types"], stored["views"])


@pytest.mark.parametrize("metric", ["euc", "cos"])
@pytest.mark.parametrize("name", sorted(POOLED))
def test_agrees_with_opengait(golden_folder: Path, name: str, metric: Metric) -> None:
    expected, sequences = golden(golden_folder, name, metric)
    (found,) = evaluate_protocol(sequences, CATALOG[POOLED[name]].protocol, metric, kinds=("pooled",))
    ours = {name: value.value for name, value in estimate(METRICS, found.outcomes).items()}
    published = {"rank1": "Rank-1", "rank5": "Rank-5", "rank10": "Rank-10", "map": "mAP", "minp": "mINP"}
    named = {f"scalar/test_accuracy/{title}": ours[name] for name, title in published.items()}
    assert named == pytest.approx(expected["result"], abs=1e-4)


@pytest.mark.parametrize("metric", ["euc", "cos"])
def test_agrees_with_opengait_without_the_own_view(golden_folder: Path, metric: Metric) -> None:
    expected, sequences = golden(golden_folder, "ccpg", metric)
    scores = evaluate_protocol(sequences, CATALOG["CCPG"].protocol, metric, kinds=("pooled-other-views",))
    for name, of in (
        ("Rank-1", lambda one: one.rank(1)),
        ("mAP", lambda one: one.list_mean("map")),
        ("mINP", lambda one: one.list_mean("minp")),
    ):
        title = f"==={name} (Exclude identical-view cases for Person Re-Identification)==="
        printed = expected["log"][expected["log"].index(title) + 1]
        assert printed == ",\t".join(f"{one.probe_set}: {of(one.outcomes):.3f}" for one in scores)
    lengths = [(one.num_gallery, one.num_probes) for one in scores]
    assert [f"'gallery length', {g}, " in line for (g, _), line in zip(lengths, expected["log"], strict=False)] == [
        True
    ] * 4
    assert [f"'probe length', {p}, " in line for (_, p), line in zip(lengths, expected["log"], strict=False)] == [
        True
    ] * 4


def test_one_ranked_list_by_hand() -> None:
    gallery = [(0, "1", "g", "a"), (1, "2", "g", "a"), (2, "1", "g", "b"), (3, "1", "g", "a")]
    found = pooled([*gallery, (0.9, "1", "p", "a")]).outcomes
    # from 0.9: 2 at 1 (0.1), 1 at 0 (0.9), 1 at 2 (1.1), 1 at 3 (2.1): right at the ranks 2, 3 and 4
    assert found.ranks.tolist() == [[2]]
    assert (found.rank(1), found.rank(2), found.rank(20)) == (0, 100, 100)  # the gallery is shorter than 20
    assert found.list_mean("map") == pytest.approx(100 * (1 / 2 + 2 / 3 + 3 / 4) / 3)
    assert found.list_mean("minp") == pytest.approx(100 * 3 / 4)


def test_the_own_view_is_left_out_for_the_own_subject_alone() -> None:
    gallery = [(0, "1", "g", "a"), (1, "2", "g", "a"), (5, "1", "g", "b"), (6, "1", "g", "a")]
    found = pooled([*gallery, (0, "1", "p", "a")], "pooled-other-views").outcomes
    assert found.ranks.tolist() == [[2]]  # the 2 of its view stays, the two of itself go
    assert found.list_mean("map") == 50
    assert found.list_mean("minp") == 50


def test_probes_without_a_match_are_left_out_or_errors() -> None:
    walks = [(0, "1", "g", "a"), (5, "2", "g", "a"), (1, "1", "p", "a"), (4, "1", "p", "a"), (5, "3", "p", "a")]
    found = pooled(walks)
    assert found.outcomes.rank(1) == 50
    assert found.excluding_identical == pytest.approx(100 / 3)
    assert (found.outcomes.comparisons, found.outcomes.unmatched, found.num_probes) == (3, 1, 3)
    alone = pooled(walks[:2] + walks[4:])
    assert np.isnan([alone.outcomes.rank(1), alone.outcomes.list_mean("map")]).all()
    assert alone.excluding_identical == 0


def test_cross_view_galleries_are_averaged_within_each_probe_view() -> None:
    gallery = [(0, "1", "g", "a"), (9, "2", "g", "b"), (9, "1", "g", "c")]
    probes = [(1, "1", "p", "b"), (8, "2", "p", "a"), (0, "2", "p", "a"), (0, "2", "p", "b")]
    found = pooled(gallery + probes, "cross-view-gallery")
    # b: 1 finds itself in a, 2 is in its own view alone and has no match; a: 2 finds itself once of twice; c: no probe
    assert found.outcomes.cells(1).ravel().tolist()[:2] == [50, 100]
    assert found.outcomes.rank(1) == 75
    assert (found.outcomes.unmatched, found.outcomes.missing_cells) == (1, 1)
    assert np.isnan(found.excluding_identical)


def test_equal_distances_stand_in_the_order_of_the_gallery() -> None:
    distance = np.array([1, 2, 2, 0, 2, 3], dtype=np.float32)
    assert match_ranks(distance, np.array([2, 4])).tolist() == [4, 5]
    assert match_ranks(distance, np.array([5, 1, 0])).tolist() == [2, 3, 6]


def test_a_submission_lists_the_nearest_subjects_of_each_probe() -> None:
    gallery = [(position, f"0000{subject}", "g", "x") for position, subject in ((0, 7), (4, 2), (5, 7), (9, 3))]
    probes = [(5, "probe", "p", "second"), (1, "probe", "p", "first")]
    table = submission(sequences_of(gallery + probes), Protocol(probe_sets=(WALK,)), WALK, "euc", depth=5)
    assert table.to_csv(index=False).splitlines() == [
        "videoId,rank1,rank2,rank3,rank4,rank5",
        "second,7,2,3,7,",  # 3 and the first of 7 are 4 and 5 away
        "first,7,2,7,3,",
    ]
    assert list(submission(sequences_of(gallery), Protocol(probe_sets=(WALK,)), WALK, "euc").columns)[:2] == [
        *("videoId", "rank1")
    ]
