"""Tables of retrieval results: as plain text, as Markdown, and as cells for HTML; all of the same cells."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from evaluation.metrics import Estimate
from evaluation.reports.results import PAIRED, ResultRow, ZeroShot
from evaluation.retrieval.metrics import METRICS
from evaluation.text_table import MISSING, escape, markdown_table, number, plain_table

_ZERO_SHOT: dict[ZeroShot, str] = {
    "unseen subjects": "zero-shot on unseen subjects",
    "unseen collection": "zero-shot on an unseen collection",
    "not known": "trained on data that are not known",
}


@dataclass(frozen=True, kw_only=True)
class Table:
    """Cells, the first row being the header. labels: number of columns from the left that hold names."""

    title: str
    cells: Sequence[Sequence[str]]
    labels: int = 1


@dataclass(frozen=True, kw_only=True)
class Block:
    """The tables of one collection and kind of protocol. notes: the chance level, and numbers of what was evaluated."""

    collection: str
    heading: str
    tables: Sequence[Table]
    notes: Sequence[str]


def to_text(rows: Sequence[ResultRow]) -> str:
    """Plain-text tables, one for each collection and kind of protocol: accuracies, then numbers of what was evaluated.

    Pairs of views or conditions have a line per method: its probe sets without and then with the identical one, as
    published evaluators count, each half ending with the plain mean; then Rank-1 with what cannot be measured left
    out, and its interval. Pooled galleries have a line per method and probe set. Missing numbers are dashes, and so are
    means over them. Methods, probe sets, kinds and collections keep the order in which they first occur.

    Raises:
        ValueError: two rows with the same collection, kind, method and probe set.
    """
    texts = []
    for block in _blocks(rows):
        lines = _pairs(block) if block[0].kind in PAIRED else [plain_table(_pooled_cells(block), labels=2)]
        texts.append("\n".join([_heading(block), *lines, _chance_level(block), *_counts(block)]))
    return "\n\n".join(texts)


def to_markdown(rows: Sequence[ResultRow]) -> str:
    """The tables of `blocks` in Markdown, a section for each collection and kind of protocol."""
    sections = []
    for block in blocks(rows):
        parts = [f"## {escape(block.heading)}"]
        for table in block.tables:
            parts += [f"{table.title}:"] if table.title else []
            parts.append(markdown_table(table.cells, table.labels))
        parts.append("\n".join(f"- {escape(note)}" for note in block.notes))
        sections.append("\n\n".join(parts))
    return "\n\n".join(sections) + "\n" if sections else ""


def blocks(rows: Sequence[ResultRow]) -> list[Block]:
    """The tables of each collection and kind of protocol.

    Pairs of views or conditions have three tables, methods by probe sets: as published evaluators count without the
    identical one and with it alone, and Rank-1 with what cannot be measured left out. Pooled galleries have one.

    Raises:
        ValueError: two rows with the same collection, kind, method and probe set.
    """
    return [
        Block(
            collection=some[0].collection,
            heading=_heading(some),
            tables=_tables(some),
            notes=[_chance_level(some), *_counts(some)],
        )
        for some in _blocks(rows)
    ]


def rank1_table(rows: Sequence[ResultRow]) -> list[list[str]]:
    """A header and a line per collection, kind of protocol and probe set: the Rank-1 accuracy of each method.

    Of pairs it is the accuracy without the identical view or condition, as published evaluators count it.
    """
    methods = list(dict.fromkeys(row.method for row in rows))
    cells = {(row.collection, row.kind, row.probe_set, row.method): row.excluding_identical for row in rows}
    lines = [["collection", "protocol", "probe set", *methods]]
    for collection, kind, probe_set in dict.fromkeys(name[:3] for name in cells):
        values = (cells.get((collection, kind, probe_set, method), np.nan) for method in methods)
        lines.append([collection, kind.replace("-", " "), probe_set, *(number(value) for value in values)])
    return lines


def _tables(rows: Sequence[ResultRow]) -> list[Table]:
    """The tables of one collection and kind of protocol."""
    if rows[0].kind not in PAIRED:
        return [Table(title="", cells=_pooled_cells(rows), labels=2)]
    without, alone, measured = (f"{title[0].upper()}{title[1:]}" for title in _titles(rows[0].kind))
    tables = [
        Table(title=without, cells=_pair_cells(rows, lambda row: row.excluding_identical)),
        Table(title=alone, cells=_pair_cells(rows, lambda row: row.identical_only)),
    ]
    if any(row.num_comparisons for row in rows):
        tables.append(Table(title=measured, cells=_measured_cells(rows)))
    return tables


def _blocks(rows: Sequence[ResultRow]) -> list[list[ResultRow]]:
    """The rows of each collection and kind of protocol, in the order in which these first occur."""
    found: dict[tuple[str, str], list[ResultRow]] = {}
    for row in rows:
        found.setdefault((row.collection, row.kind), []).append(row)
    for (collection, _), block in found.items():
        names = [(row.method, row.probe_set) for row in block]
        if repeated := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"{collection}: two results of {repeated[0][0]} on {repeated[0][1]}")
    return list(found.values())


def _heading(rows: Sequence[ResultRow]) -> str:
    """The collection, the kind of protocol, and in what sense the results are zero-shot."""
    kind = rows[0].kind
    what = "rank-1 accuracy in %" if kind in PAIRED else f"{kind.replace('-', ' ')}, accuracy in %"
    methods: dict[ZeroShot, list[str]] = {}
    for row in {row.method: row for row in rows if row.zero_shot}.values():
        methods.setdefault(row.zero_shot, []).append(row.method)
    if len(methods) < 2:
        clauses = [f", {_ZERO_SHOT[one]}" for one in methods]
    else:
        clauses = [f", {' and '.join(names)} {_ZERO_SHOT[one]}" for one, names in methods.items()]
    return f"{rows[0].collection}: {what}{''.join(clauses)}"


def _pair_cells(rows: Sequence[ResultRow], accuracy: Callable[[ResultRow], float]) -> list[list[str]]:
    """A header and a line per method: an accuracy on each probe set, and their plain mean."""
    cells = {(row.method, row.probe_set): accuracy(row) for row in rows}
    methods, probe_sets = (list(dict.fromkeys(names)) for names in zip(*cells, strict=True))
    lines = [["method", *probe_sets, "mean"]]
    for method in methods:
        values = [cells.get((method, name), np.nan) for name in probe_sets]
        lines.append([method, *(number(value) for value in [*values, float(np.mean(values))])])
    return lines


def _measured_cells(rows: Sequence[ResultRow]) -> list[list[str]]:
    """A header and a line per method: Rank-1 on each probe set, what cannot be measured left out, with its interval."""
    cells = {}
    for row in rows:
        rank1 = row.metric("rank1")
        cells[row.method, row.probe_set] = f"{number(rank1.value)} {_interval(rank1)}"
    methods, probe_sets = (list(dict.fromkeys(names)) for names in zip(*cells, strict=True))
    lines = ([method, *(cells.get((method, name), MISSING) for name in probe_sets)] for method in methods)
    return [["method", *probe_sets], *lines]


def _pooled_cells(rows: Sequence[ResultRow]) -> list[list[str]]:
    """A header and a line per probe set and method: every metric."""
    shown = [metric for metric in METRICS if metric.in_tables]
    header = ["probe set", "method"]
    for metric in shown:
        header += [metric.title, "95% interval"] if metric.interval_in_tables else [metric.title]
    lines = [header]
    for name in dict.fromkeys(row.probe_set for row in rows):
        for row in (row for row in rows if row.probe_set == name):
            line = [name, row.method]
            for metric in shown:
                one = row.metric(metric.name)
                line += [number(one.value), _interval(one)] if metric.interval_in_tables else [number(one.value)]
            lines.append(line)
    return lines


def _titles(kind: str) -> tuple[str, str, str]:
    """The titles of the three tables of a kind of pairs: two as published evaluators count, one of what is measured."""
    what = PAIRED[kind]
    without = f"without the identical {what}"
    measured = f"the same {without}, as far as it can be measured [95% interval over subjects]"
    return without, f"identical {what} alone", measured


def _pairs(rows: Sequence[ResultRow]) -> list[str]:
    without, alone, measured = _titles(rows[0].kind)
    (_, *names), *lefts = _pair_cells(rows, lambda row: row.excluding_identical)
    _, *rights = _pair_cells(rows, lambda row: row.identical_only)
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
        lines += [measured, plain_table(_measured_cells(rows))]
    return lines


def _interval(one: Estimate) -> str:
    return MISSING if np.isnan(one.low) else f"[{one.low:.1f}, {one.high:.1f}]"


def _chance_level(rows: Iterable[ResultRow]) -> str:
    """The accuracy of guessing a gallery subject; a range where the probe sets have different galleries."""
    counts = sorted({row.num_gallery_subjects for row in rows if row.num_gallery_subjects > 0}, reverse=True)
    if not counts:
        return f"chance level {MISSING} (no gallery subjects)"
    ends = counts if len(counts) == 1 else [counts[0], counts[-1]]
    return f"chance level {' to '.join(number(100 / n) for n in ends)} (1 of {' to '.join(map(str, ends))} subjects)"


def _counts(rows: Sequence[ResultRow]) -> list[str]:
    """Numbers of what was evaluated and left out, a line for the probe sets that share them; equal for all methods."""
    lines: dict[str, list[str]] = {}
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
        lines.setdefault(counts + (f"; left out: {', '.join(left_out)}" if left_out else ""), []).append(row.probe_set)
    return [f"{', '.join(names)}: {text}" for text, names in lines.items()]
