"""Official lists of subjects and sequences that follow no rule, from compact files in datasets/catalog/splits/.

A bitmap file holds hexadecimal digits, each for four subjects of a range in order, the first in the highest bit; bits
after the last subject are 0. A token file holds tokens of fixed width. Line breaks are ignored in both. A word file
holds words, to which tokens are indices. The entry of the collection says what a bit or a token stands for.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from datasets.schema.collection import Split

_FOLDER = Path(__file__).resolve().parent / "splits"


def numbered(first: int, last: int, width: int, before: str = "", after: str = "") -> list[str]:
    """Subjects first..last as numbers padded with zeros to `width`, with a prefix `before` and a suffix `after`."""
    return [f"{before}{str(number).zfill(width)}{after}" for number in range(first, last + 1)]


def marked(bitmap: str, subjects: Sequence[str]) -> frozenset[str]:
    """Those of the subjects whose bit is 1 in a bitmap file."""
    digits = _digits(bitmap)
    assert len(digits) == -(-len(subjects) // 4), f"{bitmap} is not as long as its {len(subjects)} subjects"
    bits = f"{int(digits, 16):0{4 * len(digits)}b}"
    assert "1" not in bits[len(subjects) :], f"{bitmap} marks subjects after the last one"
    return frozenset(subject for subject, bit in zip(subjects, bits, strict=False) if bit == "1")


def tokens(name: str, width: int) -> list[str]:
    """The tokens of a token file, in order."""
    digits = _digits(name)
    assert len(digits) % width == 0, f"{name} does not divide into tokens of {width} characters"
    return [digits[start : start + width] for start in range(0, len(digits), width)]


def words(name: str) -> list[str]:
    """The words of a word file, in order."""
    return (_FOLDER / f"{name}.txt").read_text(encoding="ascii").split()


def split(subjects: Iterable[str], train: frozenset[str]) -> Split:
    """The split that trains on some of the subjects and tests on the others."""
    return Split(train=train, test=frozenset(subjects) - train)


def _digits(name: str) -> str:
    return "".join(words(name))
