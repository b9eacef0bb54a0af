"""Heat maps of pairs: colours are the numbers, what is missing is hatched, what is identical is outlined."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from datasets.schema.protocol import ProtocolKind
from evaluation.reports.heat_maps import IDENTICAL, heat_map_figure
from evaluation.retrieval.outcomes import Outcomes, ProtocolResult

VIEWS = ("000", "090", "180")
NAN = float("nan")
PAIRS = np.array([[100, 40, 0], [NAN, NAN, NAN], [60, 20, 80]])


def result_of(
    pairs: np.ndarray, rows: tuple[str, ...], columns: tuple[str, ...], kind: ProtocolKind = "view-pairs"
) -> ProtocolResult:
    """A result with these pairs; its mean, of one probe in one cell, is 100."""
    outcomes = Outcomes(
        ranks=np.ones((1, 1), int),
        subjects=np.array(["1"]),
        rows=np.zeros(1, np.int64),
        weights=np.ones((1, 1)),
        max_rank=5,
    )
    return ProtocolResult(
        kind=kind,
        probe_set="NM",
        outcomes=outcomes,
        excluding_identical=NAN,
        identical_only=NAN,
        num_probes=1,
        num_gallery=1,
        num_gallery_subjects=1,
        num_excluded=0,
        row_names=rows,
        column_names=columns,
        pairs=pairs,
    )


@pytest.fixture
def saved(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    figures, save = [], Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda figure, path: (figures.append(figure), save(figure, path)))
    return figures


def squares(axes: Axes) -> tuple[set[tuple[int, int]], set[tuple[int, int]]]:
    """Row and column of the hatched cells, and of the outlined ones."""
    cells = [(round(one.get_y() + 0.5), round(one.get_x() + 0.5), one) for one in axes.patches]
    outlined = {(y, x) for y, x, one in cells if to_hex(one.get_edgecolor()) == IDENTICAL}
    return {(y, x) for y, x, one in cells if one.get_hatch()}, outlined


def test_a_panel_shows_each_pair_once(tmp_path: Path, saved: list[Figure]) -> None:
    heat_map_figure("Park, GEI", [result_of(PAIRS, VIEWS, VIEWS)] * 4, tmp_path / "pairs.png")
    panels = [axes for axes in saved[0].axes if axes.get_title()]
    assert len(panels) == 4
    axes = panels[0]
    np.testing.assert_array_equal(axes.images[0].get_array().filled(NAN), PAIRS)
    assert axes.images[0].get_clim() == (0, 100)
    hatched, outlined = squares(axes)
    assert hatched == {(1, 0), (1, 1), (1, 2)}
    assert outlined == {(0, 0), (1, 1), (2, 2)}
    written = {tuple(map(round, text.get_position()))[::-1]: text.get_text() for text in axes.texts}
    assert written == {(0, 0): "100", (0, 1): "40", (0, 2): "0", (2, 0): "60", (2, 1): "20", (2, 2): "80"}
    assert [text.get_text() for text in axes.get_xticklabels()] == list(VIEWS)
    assert axes.get_title() == "NM\nmean of different views 100.0; 3 missing"


def test_rows_and_columns_may_differ(tmp_path: Path, saved: list[Figure]) -> None:
    one = result_of(PAIRS[:, 1:2], ("a", "b", "c"), ("b",), "condition-pairs")
    heat_map_figure("CCGR", [one], tmp_path / "pairs.png")
    axes = saved[0].axes[0]
    assert squares(axes) == ({(1, 0)}, {(1, 0)})
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("gallery condition", "probe condition")


def test_many_conditions_have_no_numbers_and_labels_that_do_not_overlap(tmp_path: Path, saved: list[Figure]) -> None:
    names = tuple(f"CONDITION{number}" for number in range(54))
    pairs = np.random.default_rng(0).uniform(0, 100, (54, 54))
    one = result_of(pairs, names, names, "condition-pairs")
    heat_map_figure("CCGR", [replace(one, column_names=names[:1], pairs=pairs[:, :1]), one], tmp_path / "pairs.png")
    figure = saved[0]
    for axes in figure.axes[:2]:
        assert not axes.texts
        boxes = [label.get_window_extent() for label in axes.get_yticklabels()]
        assert all(below.y1 <= above.y0 + 0.5 for above, below in pairwise(boxes))
        assert min(box.x0 for box in boxes) >= 0


def test_nothing_to_compare_is_said(tmp_path: Path, saved: list[Figure]) -> None:
    results = [result_of(np.empty((0, 0)), (), ()), result_of(PAIRS, VIEWS, VIEWS)]
    heat_map_figure("Park", results, tmp_path / "pairs.png")
    assert [text.get_text() for text in saved[0].axes[0].texts] == ["no probes or no gallery"]


def test_refuses_what_forms_no_pairs(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no results of pairs"):
        heat_map_figure("Park", [], tmp_path / "pairs.png")
    with pytest.raises(ValueError, match="no results of pairs"):
        heat_map_figure("Park", [result_of(PAIRS, VIEWS, VIEWS, "pooled")], tmp_path / "pairs.png")
