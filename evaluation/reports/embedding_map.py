"""A map of embeddings: some people's walks as points, made of the distances that retrieval ranks by.

Two dimensions cannot keep the distances of hundreds: neighbours on the map are close, while the distance between two
groups of points means little.
"""

from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.typing import ColorType
from numpy.typing import NDArray

from evaluation.distances.metric import Metric, distances
from evaluation.figures import PALETTE, blank
from evaluation.retrieval.sequences import Sequences

MOST_POINTS = 600  # walks on a map: distances of all pairs are in memory
MOST_SUBJECTS = 12  # people on a map: more colours are hard to distinguish
FEWEST = 30  # points of a t-SNE; fewer are laid along the main axes of their distances
_PERPLEXITY = 20.0
_COLOURS = (*PALETTE[:7], "#1b1b1b", "#c7446a", "#9acd32", "#6b4423", "#ffb000")
_OTHERS = "#d0d0d0"
_MARKS = ("o", "s", "^")  # beside the colours, for readers who cannot tell these apart


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """The sequences on a map: their numbers `rows`, from `available` of these `subjects`, who are some of `people`."""

    rows: NDArray[np.int64]
    subjects: tuple[str, ...]
    available: int
    people: int


def draw_sample(sequences: Sequences, seed: int) -> Sample:
    """The walks of MOST_SUBJECTS people drawn at random; where these are more than MOST_POINTS, a random part."""
    generator = np.random.default_rng(seed)
    names = np.unique(sequences.subjects)
    chosen = np.sort(generator.permutation(names)[:MOST_SUBJECTS])
    theirs = np.flatnonzero(np.isin(sequences.subjects, chosen))
    rows = np.sort(generator.permutation(theirs)[:MOST_POINTS])
    return Sample(rows=rows, subjects=tuple(chosen.tolist()), available=len(theirs), people=len(names))


def project(embeddings: NDArray[np.floating], metric: Metric, seed: int) -> NDArray[np.float64]:
    """Positions [n, 2] of embeddings [n, C, P] on a map.

    Few points are laid along the main axes of their distances (classical scaling: Torgerson, Psychometrika 1952); from
    there, with FEWEST or more, t-SNE (van der Maaten and Hinton, JMLR 2008) moves neighbours together. Equal seeds and
    embeddings give equal maps on one machine.
    """
    between = distances(embeddings, embeddings, metric).astype(np.float64)
    between = np.maximum((between + between.T) / 2, 0)
    np.fill_diagonal(between, 0)
    if metric == "cos":
        between = np.sqrt(2 * between)  # the length of the chord between two unit vectors of this cosine
    start = _classical_scaling(between)
    if len(between) < FEWEST:
        return start
    perplexity = min(_PERPLEXITY, (len(between) - 1) / 3)
    spread = start[:, 0].std()
    init = 1e-4 * start / spread if spread > 0 else "random"
    from sklearn.manifold import TSNE  # here, since it takes a second, and few points do not need it

    method = TSNE(metric="precomputed", init=init, perplexity=perplexity, random_state=seed)
    return method.fit_transform(between).astype(np.float64)


def _classical_scaling(between: NDArray[np.float64]) -> NDArray[np.float64]:
    """Positions [n, 2] along the two main axes of distances [n, n]; the sign of an eigenvector is fixed by its largest
    entry."""
    squared = between**2
    inner = -(squared - squared.mean(axis=0) - squared.mean(axis=1)[:, None] + squared.mean()) / 2
    values, vectors = np.linalg.eigh(inner)
    positions = np.zeros((len(between), 2))
    for axis, largest in enumerate(np.argsort(-values)[:2]):
        vector = vectors[:, largest]
        positions[:, axis] = vector * np.sign(vector[np.abs(vector).argmax()]) * np.sqrt(max(values[largest], 0))
    return positions


def map_figure(title: str, sequences: Sequences, metric: Metric, seed: int, path: Path) -> None:
    """A map of some people's walks, coloured by person, and by view and by condition where there are several.

    Args:
        title: above all panels; the numbers of walks and people on the map stand below it.
        sequences: the test set; a sample of it is drawn, the same for every method and seed.
        metric: see `distances`.
        seed: of the sample and of the map.
        path: its suffix chooses the format.

    Raises:
        UsageError: unknown metric.
        ValueError: a suffix that matplotlib cannot write.
        OSError: the folder does not exist or cannot be written.
    """
    sample = draw_sample(sequences, seed)
    positions = project(sequences.embeddings[sample.rows], metric, seed)
    columns = {"person": sequences.subjects, "view": sequences.views, "condition": sequences.conditions}
    columns = {name: column[sample.rows] for name, column in columns.items()}
    shown = [name for name, column in columns.items() if name == "person" or len(np.unique(column)) > 1]
    wide, high = np.ptp(positions, axis=0).clip(1e-9)
    tall = float(np.clip(high / wide, 0.6, 1.2))
    figure = blank(width=4.0 * len(shown) + 0.6, height=4.0 * tall + 1.6)
    panels = figure.subplots(1, len(shown), squeeze=False)[0]
    for axes, name in zip(panels, shown, strict=True):
        _panel(axes, positions, columns[name], name)
    how = "t-SNE" if len(positions) >= FEWEST else "main axes"
    some = "" if len(sample.rows) == sample.available else f" of {sample.available:,}"
    shown_people = len(sample.subjects)
    people = (
        f"{shown_people} of {sample.people:,} people" if shown_people < sample.people else f"all {shown_people} people"
    )
    figure.suptitle(
        f"{title}\n{len(sample.rows):,}{some} walks of {people}, {how} of the distances that retrieval ranks by",
        fontsize=10,
    )
    figure.savefig(path)


def _panel(axes: Axes, positions: NDArray[np.float64], names: NDArray[np.str_], what: str) -> None:
    """One panel of `map_figure`."""
    for label, chosen, colour, mark in _groups(names, what):
        x, y = positions[chosen].T
        axes.scatter(x, y, s=13, color=colour, marker=mark, linewidths=0, alpha=0.85, label=label)
    axes.set_title(f"by {what}", fontsize=9)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.margins(0.04)
    axes.set_aspect("equal", adjustable="datalim")
    axes.legend(
        loc="upper center",
        bbox_to_anchor=(0.5, -0.01),
        ncols=4,
        frameon=False,
        fontsize=7,
        markerscale=1.4,
        handletextpad=0.1,
        columnspacing=0.8,
    )


def _groups(names: NDArray[np.str_], what: str) -> list[tuple[str, NDArray[np.bool_], ColorType, str]]:
    """Label, members, colour and mark of each group.

    Views that are numbers, angles mostly, have a ramp of colours in their order. Of others with too many names the
    most frequent have a colour each, and the rest are grey.
    """
    kinds, counts = np.unique(names, return_counts=True)
    if what == "view" and all(kind.isdecimal() for kind in kinds):
        ordered = sorted(kinds.tolist(), key=int)
        ramp = matplotlib.colormaps["viridis"](np.linspace(0, 0.93, len(ordered)))
        return [(kind, names == kind, tuple(colour), "o") for kind, colour in zip(ordered, ramp, strict=True)]
    most = len(kinds) if len(kinds) <= len(_COLOURS) else len(_COLOURS) - 1
    named = np.sort(kinds[np.argsort(-counts, kind="stable")[:most]]).tolist()
    rest = ~np.isin(names, named)
    groups: list[tuple[str, NDArray[np.bool_], ColorType, str]] = []
    if rest.any():
        groups.append((f"{len(kinds) - most} others", rest, _OTHERS, "o"))
    for number, kind in enumerate(named):
        groups.append((kind, names == kind, _COLOURS[number], _MARKS[number % len(_MARKS)]))
    return groups
