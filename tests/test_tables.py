"""Results tables and figures: what is missing stays missing, and what is shown is what was measured."""

from dataclasses import replace
from io import StringIO
from pathlib import Path

import matplotlib.image
import numpy as np
import pandas as pd
import pytest

from evaluation.plots import loss_figure, rank1_figure
from evaluation.retrieval import ViewPairTable
from evaluation.tables import MISSING, ResultRow, from_tables, render, to_frame

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


def test_rows_come_from_tables() -> None:
    table = ViewPairTable(
        name="NM",
        views=("000", "090"),
        rank1=np.array([[100.0, 50.0], [25.0, 80.0]]),
        probes=np.array([4, 5]),
        gallery=np.array([6, 7]),
        gallery_subjects=3,
    )
    (result,) = from_tables("GEI", "Park", [table])
    assert result == replace(row("GEI", "NM", 37.5, 90), num_probes=9, num_gallery=13, num_gallery_subjects=3)


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


def test_chance_level_is_a_range_over_unequal_galleries() -> None:
    unequal = [ROWS[0], replace(ROWS[1], num_gallery_subjects=10), replace(ROWS[2], num_gallery_subjects=0)]
    assert render(unequal).endswith("chance level 2.00 to 10.00 (1 of 50 to 10 subjects)")
    assert render(unequal[2:]).endswith(f"chance level {MISSING} (no gallery subjects)")


def test_render_refuses_two_results_for_one_cell() -> None:
    with pytest.raises(ValueError, match="Park: two results of GEI on NM"):
        render([ROWS[0], ROWS[0]])


def test_frame_goes_through_csv() -> None:
    frame = to_frame(ROWS)
    pd.testing.assert_frame_equal(pd.read_csv(StringIO(frame.to_csv(index=False))), frame, check_dtype=False)
    assert frame.loc[4, "method"] == "encoder, tiny"
    assert np.isnan(frame.loc[4, "excluding_identical"])
    assert list(to_frame([]).columns) == list(frame.columns)


def test_figures_are_drawn(tmp_path: Path) -> None:
    rank1_figure(ROWS, tmp_path / "rank1.png")
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
