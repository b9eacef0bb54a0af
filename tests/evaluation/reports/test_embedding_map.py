"""Maps of embeddings: whose walks are on them, that neighbours stay neighbours, and that maps can be made again."""

from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from matplotlib.figure import Figure
from scipy.spatial.distance import cdist

from evaluation.distances.metric import Metric, distances
from evaluation.reports import embedding_map
from evaluation.reports.embedding_map import draw_sample, map_figure, project
from evaluation.retrieval.sequences import Sequences


def people(count: int, walks: int, noise: float = 0.3, views: tuple[str, ...] = ("000", "090", "180")) -> Sequences:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(count, 8, 3))
    who = np.repeat(np.arange(count), walks)
    embeddings = (centres[who] + noise * rng.normal(size=(len(who), 8, 3))).astype(np.float32)
    seen = [views[number % len(views)] for number in range(len(who))]
    conditions = [f"nm-{number % 20:02d}" for number in range(len(who))]
    return Sequences.of(embeddings, [f"{one:03d}" for one in who], conditions, seen)


@pytest.mark.parametrize("metric", ["euc", "cos"])
def test_neighbours_stay_neighbours(metric: Metric) -> None:
    everyone = people(6, 12)
    positions = project(everyone.embeddings, metric, seed=0)
    between = cdist(positions, positions) + 1e9 * np.eye(72)
    assert (everyone.subjects[between.argmin(axis=1)] == everyone.subjects).mean() > 0.95
    np.testing.assert_array_equal(project(everyone.embeddings, metric, seed=0), positions)


def test_few_points_lie_along_the_main_axes_of_their_distances() -> None:
    line = np.linspace(0, 5, 9, dtype=np.float32)[:, None, None] * np.ones((1, 1, 3), dtype=np.float32)
    positions = project(line, "euc", seed=0)
    np.testing.assert_allclose(cdist(positions, positions), distances(line, line, "euc"), atol=1e-3)
    assert project(line[:1], "euc", seed=0).tolist() == [[0, 0]]
    np.testing.assert_array_equal(project(np.ones((40, 2, 2), np.float32), "euc", seed=0).shape, (40, 2))


def test_a_sample_holds_whole_people_as_far_as_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    everyone = people(30, 10)
    sample = draw_sample(everyone, seed=0)
    assert len(sample.subjects) == 12 and (sample.available, sample.people) == (120, 30)
    assert set(everyone.subjects[sample.rows]) == set(sample.subjects) and len(sample.rows) == 120
    assert draw_sample(everyone, seed=0).subjects == sample.subjects != draw_sample(everyone, seed=1).subjects
    monkeypatch.setattr(embedding_map, "MOST_POINTS", 50)
    fewer = draw_sample(everyone, seed=0)
    assert (len(fewer.rows), fewer.available, fewer.subjects) == (50, 120, sample.subjects)
    assert len(draw_sample(people(3, 2), seed=0).subjects) == 3


def test_panels_are_coloured_by_person_view_and_condition(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figures, save = [], Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda figure, path: (figures.append(figure), save(figure, path)))
    monkeypatch.setattr(embedding_map, "MOST_POINTS", 60)
    map_figure("Park, GEI", people(14, 20), "euc", 0, tmp_path / "map.png")
    map_figure("Park, GEI", people(3, 5, views=("090",)), "euc", 0, tmp_path / "few.png")
    persons, views, conditions = figures[0].axes
    assert [axes.get_title() for axes in figures[0].axes] == ["by person", "by view", "by condition"]
    for axes, most in ((persons, 12), (views, 3), (conditions, 12)):
        assert sum(len(group.get_offsets()) for group in axes.collections) == 60
        assert len(axes.collections) <= most
        shown = {
            (tuple(group.get_facecolor()[0]), group.get_paths()[0].vertices.tobytes()) for group in axes.collections
        }
        assert len(shown) == len(axes.collections), "two groups look alike"
    assert [text.get_text() for text in views.get_legend().get_texts()] == ["000", "090", "180"]
    assert conditions.get_legend().get_texts()[0].get_text() == "9 others"
    assert "60 of 240 walks of 12 of 14 people, t-SNE" in figures[0].get_suptitle()
    assert [axes.get_title() for axes in figures[1].axes] == ["by person", "by condition"]
    assert "15 walks of all 3 people, main axes" in figures[1].get_suptitle()
    picture = matplotlib.image.imread(tmp_path / "map.png")[:, :, :3]
    colour = persons.collections[1].get_facecolor()[0]
    blended = colour[3] * colour[:3] + 1 - colour[3]
    assert (np.abs(picture - blended).max(axis=2) < 0.02).sum() > 50
