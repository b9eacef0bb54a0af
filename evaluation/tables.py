"""Results as rows: for a data frame, a CSV file, or the terminal.

A row is one method on one probe set of one collection. This file computes no accuracy; missing numbers stay missing.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, fields

import numpy as np
import pandas as pd

from evaluation.retrieval import ViewPairTable

MISSING = "\u2013"  # en dash


@dataclass(frozen=True, kw_only=True)
class ResultRow:
    """One method on one probe set: accuracies in percent (NaN: not measurable), and how much was scored.

    `num_probes` and `num_gallery` count sequences over all views; chance is one in `num_gallery_subjects`.
    """

    method: str
    collection: str
    probe_set: str
    excluding_identical: float
    identical_only: float
    num_probes: int
    num_gallery: int
    num_gallery_subjects: int


def from_tables(method: str, collection: str, tables: Iterable[ViewPairTable]) -> list[ResultRow]:
    """One row per probe set, in the order of the tables."""
    return [
        ResultRow(
            method=method,
            collection=collection,
            probe_set=table.name,
            excluding_identical=table.excluding_identical(),
            identical_only=table.identical_only(),
            num_probes=int(table.probes.sum()),
            num_gallery=int(table.gallery.sum()),
            num_gallery_subjects=table.gallery_subjects,
        )
        for table in tables
    ]


def to_frame(rows: Iterable[ResultRow]) -> pd.DataFrame:
    """One line per row, columns named as the fields of `ResultRow`; without rows, the columns alone."""
    return pd.DataFrame([asdict(row) for row in rows], columns=[column.name for column in fields(ResultRow)])


def render(rows: Sequence[ResultRow]) -> str:
    """A plain-text table per collection: a line per method, its probe sets without and then with the identical view.

    Each half ends with the plain mean over the probe sets. Whatever is missing is a dash, and so is a mean over it.
    Methods, probe sets and collections keep the order in which they first occur.

    Raises:
        ValueError: two rows with the same collection, method and probe set.
    """
    blocks = [
        _render_collection(name, [row for row in rows if row.collection == name])
        for name in dict.fromkeys(row.collection for row in rows)
    ]
    return "\n\n".join(blocks)


def _render_collection(collection: str, rows: Sequence[ResultRow]) -> str:
    cells: dict[tuple[str, str], ResultRow] = {}
    for row in rows:
        if (row.method, row.probe_set) in cells:
            raise ValueError(f"{collection}: two results of {row.method} on {row.probe_set}")
        cells[row.method, row.probe_set] = row
    methods = list(dict.fromkeys(row.method for row in rows))
    probe_sets = list(dict.fromkeys(row.probe_set for row in rows))

    def half(method: str, accuracy: Callable[[ResultRow], float]) -> list[str]:
        found = [cells.get((method, name)) for name in probe_sets]
        values = [np.nan if row is None else accuracy(row) for row in found]
        return [_number(value) for value in [*values, float(np.mean(values))]]

    names = [*probe_sets, "mean"]
    widths = [max(6, len(name)) for name in names]
    label_width = max(len(text) for text in ["method", *methods])
    half_width = sum(widths) + 2 * (len(widths) - 1)

    def line(label: str, left: str, right: str) -> str:
        return f"{label:<{label_width}}  {left:<{half_width}}  | {right}".rstrip()

    def columns(texts: Sequence[str]) -> str:
        return "  ".join(f"{text:>{width}}" for text, width in zip(texts, widths, strict=True))

    lines = [
        f"{collection}: rank-1 accuracy in %",
        line("", "without the identical view", "identical view alone"),
        line("method", columns(names), columns(names)),
    ]
    for method in methods:
        left = half(method, lambda row: row.excluding_identical)
        lines.append(line(method, columns(left), columns(half(method, lambda row: row.identical_only))))
    return "\n".join([*lines, _chance_level(rows)])


def _number(value: float) -> str:
    return MISSING if np.isnan(value) else f"{value:.2f}"


def _chance_level(rows: Iterable[ResultRow]) -> str:
    """What guessing a gallery subject would score; a range where the probe sets have different galleries."""
    counts = sorted({row.num_gallery_subjects for row in rows if row.num_gallery_subjects > 0}, reverse=True)
    if not counts:
        return f"chance level {MISSING} (no gallery subjects)"
    ends = counts if len(counts) == 1 else [counts[0], counts[-1]]
    return f"chance level {' to '.join(_number(100 / n) for n in ends)} (1 of {' to '.join(map(str, ends))} subjects)"
