"""Results as Markdown: the tables of `evaluation.tables.render`, for a report that is read in a browser.

It computes nothing: every text in a cell is that of the plain tables, dashes for what is missing included.
"""

from collections.abc import Sequence

from evaluation.reports import tables
from evaluation.reports.tables import PAIRED, ResultRow
from evaluation.text_table import escape, markdown_table


def to_markdown(rows: Sequence[ResultRow]) -> str:
    """A section for each collection and kind of protocol: its tables, then how much was scored and left out.

    Pairs of views or conditions have three tables, methods by probe sets: as published evaluators count without the
    identical one and with it alone, and what can be measured with its interval. Pooled galleries have one.

    Raises:
        ValueError: two rows with the same collection, kind, method and probe set.
    """
    sections = []
    for block in tables.blocks(rows):
        parts = [f"## {escape(tables.heading(block))}"]
        if block[0].kind in PAIRED:
            without, alone, measured = (_capital(title) for title in tables.titles(block[0].kind))
            parts += [without, markdown_table(tables.pair_cells(block, lambda row: row.excluding_identical))]
            parts += [alone, markdown_table(tables.pair_cells(block, lambda row: row.identical_only))]
            if any(row.num_comparisons for row in block):
                parts += [measured, markdown_table(tables.measured_cells(block))]
        else:
            parts.append(markdown_table(tables.pooled_cells(block), labels=2))
        said = [tables.chance_level(block), *tables.amounts(block)]
        parts.append("\n".join(f"- {escape(line)}" for line in said))
        sections.append("\n\n".join(parts))
    return "\n\n".join(sections) + "\n" if sections else ""


def _capital(title: str) -> str:
    return f"{title[0].upper()}{title[1:]}:"
