"""Match curves: the numbers of the results, panel by panel, and dashes for what is missing."""

from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from datasets.schema.protocol import ProbeSet, Protocol
from evaluation.figures import PALETTE
from evaluation.reports.cmc import BANDED, band, cmc_figure, curve
from evaluation.retrieval.outcomes import ProtocolResult
from evaluation.retrieval.protocols import evaluate_protocol
from evaluation.retrieval.sequences import Sequences
from evaluation.text_table import MISSING

SETS = tuple(ProbeSet(name=name, probe=frozenset({name}), gallery=frozenset("g")) for name in ("NM", "CL"))
PROTOCOL = Protocol(probe_sets=SETS, kinds=("view-pairs", "pooled"))


def results(noise: float, probes: tuple[str, ...] = ("NM", "CL")) -> list[ProtocolResult]:
    """Of twenty-five people before two cameras."""
    rng = np.random.default_rng(1)
    walks = [(str(n), condition, view) for n in range(25) for condition in ("g", *probes) for view in ("000", "090")]
    people = rng.normal(size=(25, 6, 2))
    embeddings = np.stack([people[int(n)] + noise * rng.normal(size=(6, 2)) for n, *_ in walks])
    return evaluate_protocol(Sequences.of(embeddings.astype(np.float32), *zip(*walks, strict=True)), PROTOCOL, "euc")


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Every figure that is saved."""
    saved, save = [], Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda figure, path: (saved.append(figure), save(figure, path)))
    return saved


def test_a_curve_is_the_accuracy_rank_by_rank() -> None:
    pairs, pooled = results(1.2)[0], results(1.2)[2]
    for one in (pairs, pooled):
        ranks, values = curve(one)
        assert ranks == list(range(1, 21))
        assert values == [one.outcomes.rank(rank) for rank in ranks]
        assert values == sorted(values) and values[0] < values[-1]
        low, high = band(one, ranks, values)
        for rank in BANDED:
            assert (low[rank - 1], high[rank - 1]) == pytest.approx(one.outcomes.rank_interval(rank))
        assert (low >= 0).all() and (low <= values).all() and (high >= values).all() and (high <= 100).all()


def test_there_is_a_panel_for_each_probe_set_and_a_line_for_each_method(tmp_path: Path, figures: list[Figure]) -> None:
    good, poor = results(0.8), results(2.0)
    everything = [(method, "Park", one) for method, some in (("GEI", poor), ("pretrained", good)) for one in some]
    cmc_figure(everything, tmp_path / "cmc.png")
    panels = [axes for axes in figures[0].axes if axes.get_title()]
    assert [axes.get_title() for axes in panels] == [
        *("Park, NM\npairs of different views", "Park, CL\npairs of different views"),
        *("Park, NM\npooled", "Park, CL\npooled"),
    ]
    for number, axes in enumerate(panels):
        lines = {line.get_label(): line for line in axes.get_lines()}
        assert list(lines) == ["GEI", "pretrained"]
        for method, some in (("GEI", poor), ("pretrained", good)):
            np.testing.assert_array_equal(lines[method].get_ydata(), curve(some[number])[1])
        assert [to_hex(line.get_color()) for line in lines.values()] == list(PALETTE[:2])
        assert len(axes.collections) == 2 and not axes.texts  # a band each, nothing missing
    assert [text.get_text() for text in figures[0].legends[0].get_texts()] == ["GEI", "pretrained"]
    picture = matplotlib.image.imread(tmp_path / "cmc.png")[:, :, :3]
    for colour in PALETTE[:2]:
        expected = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
        assert (np.abs(picture - expected).max(axis=2) < 0.02).sum() > 200, f"nothing is drawn in {colour}"


def test_what_is_missing_is_named_and_not_drawn(tmp_path: Path, figures: list[Figure]) -> None:
    unmeasured, measured = results(1.0, probes=("NM",)), results(1.0)
    cmc_figure([("GEI", "Park", unmeasured[1]), ("pretrained", "Park", measured[1])], tmp_path / "cmc.png")
    partly = [("GEI", "Park", measured[0]), ("pretrained", "Park", measured[0]), ("GEI", "Park", measured[1])]
    cmc_figure(partly, tmp_path / "b.png")
    (panel,) = figures[0].axes
    assert [line.get_label() for line in panel.get_lines()] == ["pretrained"]
    assert [text.get_text() for text in panel.texts] == [f"GEI {MISSING}"]
    assert [text.get_text() for axes in figures[1].axes for text in axes.texts] == [f"pretrained {MISSING}"]
    cmc_figure([("GEI", "Park", unmeasured[1])], tmp_path / "none.png")  # a panel of nothing but a dash


def test_refuses_what_it_cannot_draw(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no results"):
        cmc_figure([], tmp_path / "cmc.png")
    twice = [("GEI", "Park", results(1.0)[0])] * 2
    with pytest.raises(ValueError, match="Park: two results of GEI on NM"):
        cmc_figure(twice, tmp_path / "cmc.png")
