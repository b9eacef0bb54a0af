"""Results tables and figures: what is missing stays missing, and what is shown is what was measured."""

from dataclasses import replace
from io import StringIO
from pathlib import Path

import matplotlib.image
import numpy as np
import pandas as pd
import pytest

from datasets.schema.protocol import ProbeSet, Protocol
from evaluation.reports.loss_curve import loss_figure
from evaluation.reports.rank1_bars import rank1_figure
from evaluation.reports.tables import ResultRow, from_scores, render, to_frame
from evaluation.retrieval.protocols import score
from evaluation.retrieval.sequences import Sequences
from evaluation.text_table import MISSING

NAN = float("nan")


def row(method: str, probe_set: str, excluding: float, identical: float, collection: str = "Park") -> ResultRow:
    return ResultRow(
        method=method,
        collection=collection,
        probe_set=probe_set,
        excluding_identical=excluding,
        identical_only=identical,
        num_probes=100,
        num_gallery=200,
        num_gallery_subjects=50,
    )


ROWS = [
    row("GEI", "NM", 20.004, 90),
    row("GEI", "BG", 10, 60),
    row("GEI", "CL", 6, 30),
    row("encoder, tiny", "NM", 75, 100),
    row("encoder, tiny", "BG", NAN, 88.889),
]


def scored(**settings: str) -> list[ResultRow]:
    """Four walks of each of three subjects on a line, before two cameras; one subject is missing from a gallery."""
    walks = [(3.0 * n, str(n), "g", view) for n in range(3) for view in ("000", "090")][:-1]
    walks += [(3.0 * n + 1.4 * n, str(n), "p", view) for n in range(3) for view in ("000", "090")]
    position, *names = zip(*walks, strict=True)
    sequences = Sequences.of(np.array(position, dtype=np.float32).reshape(-1, 1, 1), *names)
    nm = ProbeSet(name="NM", probe=frozenset("p"), gallery=frozenset("g"))
    return from_scores("GEI", "Park", score(sequences, Protocol(probe_sets=(nm,), kinds=KINDS), "euc"), **settings)


KINDS = ("view-pairs", "pooled")


def test_rows_come_from_scores() -> None:
    pairs, pooled = scored()
    counts = {"num_probes": 6, "num_gallery": 5, "num_gallery_subjects": 3}
    # positions 0, 4.4 and 8.8 against 0, 3 and 6: all right, but in view 090 there is no third
    assert pairs.excluding_identical == pytest.approx((100 + 66.67) / 2)
    assert (pairs.identical_only, pairs.rank1, pairs.rank5) == (pairs.excluding_identical, 100, 100)
    assert (pairs.rank1_low, pairs.rank1_high) == (100, 100)
    assert (pairs.num_comparisons, pairs.num_unmatched, pairs.num_cells, pairs.num_missing_cells) == (6, 1, 2, 0)
    assert (pairs.rank10, pairs.rank20) == (100, 100)
    assert np.isnan([pairs.map, pairs.minp, pooled.identical_only]).all()
    assert (pooled.rank1, pooled.rank20, pooled.map, pooled.minp, pooled.map_low) == (100, 100, 100, 100, 100)
    assert (pooled.kind, pooled.num_comparisons, pooled.num_unmatched, pooled.excluding_identical) == (
        "pooled",
        6,
        0,
        100,
    )
    for found in (pairs, pooled):
        assert {name: getattr(found, name) for name in counts} == counts


def test_render_says_how_much_was_scored_and_left_out() -> None:
    views, pooled = render(scored()).split("\n\n")
    assert views.splitlines()[-4:] == [
        "method                     NM",
        "GEI     100.00 [100.0, 100.0]",
        "chance level 33.33 (1 of 3 subjects)",
        "NM: 6 probes, 5 gallery sequences; left out: 1 of 6 comparisons without a match",
    ]
    assert pooled.splitlines() == [
        "Park: pooled, accuracy in %",
        "probe set  method  rank-1    95% interval  rank-5  rank-10  rank-20     mAP    mINP",
        "NM         GEI     100.00  [100.0, 100.0]  100.00   100.00   100.00  100.00  100.00",
        "chance level 33.33 (1 of 3 subjects)",
        "NM: 6 probes, 5 gallery sequences",
    ]


def test_render_shows_every_method_once_and_dashes_for_what_is_missing() -> None:
    assert render(ROWS).splitlines() == [
        "Park: rank-1 accuracy in %",
        "               without the identical view      | identical view alone",
        "method             NM      BG      CL    mean  |     NM      BG      CL    mean",
        "GEI             20.00   10.00    6.00   12.00  |  90.00   60.00   30.00   60.00",
        "encoder, tiny   75.00       -       -       -  | 100.00   88.89       -       -".replace("-", MISSING),
        "chance level 2.00 (1 of 50 subjects)",
    ]


def test_render_keeps_collections_apart() -> None:
    blocks = render([*ROWS, row("GEI", "walk", 1, 2, collection="Street")]).split("\n\n")
    assert [block.splitlines()[0].split(":")[0] for block in blocks] == ["Park", "Street"]
    assert blocks[0] == render(ROWS)
    assert "CL" not in blocks[1]


def test_the_heading_says_in_what_sense_a_method_is_zero_shot() -> None:
    assert scored(zero_shot="unseen subjects")[0].zero_shot == "unseen subjects"
    gei, *trained = [replace(row, zero_shot="unseen collection") if row.method != "GEI" else row for row in ROWS[2:]]
    first = "Park: rank-1 accuracy in %"
    assert render([gei, *trained]).splitlines()[0] == f"{first}, zero-shot on an unseen collection"
    both = [gei, *trained, replace(gei, method="other", zero_shot="unseen subjects")]
    assert render(both).splitlines()[0] == (
        f"{first}, encoder, tiny zero-shot on an unseen collection, other zero-shot on unseen subjects"
    )
    assert render([gei]).splitlines()[0] == first


def test_chance_level_is_a_range_over_unequal_galleries() -> None:
    unequal = [ROWS[0], replace(ROWS[1], num_gallery_subjects=10), replace(ROWS[2], num_gallery_subjects=0)]
    assert render(unequal).endswith("chance level 2.00 to 10.00 (1 of 50 to 10 subjects)")
    assert render(unequal[2:]).endswith(f"chance level {MISSING} (no gallery subjects)")


def test_render_refuses_two_results_for_one_cell() -> None:
    with pytest.raises(ValueError, match="Park: two results of GEI on NM"):
        render([ROWS[0], ROWS[0]])


def test_frame_goes_through_csv() -> None:
    frame = to_frame([replace(row, zero_shot="unseen collection") for row in ROWS])
    pd.testing.assert_frame_equal(pd.read_csv(StringIO(frame.to_csv(index=False))), frame, check_dtype=False)
    assert set(to_frame(ROWS)["zero_shot"]) == {""}
    assert frame.loc[4, "method"] == "encoder, tiny"
    assert np.isnan(frame.loc[4, "excluding_identical"])
    assert list(to_frame([]).columns) == list(frame.columns)


def test_figures_are_drawn(tmp_path: Path) -> None:
    rank1_figure([*ROWS, *scored()[1:], row("GEI", "walk", 1, 2, "Street")], tmp_path / "rank1.png")
    loss_figure([0, 1, 2], [3.0, NAN, 1.0], tmp_path / "short.png")
    loss_figure(range(100), np.geomspace(5, 1, 100), tmp_path / "long.png")
    loss_figure([7], [1.0], tmp_path / "one.png")
    for name in ("rank1", "short", "long", "one"):
        image = matplotlib.image.imread(tmp_path / f"{name}.png")
        assert image.std() > 0.01, f"{name} is blank"


def test_figures_refuse_what_they_cannot_draw(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no results"):
        rank1_figure([], tmp_path / "rank1.png")
    with pytest.raises(ValueError, match="two results"):
        rank1_figure([ROWS[0], ROWS[0]], tmp_path / "rank1.png")
    with pytest.raises(ValueError, match="2 steps, 1 losses"):
        loss_figure([1, 2], [1.0], tmp_path / "loss.png")
