"""Tables as text: columns aligned for a terminal, or Markdown."""

from collections.abc import Sequence

import numpy as np


def _table(texts: Sequence[Sequence[str]], labels: int = 1) -> str:
    """A table of lines of texts, the first being its head; `labels` columns start left, the others end right."""
    head, *lines = ([_escaped(text) for text in line] for line in texts)
    rule = [":--" if column < labels else "--:" for column in range(len(head))]
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, rule, *lines])


def _escaped(text: str) -> str:
    """Names come from others: none of them may end a cell or become a tag, a link or emphasis."""
    return "".join(f"\\{letter}" if letter in r"\|<>*_`#" else letter for letter in text)


MISSING = "\u2013"  # en dash


def grid(texts: Sequence[Sequence[str]], labels: int = 1) -> list[str]:
    """Lines of columns as wide as their widest text; the first `labels` columns start left, the others end right."""
    widths = [max(len(text) for text in column) for column in zip(*texts, strict=True)]
    aligned = ["<" if column < labels else ">" for column in range(len(widths))]
    return ["  ".join(f"{t:{a}{w}}" for t, a, w in zip(line, aligned, widths, strict=True)).rstrip() for line in texts]


def number(value: float) -> str:
    """Two decimals, or a dash for what is missing."""
    return MISSING if np.isnan(value) else f"{value:.2f}"
