"""Rows of results: they hold what was measured, for a data frame, CSV and MLflow."""

from dataclasses import replace
from io import StringIO

import numpy as np
import pandas as pd
import pytest

from evaluation.metrics import legend
from evaluation.reports import results, tables
from evaluation.reports.results import to_frame
from evaluation.retrieval import pooled
from evaluation.retrieval.metrics import METRICS, _of_list, average_precision, inverse_negative_penalty
from tests.fixtures.results import evaluated


def test_rows_come_from_results() -> None:
    pairs, ranked = evaluated()
    counts = {"num_probes": 6, "num_gallery": 5, "num_gallery_subjects": 3}
    # positions 0, 4.4 and 8.8 against 0, 3 and 6: all right, but in view 090 there is no third
    assert pairs.excluding_identical == pytest.approx((100 + 66.67) / 2)
    value = {name: one.value for name, one in pairs.metrics.items()}
    assert (pairs.identical_only, value["rank1"], value["rank5"]) == (pairs.excluding_identical, 100, 100)
    assert (pairs.metric("rank1").low, pairs.metric("rank1").high) == (100, 100)
    assert (pairs.num_comparisons, pairs.num_unmatched, pairs.num_cells, pairs.num_missing_cells) == (6, 1, 2, 0)
    assert (value["rank10"], value["rank20"]) == (100, 100)
    assert np.isnan([value["map"], value["minp"], ranked.identical_only]).all()
    value = {name: one.value for name, one in ranked.metrics.items()}
    assert list(value) == ["rank1", "rank5", "rank10", "rank20", "map", "minp"] and set(value.values()) == {100}
    assert ranked.metric("map").low == 100 and np.isnan(ranked.metric("rank5").low)
    assert (ranked.kind, ranked.num_comparisons, ranked.num_unmatched) == ("pooled", 6, 0)
    assert ranked.excluding_identical == 100
    for found in (pairs, ranked):
        assert {name: getattr(found, name) for name in counts} == counts


def test_metrics_of_lists_by_hand() -> None:
    ranks = np.array([2, 3, 6])
    assert average_precision(ranks) == pytest.approx((1 / 2 + 2 / 3 + 3 / 6) / 3)
    assert inverse_negative_penalty(ranks) == 3 / 6


def test_frame_goes_through_csv() -> None:
    rows = [replace(row, zero_shot="unseen collection", method="encoder, tiny") for row in evaluated()]
    frame = to_frame(rows)
    pd.testing.assert_frame_equal(pd.read_csv(StringIO(frame.to_csv(index=False))), frame, check_dtype=False)
    assert set(to_frame(evaluated())["zero_shot"]) == {""}
    assert frame.loc[1, "method"] == "encoder, tiny"
    assert np.isnan(frame.loc[1, "identical_only"]) and frame.loc[1, "map_low"] == 100
    assert list(to_frame([]).columns) == list(frame.columns)
    measured = ["rank1", "rank1_low", "rank1_high", "rank5", "rank10", "rank20", "map", "map_low", "map_high", "minp"]
    assert list(frame.columns) == [
        *("method", "collection", "kind", "probe_set", *measured, "excluding_identical", "identical_only"),
        *("num_probes", "num_gallery", "num_gallery_subjects", "num_comparisons", "num_unmatched", "num_cells"),
        *("num_missing_cells", "num_excluded", "zero_shot"),
    ]


def test_an_entry_of_the_list_is_all_that_a_metric_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    last = _of_list("last", "last hit", "one over the rank of the last correct sequence", lambda ranks: 1 / ranks[-1])
    for module in (pooled, results, tables):
        monkeypatch.setattr(module, "METRICS", (*METRICS, last))
    pairs, ranked = evaluated()
    mean = pytest.approx(100 * (4 * 1 / 2 + 2 * 1) / 6)  # four probes have two correct sequences, two have one
    assert ranked.metric("last").value == mean and np.isnan(pairs.metric("last").value)
    assert list(to_frame([ranked])["last"]) == [mean]
    assert ranked.tracked()["GEI/Park/pooled/NM/last"] == mean
    assert tables.to_text([ranked]).splitlines()[1].endswith("mINP  last hit")
    assert "| mINP | last hit |" in tables.to_markdown([ranked])
    assert "- last hit: one over the rank" in legend([last])


def test_what_is_missing_is_not_tracked() -> None:
    pairs, ranked = (row.tracked() for row in evaluated())
    assert ranked["GEI/Park/pooled/NM/map_high"] == 100
    assert not any("rank1_" in name and "low" not in name and "high" not in name for name in ranked)
    assert pairs["GEI/Park/view-pairs/NM/rank1"] == 100
    assert pairs["GEI/Park/NM/rank1_excluding_identical"] == pytest.approx((100 + 66.67) / 2)
    assert "GEI/Park/view-pairs/NM/map" not in pairs and not any(np.isnan(value) for value in pairs.values())


def test_the_legend_explains_every_metric_of_the_tables() -> None:
    lines = legend(METRICS).splitlines()
    assert [line.split(":")[0] for line in lines] == [f"- {metric.title}" for metric in METRICS if metric.in_tables]
    assert all(line.endswith("(higher is better)") for line in lines)
    lower = replace(METRICS[0], higher_is_better=False, title="error")
    assert legend([lower]).startswith("- error: ") and legend([lower]).endswith("(lower is better)")
    assert legend([replace(lower, in_tables=False)]) == ""
