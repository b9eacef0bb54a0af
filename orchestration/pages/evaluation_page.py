"""report.html of an evaluation: every table and picture on one page, in one file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from datasets.reports import html
from evaluation.metrics import legend
from evaluation.reports.results import ResultRow
from evaluation.reports.tables import Block, blocks, rank1_table
from evaluation.retrieval.metrics import METRICS


@dataclass(frozen=True, kw_only=True)
class _Section:
    """One collection. pictures: PNG files by their names."""

    name: str
    blocks: Sequence[Block]
    pictures: Mapping[str, bytes]


def evaluation_page(
    title: str, facts: Sequence[str], rows: Sequence[ResultRow], pictures: Mapping[str, Sequence[Path]]
) -> str:
    """The page as HTML.

    Args:
        title: names what was evaluated.
        facts: short phrases for the line below the title.
        rows: the results.
        pictures: PNG files of each collection.
    """
    names = dict.fromkeys(row.collection for row in rows)
    every = blocks(rows)
    sections = [
        _Section(
            name=name,
            blocks=[block for block in every if block.collection == name],
            pictures={path.stem.removeprefix(f"{name}-"): path.read_bytes() for path in pictures.get(name, ())},
        )
        for name in names
    ]
    head, *lines = rank1_table(rows)
    return html.render(
        Path(__file__).parent / "evaluation.html.j2",
        title=title,
        facts=facts,
        sections=sections,
        head=head,
        lines=[(line, best_of(line[3:])) for line in lines],
        meanings=[line.removeprefix("- ") for line in legend(METRICS).splitlines() if line],
    )


def best_of(cells: Sequence[str]) -> set[str]:
    """The cells with the largest number; none where there is no number, or all are equal."""
    numbers = {cell: float(cell) for cell in cells if cell[:1].isdigit()}
    if len(set(numbers.values())) < 2:
        return set()
    return {cell for cell, number in numbers.items() if number == max(numbers.values())}
