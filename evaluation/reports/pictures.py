"""All pictures of one collection: curves of every method, heat maps, retrieval sheets and a map of each.

Here it is decided which pictures apply and what their files are called; each is drawn in a module of its own.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from datasets.schema.protocol import ProbeSet, Protocol, ProtocolKind
from evaluation.distances.metric import Metric
from evaluation.reports.cmc import cmc_figure
from evaluation.reports.embedding_map import map_figure
from evaluation.reports.heat_maps import heat_map_figure
from evaluation.reports.results import PAIRED
from evaluation.reports.retrieval_sheet import Frames, Group, retrieval_sheet
from evaluation.retrieval.nearest import ProbeSample, nearest, sample_probes
from evaluation.retrieval.outcomes import ProtocolResult
from evaluation.retrieval.sequences import Sequences

PROBES, GALLERY = 8, 7  # rows of a sheet, and gallery sequences in each
_COMPARED: dict[ProtocolKind, str] = {
    "pooled": "the whole gallery",
    "pooled-other-views": "the gallery without the probe's own subject and view",
    "cross-view-gallery": "the gallery without the probe's own subject and view",
    "view-pairs": "the gallery of all other views",
    "condition-pairs": "the gallery of all other conditions and views",
}


def draw(
    collection: str,
    protocol: Protocol,
    shown: Mapping[str, Sequences],
    results_by_method: Mapping[str, Sequence[ProtocolResult]],
    metric: Metric,
    frames_of: Frames,
    folder: Path,
    seed: int = 0,
) -> list[Path]:
    """Write every picture that applies to a collection, as PNG; returns their paths.

    - `<collection>-cmc.png`: all methods;
    - `<collection>-<kind>-<method>.png`: heat maps of a kind of protocol that forms pairs, a panel for each probe set;
    - `<collection>-sheet-<probe set>-<method>.png`: some probes with their ranked gallery, by the first kind of
      protocol that evaluated the set; none where no probe has a match in the gallery;
    - `<collection>-map-<method>.png`: some people's walks on a map.

    Characters that do not belong in the name of a file become `-`. The same seed chooses the same people for the map of
    each method; which probes are right and wrong differs, and so do the probes of a sheet.

    Args:
        collection: its name.
        protocol: by which the methods were evaluated.
        shown: the embeddings of the methods with heat maps, sheets and a map of their own, of the same sequences in the
            same order.
        results_by_method: results of these methods, and of others, by `evaluate_protocol`.
        metric: the distance by which they were evaluated.
        frames_of: the silhouettes of a sequence by its number, uint8 [T, H, W] of 0 and 1, all of one height and width;
            called for a few dozen sequences a sheet.
        folder: an existing folder.
        seed: of all random draws.

    Raises:
        UsageError: unknown metric.
        ValueError: a method to be shown that has no results.
        OSError: the folder does not exist or cannot be written.
    """
    if not set(shown) <= set(results_by_method):
        raise ValueError(f"embeddings of {[*shown]}, results of {[*results_by_method]}")
    paths: list[Path] = []
    every = [(method, collection, one) for method, results in results_by_method.items() for one in results]
    if every:
        cmc_figure(every, _named(paths, folder, collection, "cmc"))
    for method, sequences in shown.items():
        results = results_by_method[method]
        for kind in dict.fromkeys(result.kind for result in results if result.kind in PAIRED):
            title = f"{collection}, {method}: pairs of {PAIRED[kind]}s"
            path = _named(paths, folder, collection, kind, method)
            heat_map_figure(title, [result for result in results if result.kind == kind], path)
        for kind, probe_set in _first_kinds(protocol, results):
            groups = _groups(sequences, protocol, kind, probe_set, metric, seed)
            if any(group.rows for group in groups):
                title = f"{collection}, {method}: {probe_set.name} against {_COMPARED[kind]}"
                path = _named(paths, folder, collection, "sheet", probe_set.name, method)
                retrieval_sheet(title, groups, sequences, frames_of, path)
        path = _named(paths, folder, collection, "map", method)
        map_figure(f"{collection}, {method}", sequences, metric, seed, path)
    return paths


def _groups(
    sequences: Sequences, protocol: Protocol, kind: ProtocolKind, probe_set: ProbeSet, metric: Metric, seed: int
) -> list[Group]:
    """The two halves of a sheet, probes that are right at rank 1 and probes that are wrong."""
    drawn = sample_probes(sequences, protocol, kind, probe_set, metric, PROBES, seed)
    return [
        Group(heading=heading, rows=nearest(sequences, protocol, kind, probe_set, metric, probes, GALLERY))
        for heading, probes in zip(_headings(drawn), (drawn.right, drawn.wrong), strict=True)
    ]


def _first_kinds(protocol: Protocol, results: Sequence[ProtocolResult]) -> Iterator[tuple[ProtocolKind, ProbeSet]]:
    """Every probe set with a result, and the first kind of protocol that evaluated it."""
    evaluated, seen = {(result.kind, result.probe_set) for result in results}, set()
    for kind, probe_set in protocol.scored():
        if (kind, probe_set.name) in evaluated and probe_set.name not in seen:
            seen.add(probe_set.name)
            yield kind, probe_set


def _headings(drawn: ProbeSample) -> tuple[str, str]:
    """What the two halves of a sheet show: the share of the probes that is right or wrong, and how many are drawn."""
    of = f"{drawn.ranked - drawn.unmatched:,} probes"
    if drawn.ranked < drawn.probes:
        of += f" (a random sample of {drawn.probes:,})"
    left_out = f"; {drawn.unmatched:,} more without a match in the gallery" if drawn.unmatched else ""
    shares = (drawn.right_share, 1 - drawn.right_share)
    words, numbers = ("Right", "Wrong"), (len(drawn.right), len(drawn.wrong))
    first, second = (
        f"{word} at rank 1: {100 * share:.1f}% of {of}, {number} of them shown"
        for word, share, number in zip(words, shares, numbers, strict=True)
    )
    return first + left_out, second


def _named(paths: list[Path], folder: Path, *names: str) -> Path:
    """A path for a picture of these names, unlike the `paths` so far, to which it is added."""
    stem = "-".join(re.sub(r"[^\w.]+", "-", name).strip("-.") for name in names)
    path, number = folder / f"{stem}.png", 1
    while path in paths:
        number += 1
        path = folder / f"{stem}-{number}.png"
    paths.append(path)
    return path
