"""Retrieval by pairs of views against the published evaluator, and against tables small enough to work out by hand."""

import json
from pathlib import Path

import numpy as np
import pytest

from datasets.catalog.registry import CATALOG
from datasets.schema.errors import UsageError
from datasets.schema.protocol import ProbeSet, Protocol
from evaluation.distances.metric import Metric
from evaluation.retrieval.protocols import single_view_gallery
from evaluation.retrieval.view_pairs import ViewPairTable
from tests.fixtures.probes import role

GOLDEN = {"casia-b": "CASIA-B", "casia-e": "CASIA-E", "oumvlp": "OU-MVLP", "sustech1k": "SUSTech1K"}
WALK = Protocol(probe_sets=(ProbeSet(name="walk", probe=frozenset({"p"}), gallery=frozenset({"g"})),))


def score(sequences: list[tuple[float, str, str, str]]) -> ViewPairTable:
    """One table from sequences of (position on a line, subject, condition, view)."""
    position, subjects, conditions, views = zip(*sequences, strict=True)
    embeddings = np.array(position, dtype=np.float32).reshape(-1, 1, 1)
    (table,) = single_view_gallery(embeddings, subjects, conditions, views, WALK, "euc")
    return table


@pytest.mark.parametrize("metric", ["euc", "cos"])
@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_agrees_with_opengait(golden_folder: Path, name: str, metric: Metric) -> None:
    expected, tables = golden(golden_folder, name, CATALOG[GOLDEN[name]].protocol, metric)
    printed = dict(line.split("@R1: [") for line in expected["log"] if "[" in line)
    for table in tables:
        assert table.excluding_identical() == pytest.approx(
            expected["result"][f"scalar/test_accuracy/{table.name}@R1"], abs=1e-6
        )
        by_view = np.array(printed[table.name].rstrip("]").split(), dtype=float)
        np.testing.assert_allclose(table.by_probe_view(), by_view, atol=1e-3)
    assert len(tables) == len(expected["result"]) == len(printed)


@pytest.mark.parametrize("metric", ["euc", "cos"])
def test_agrees_with_opengait_beyond_rank_1(golden_folder: Path, metric: Metric) -> None:
    expected, tables = golden(golden_folder, "sustech1k", CATALOG["SUSTech1K"].protocol, metric)
    for rank in range(1, 6):
        (line,) = (line for line in expected["log"] if line.startswith(f"Normal@R{rank}: ") and "[" not in line)
        assert line == "".join(f"{one.name}@R{rank}: {one.excluding_identical(rank):.2f}%\t" for one in tables)


@pytest.mark.parametrize("metric", ["euc", "cos"])
def test_agrees_with_opengait_where_views_are_cameras(golden_folder: Path, metric: Metric) -> None:
    expected, tables = golden(golden_folder, "ccpg", CATALOG["CCPG"].protocol, metric)
    assert [table.name for table in tables] == ["CL", "UP", "DN", "BG"]
    for table in tables:
        np.testing.assert_allclose(table.rank1, expected["result"][f"scalar/test_accuracy/{table.name}"], atol=1e-6)
    for title, mean in (
        ("Include", lambda table: table.rank1.mean()),
        ("Exclude", lambda table: table.excluding_identical()),
    ):
        printed = expected["log"][expected["log"].index(f"===Rank-1 ({title} identical-view cases)===") + 1]
        assert printed == ",\t".join(f"{table.name}: {mean(table):.3f}" for table in tables)


def golden(folder: Path, name: str, protocol: Protocol, metric: Metric) -> tuple[dict, list[ViewPairTable]]:
    """What OpenGait computed from the stored embeddings, and what we compute from them."""
    stored = np.load(folder / f"eval_{name}.npz")
    expected = json.loads((folder / f"eval_{name}.json").read_text())[metric]
    names = (stored["labels"], stored["types"], stored["views"])
    return expected, single_view_gallery(stored["embeddings"], *names, protocol, metric)


def test_two_subjects_two_views_by_hand() -> None:
    # view a gallery: 1 at 0, 2 at 10; view b gallery: 1 at 4, 2 at 10
    # probe of view a at 1 is of 1: right in both; at 6 it is of 2: right in a (4 < 6), wrong in b (2 < 4)
    # probe of view b at 9 is of 1: wrong in both; at 8 it is of 2: right in both
    gallery = [(0, "1", "g", "a"), (10, "2", "g", "a"), (4, "1", "g", "b"), (10, "2", "g", "b")]
    probes = [(1, "1", "p", "a"), (6, "2", "p", "a"), (9, "1", "p", "b"), (8, "2", "p", "b")]
    table = score([*gallery, *probes, (6, "1", "neither", "a")])
    assert (table.name, table.views, table.gallery_subjects) == ("walk", ("a", "b"), 2)
    np.testing.assert_array_equal(table.rank1, [[100, 50], [50, 50]])
    np.testing.assert_array_equal(table.probes, [2, 2])
    np.testing.assert_array_equal(table.gallery, [2, 2])
    np.testing.assert_array_equal(table.by_probe_view(), [50, 50])
    assert (table.excluding_identical(), table.identical_only()) == (50, 75)


def test_cells_are_rounded_before_the_mean() -> None:
    gallery = [(0, "1", "g", "a"), (9, "2", "g", "a"), (0, "1", "g", "b"), (9, "2", "g", "b")]
    two_of_three = [(1, "1", "p", "a"), (1, "1", "p", "a"), (1, "2", "p", "a")]
    one_of_three = [(1, "1", "p", "b"), (1, "2", "p", "b"), (1, "2", "p", "b")]
    table = score(gallery + two_of_three + one_of_three)
    assert table.by_probe_view().tolist() == [66.67, 33.33]
    assert table.excluding_identical() == 50


def test_a_tie_goes_to_the_first_sequence() -> None:
    first, second = (0, "1", "g", "a"), (2, "2", "g", "a")
    probes = [(1, "1", "p", "a"), (1, "2", "p", "a"), (1, "1", "p", "a")]
    assert score([first, second, *probes]).identical_only() == 66.67
    assert score([second, first, *probes]).identical_only() == 33.33


def test_duplicate_sequences_count_each() -> None:
    gallery = [(0, "1", "g", "a")] * 3 + [(8, "2", "g", "a")] * 2
    table = score(gallery + [(1, "1", "p", "a")] * 3 + [(1, "2", "p", "a")])
    assert table.identical_only() == 75
    assert (table.probes.tolist(), table.gallery.tolist(), table.gallery_subjects) == ([4], [5], 2)


def test_a_probe_without_counterpart_is_an_error() -> None:
    table = score([(0, "1", "g", "a"), (0, "1", "p", "a"), (5, "2", "p", "a")])
    assert table.identical_only() == 50
    # our convention leaves out the probe that cannot be right
    np.testing.assert_array_equal(table.outcomes.cells(1), [[100]])


def test_what_cannot_be_measured_is_left_out_and_counted() -> None:
    # subject 2 is not in the gallery of view b; view c has neither gallery nor probes
    gallery = [(0, "1", "g", "a"), (9, "2", "g", "a"), (0, "1", "g", "b")]
    table = score([*gallery, (1, "1", "p", "a"), (8, "2", "p", "a"), (6, "1", "p", "b"), (5, "2", "x", "c")])
    outcomes = table.outcomes
    np.testing.assert_array_equal(outcomes.cells(1), [[100, 100, np.nan], [0, 100, np.nan], [np.nan] * 3])
    scored = table.result()
    assert scored.row_names == scored.column_names == ("a", "b", "c")
    np.testing.assert_array_equal(scored.pairs, outcomes.cells(1))
    assert np.isnan(table.excluding_identical())
    assert (outcomes.rank(1), outcomes.rank(2)) == (50, 100)  # a against b, and b against a
    # compared: two probes of a with b and c, one of b with a and c; without a match: 2 in b, and all three in c
    assert (outcomes.comparisons, outcomes.unmatched, outcomes.missing_cells) == (6, 4, 4)


def test_a_view_without_probes_is_missing() -> None:
    table = score([(0, "1", "g", "a"), (0, "1", "g", "b"), (0, "1", "p", "a")])
    np.testing.assert_array_equal(table.rank1, [[100, 100], [np.nan, np.nan]])
    np.testing.assert_array_equal(table.by_probe_view(), [100, np.nan])
    assert np.isnan([table.excluding_identical(), table.identical_only()]).all()


def test_a_view_without_gallery_is_missing() -> None:
    table = score([(0, "1", "g", "a"), (0, "1", "p", "a"), (0, "1", "p", "b")])
    np.testing.assert_array_equal(table.rank1, [[100, np.nan], [100, np.nan]])
    assert np.isnan([table.excluding_identical(), table.identical_only()]).all()


@pytest.mark.filterwarnings("error")
def test_a_single_view_has_no_other_view() -> None:
    table = score([(0, "1", "g", "a"), (9, "2", "g", "a"), (0, "1", "p", "a")])
    assert np.isnan(table.excluding_identical())
    assert table.identical_only() == 100


def test_conditions_that_do_not_occur_leave_a_table_of_missing_cells() -> None:
    table = score([(0, "1", "other", "a"), (9, "2", "other", "b")])
    assert np.isnan(table.rank1).all()
    assert table.gallery_subjects == 0


def test_refuses_what_would_give_a_wrong_number() -> None:
    one, name = np.zeros((1, 1, 1), dtype=np.float32), ["x"]
    with pytest.raises(UsageError, match="no sequences"):
        single_view_gallery(one[:0], [], [], [], WALK, "euc")
    with pytest.raises(ValueError, match="1 embeddings with 2, 1, 1 subjects"):
        single_view_gallery(one, ["x", "y"], name, name, WALK, "euc")
    with pytest.raises(ValueError, match="NaN or infinite"):
        single_view_gallery(one * np.nan, name, name, name, WALK, "euc")
    with pytest.raises(ValueError, match="has g as probe and as gallery"):
        ProbeSet(name="all", probe=frozenset("pg"), gallery=frozenset("g"))


def test_views_can_be_left_out_or_taken_together() -> None:
    everything = [(0, "1", "g", "a_0"), (9, "2", "g", "b_0"), (1, "1", "p", "a_1"), (8, "2", "p", "b_0")]
    position, subjects, conditions, views = zip(*everything, strict=True)
    embeddings = np.array(position, dtype=np.float32).reshape(-1, 1, 1)
    protocol = Protocol(probe_sets=WALK.probe_sets, view_until="_", excluded_views=frozenset({"b"}))
    (table,) = single_view_gallery(embeddings, subjects, conditions, views, protocol, "euc")
    assert (table.views, table.rank1.tolist(), table.gallery_subjects) == (("a",), [[100]], 1)


def test_the_roles_of_a_probe_set() -> None:
    whole, part, single = (
        ProbeSet(name="whole", probe=frozenset({"p"}), gallery=frozenset({"g"})),
        ProbeSet(name="part", probe=frozenset({"p"}), gallery=frozenset({"g"}), by="part"),
        ProbeSet(name="single", probe=None, gallery=frozenset({"1/g/a"}), by="sequence"),
    )
    assert [role(whole, "1", condition, "a") for condition in ("p", "g", "0-p")] == ["probe", "gallery", "neither"]
    assert [role(part, "1", condition, "a") for condition in ("0-p", "0-g", "0-n")] == ["probe", "gallery", "neither"]
    assert [role(single, "1", "g", view) for view in ("a", "b")] == ["gallery", "probe"]
    with pytest.raises(ValueError, match="needs a list of names as probe, gallery or both"):
        ProbeSet(name="nothing", probe=None, gallery=None)
