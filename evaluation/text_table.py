"""Tables as text: aligned columns for a terminal, or Markdown. Every table in a report is written here."""

from collections.abc import Iterator, Sequence

import numpy as np

MISSING = "\u2013"  # en dash


def plain_table(rows: Sequence[Sequence[str]], labels: int = 1) -> str:
    """Rows of cells, the first being the header, as lines of columns that are as wide as their widest cell.

    Args:
        rows: all of one length.
        labels: number of columns aligned left, from the first; the others are aligned right.
    """
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    sides = ["<" if column < labels else ">" for column in range(len(widths))]
    return "\n".join(
        "  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(row, sides, widths, strict=True)).rstrip()
        for row in rows
    )


def markdown_table(rows: Sequence[Sequence[str]], labels: int = 1) -> str:
    """The same as a table in Markdown, its cells escaped."""
    return "\n".join(_markdown_lines(rows, labels))


def _markdown_lines(rows: Sequence[Sequence[str]], labels: int) -> Iterator[str]:
    for number, row in enumerate(rows):
        yield f"| {' | '.join(escape(cell) for cell in row)} |"
        if number == 0:
            yield f"| {' | '.join(':--' if column < labels else '--:' for column in range(len(row)))} |"


def escape(text: str) -> str:
    r"""Text for Markdown. Names are other people's: none may end a cell or become a tag, a link or emphasis."""
    return "".join(f"\\{letter}" if letter in r"\|<>*_`#" else letter for letter in text)


def number(value: float) -> str:
    """Two decimals; a dash for NaN."""
    return MISSING if np.isnan(value) else f"{value:.2f}"
