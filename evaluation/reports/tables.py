"""Results as rows: for a data frame, a CSV file, or the terminal.

A row is one method on one probe set of one collection, scored in one kind of protocol. This file computes no accuracy;
missing numbers stay missing.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Literal

import numpy as np
import pandas as pd

from evaluation.retrieval.outcomes import Score
from evaluation.text_table import MISSING, number, plain_table

NAN = float("nan")
ZeroShot = Literal["", "unseen subjects", "unseen collection"]
PAIRED = {"view-pairs": "view", "condition-pairs": "condition"}  # kinds that compare part with part, and what is a part


@dataclass(frozen=True, kw_only=True)
class ResultRow:
    """One method on one probe set: accuracies in percent (NaN: not measurable), and how much was scored.

    `excluding_identical` and `identical_only` are Rank-1 as published evaluators count it, over every probe: without
    the identical view or condition, and with it alone (NaN where the gallery is pooled). The other scores leave out
    what cannot be measured (evaluation/retrieval/outcomes.py): `rank1` with its 95% interval over subjects from
    `rank1_low` to
    `rank1_high`, and so on; `map` and `minp` for pooled galleries alone.

    `num_probes` and `num_gallery` count sequences over all views; chance is one in `num_gallery_subjects`. Left out
    are `num_unmatched` of `num_comparisons` (of a probe with a part of the gallery without its subject),
    `num_missing_cells` of `num_cells` (pairs of views or conditions without a counted probe), and `num_excluded`
    sequences of views that the protocol excludes.

    `zero_shot` says what the method had not been trained on: `unseen subjects` of a collection of which it knows
    others, or an `unseen collection`; empty where neither is claimed.
    """

    method: str
    collection: str
    kind: str = "view-pairs"
    probe_set: str
    rank1: float = NAN
    rank1_low: float = NAN
    rank1_high: float = NAN
    rank5: float = NAN
    rank10: float = NAN
    rank20: float = NAN
    map: float = NAN
    map_low: float = NAN
    map_high: float = NAN
    minp: float = NAN
    excluding_identical: float
    identical_only: float
    num_probes: int
    num_gallery: int
    num_gallery_subjects: int
    num_comparisons: int = 0
    num_unmatched: int = 0
    num_cells: int = 0
    num_missing_cells: int = 0
    num_excluded: int = 0
    zero_shot: ZeroShot = ""


def from_scores(method: str, collection: str, scores: Iterable[Score], zero_shot: ZeroShot = "") -> list[ResultRow]:
    """One row per score, in their order."""
    rows = []
    for score in scores:
        outcomes = score.outcomes
        ranks = {f"rank{k}": outcomes.rank(k) if k <= outcomes.most else NAN for k in (1, 5, 10, 20)}
        rank_low, rank_high = outcomes.rank_interval(1)
        map_low, map_high = outcomes.mean_average_precision_interval()
        row = ResultRow(
            method=method,
            collection=collection,
            kind=score.kind,
            probe_set=score.probe_set,
            **ranks,
            rank1_low=rank_low,
            rank1_high=rank_high,
            map=outcomes.mean_average_precision(),
            map_low=map_low,
            map_high=map_high,
            minp=outcomes.mean_inverse_negative_penalty(),
            excluding_identical=score.excluding_identical,
            identical_only=score.identical_only,
            num_probes=score.num_probes,
            num_gallery=score.num_gallery,
            num_gallery_subjects=score.num_gallery_subjects,
            num_comparisons=outcomes.comparisons,
            num_unmatched=outcomes.unmatched,
            num_cells=int((outcomes.weights > 0).sum()),
            num_missing_cells=outcomes.missing_cells,
            num_excluded=score.num_excluded,
            zero_shot=zero_shot,
        )
        rows.append(row)
    return rows


def to_frame(rows: Iterable[ResultRow]) -> pd.DataFrame:
    """One line per row, columns named as the fields of `ResultRow`; without rows, the columns alone."""
    return pd.DataFrame([asdict(row) for row in rows], columns=[column.name for column in fields(ResultRow)])


def render(rows: Sequence[ResultRow]) -> str:
    """Plain-text tables, one for each collection and kind of protocol: accuracies, then how much was scored.

    Pairs of views or conditions have a line per method: its probe sets without and then with the identical one, as
    published evaluators count, each half ending with the plain mean; then Rank-1 with what cannot be measured left
    out, and its interval. Pooled galleries have a line per method and probe set. Whatever is missing is a dash, and so
    is a mean over it. Methods, probe sets, kinds and collections keep the order in which they first occur.

    Raises:
        ValueError: two rows with the same collection, kind, method and probe set.
    """
    texts = []
    for block in blocks(rows):
        lines = _pairs(block) if block[0].kind in PAIRED else [plain_table(pooled_cells(block), labels=2)]
        texts.append("\n".join([heading(block), *lines, chance_level(block), *amounts(block)]))
    return "\n\n".join(texts)


def blocks(rows: Sequence[ResultRow]) -> list[list[ResultRow]]:
    """The rows of each collection and kind of protocol, in the order in which these first occur.

    Raises:
        ValueError: two rows with the same collection, kind, method and probe set.
    """
    found: dict[tuple[str, str], list[ResultRow]] = {}
    for row in rows:
        found.setdefault((row.collection, row.kind), []).append(row)
    for (collection, _), block in found.items():
        names = [(row.method, row.probe_set) for row in block]
        if repeated := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"{collection}: two results of {repeated[0][0]} on {repeated[0][1]}")
    return list(found.values())


def heading(rows: Sequence[ResultRow]) -> str:
    """What a block tells: of which collection, by which kind of protocol, and in what sense it is zero-shot."""
    kind = rows[0].kind
    what = "rank-1 accuracy in %" if kind in PAIRED else f"{kind.replace('-', ' ')}, accuracy in %"
    seen: dict[str, list[str]] = {}
    for row in {row.method: row for row in rows if row.zero_shot}.values():
        seen.setdefault(row.zero_shot, []).append(row.method)
    if len(seen) < 2:
        clauses = [f", zero-shot on {_article(one)}" for one in seen]
    else:
        clauses = [f", {' and '.join(methods)} zero-shot on {_article(one)}" for one, methods in seen.items()]
    return f"{rows[0].collection}: {what}{''.join(clauses)}"


def _article(zero_shot: str) -> str:
    return f"an {zero_shot}" if zero_shot == "unseen collection" else zero_shot


def pair_cells(rows: Sequence[ResultRow], accuracy: Callable[[ResultRow], float]) -> list[list[str]]:
    """A line of texts per method, below a line of names: an accuracy on each probe set, and their plain mean."""
    cells = {(row.method, row.probe_set): accuracy(row) for row in rows}
    methods, probe_sets = (list(dict.fromkeys(names)) for names in zip(*cells, strict=True))
    lines = [["method", *probe_sets, "mean"]]
    for method in methods:
        values = [cells.get((method, name), NAN) for name in probe_sets]
        lines.append([method, *(number(value) for value in [*values, float(np.mean(values))])])
    return lines


def measured_cells(rows: Sequence[ResultRow]) -> list[list[str]]:
    """The same of what can be measured, with its interval; without a mean."""
    cells = {(row.method, row.probe_set): f"{number(row.rank1)} {_interval(row)}" for row in rows}
    methods, probe_sets = (list(dict.fromkeys(names)) for names in zip(*cells, strict=True))
    lines = ([method, *(cells.get((method, name), MISSING) for name in probe_sets)] for method in methods)
    return [["method", *probe_sets], *lines]


def pooled_cells(rows: Sequence[ResultRow]) -> list[list[str]]:
    """A line of texts per probe set and method, below a line of names."""
    texts = [["probe set", "method", "rank-1", "95% interval", "rank-5", "rank-10", "rank-20", "mAP", "mINP"]]
    for name in dict.fromkeys(row.probe_set for row in rows):
        for row in (row for row in rows if row.probe_set == name):
            scores = [number(value) for value in (row.rank5, row.rank10, row.rank20, row.map, row.minp)]
            texts.append([name, row.method, number(row.rank1), _interval(row), *scores])
    return texts


def titles(kind: str) -> tuple[str, str, str]:
    """What the three tables of a kind of pairs tell: two as published evaluators count, one of what can be measured."""
    what = PAIRED[kind]
    without = f"without the identical {what}"
    measured = f"the same {without}, as far as it can be measured [95% interval over subjects]"
    return without, f"identical {what} alone", measured


def _pairs(rows: Sequence[ResultRow]) -> list[str]:
    without, alone, measured = titles(rows[0].kind)
    (_, *names), *lefts = pair_cells(rows, lambda row: row.excluding_identical)
    _, *rights = pair_cells(rows, lambda row: row.identical_only)
    widths = [max(6, len(name)) for name in names]
    label_width = max(len(text) for text in ["method", *(left[0] for left in lefts)])
    half_width = sum(widths) + 2 * (len(widths) - 1)

    def line(label: str, left: str, right: str) -> str:
        return f"{label:<{label_width}}  {left:<{half_width}}  | {right}".rstrip()

    def columns(texts: Sequence[str]) -> str:
        return "  ".join(f"{text:>{width}}" for text, width in zip(texts, widths, strict=True))

    lines = [line("", without, alone), line("method", columns(names), columns(names))]
    for (method, *left), (_, *right) in zip(lefts, rights, strict=True):
        lines.append(line(method, columns(left), columns(right)))
    if any(row.num_comparisons for row in rows):
        lines += [measured, plain_table(measured_cells(rows))]
    return lines


def _interval(row: ResultRow) -> str:
    return MISSING if np.isnan(row.rank1_low) else f"[{row.rank1_low:.1f}, {row.rank1_high:.1f}]"


def chance_level(rows: Iterable[ResultRow]) -> str:
    """What guessing a gallery subject would score; a range where the probe sets have different galleries."""
    counts = sorted({row.num_gallery_subjects for row in rows if row.num_gallery_subjects > 0}, reverse=True)
    if not counts:
        return f"chance level {MISSING} (no gallery subjects)"
    ends = counts if len(counts) == 1 else [counts[0], counts[-1]]
    return f"chance level {' to '.join(number(100 / n) for n in ends)} (1 of {' to '.join(map(str, ends))} subjects)"


def amounts(rows: Sequence[ResultRow]) -> list[str]:
    """How much was scored and left out, a line for the probe sets that have it in common; the same for every method."""
    said: dict[str, list[str]] = {}
    for row in {row.probe_set: row for row in rows}.values():
        if not row.num_comparisons:
            continue
        counts = f"{row.num_probes:,} probes, {row.num_gallery:,} gallery sequences"
        left_out = []
        if row.num_unmatched:
            left_out.append(f"{row.num_unmatched:,} of {row.num_comparisons:,} comparisons without a match")
        if row.num_missing_cells:
            left_out.append(f"{row.num_missing_cells:,} of {row.num_cells:,} pairs or parts without a probe to score")
        if row.num_excluded:
            left_out.append(f"{row.num_excluded:,} sequences of excluded views")
        said.setdefault(counts + (f"; left out: {', '.join(left_out)}" if left_out else ""), []).append(row.probe_set)
    return [f"{', '.join(names)}: {text}" for text, names in said.items()]
