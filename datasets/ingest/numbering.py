"""Which number in the names of a walk's files counts its frames, and which files are copies of each other.

Names of unknown form may hold several numbers: of the camera, of a box, a confidence. The one that counts up evenly
from file to file is the number of the frame; where none does, the order of names decides.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise

from datasets.schema.errors import Unreadable
from datasets.schema.reading import IN_THE_NAMES, ORDER_OF_NAMES

MAX_NUMBER = 2**31 - 1  # frame numbers are stored as int32
_MAX_DIGITS = 9  # longer ones are time stamps, whose differences mean nothing in frames
_EVEN = 0.3  # of the steps between neighbouring frames are equal, where most frames of a walk may be missing
_COPY = re.compile(r"(?i)( \(\d+\)| - copy( \(\d+\))?| copy( \d+)?|_copy\d*|~)$")  # what file managers append

_WALK = re.compile(r"(?i)(cam|camera|view|walk|seq|sequence|trial|take|person|subject|track|run)[-_ ]?\d+")
_FEW = 3  # files are no second walk

_COMPANION = "._"  # before the name of the file of metadata that macOS writes beside each file


@dataclass(frozen=True)
class NumberedFile:
    """A frame. copies: files that seem to hold the same frame, by their names."""

    name: str
    number: int
    copies: tuple[str, ...] = ()


@dataclass(frozen=True)
class Numbering:
    """The frames of a walk in order of time. how: where the numbers come from, for the row's reading."""

    files: list[NumberedFile]
    how: str


def number_files(names: Sequence[str], pattern: str) -> Numbering:
    """The frames of a walk from the names of its files, which all match the pattern of a layout.

    A group `frame` of the pattern is the number. A group `stem` has it anywhere. Without either, names are in order of
    time. Files without a usable number are numbered 0, 1, 2, ... in natural order of their names.
    """
    known = re.compile(pattern).groupindex
    groups = _by_stem(names, _without_zeros if {"frame", "stem"} & set(known) else str)
    first = [files[0] for files in groups]
    copies = {files[0]: tuple(files[1:]) for files in groups}
    matches = [re.fullmatch(pattern, name) for name in first]
    if "frame" in known:
        numbers, how = [int(match["frame"]) for match in matches if match is not None and match["frame"]], IN_THE_NAMES
    elif "stem" in known:
        stems = [match["stem"] for match in matches if match is not None]
        numbers, how = _counting(stems)
        if not numbers:
            _check_one_walk(stems)
    else:
        numbers, how = [], IN_THE_NAMES
    if len(set(numbers)) < len(first) or max(numbers, default=0) > MAX_NUMBER:
        in_unknown_form = bool({"frame", "stem"} & set(known))
        ordered = sorted(first, key=_natural) if in_unknown_form else sorted(first)
        how = ORDER_OF_NAMES if in_unknown_form else how
        return Numbering([NumberedFile(name, index, copies[name]) for index, name in enumerate(ordered)], how)
    found = sorted(zip(numbers, first, strict=True))
    return Numbering([NumberedFile(name, number, copies[name]) for number, name in found], how)


def _by_stem(names: Sequence[str], key: Callable[[str], str]) -> list[list[str]]:
    """Files that seem to hold one frame each: they differ in the ending, in what marks a copy, or not by their key.

    The shortest name comes first.
    """
    stems = {name: name.rpartition(".")[0] for name in names}
    plain = {key(stem) for stem in stems.values()}
    groups: dict[str, list[str]] = defaultdict(list)
    for name in sorted(names, key=lambda one: (len(stems[one]), one)):
        stem = stems[name]
        original = _COPY.sub("", stem.removeprefix(_COMPANION))
        is_copy = original != stem and re.search(r"\d", original) and key(original) in plain
        groups[key(original) if is_copy else key(stem)].append(name)
    return list(groups.values())


def _without_zeros(stem: str) -> str:
    """A stem without zeros before its numbers; those behind a decimal point count."""
    return re.sub(r"(?<!\d)(?<!\d\.)0+(?=\d)", "", stem)


def _counting(stems: Sequence[str]) -> tuple[list[int], str]:
    """The number of each file, and which of those in the names it is; none where no number counts up evenly."""
    if any(stem.startswith("-") for stem in stems) and all(re.fullmatch(r"-?\d{1,9}", stem) for stem in stems):
        least = min(map(int, stems))  # frames before an event have negative numbers, which no row has
        return [int(stem) - least for stem in stems], IN_THE_NAMES
    runs = [re.findall(r"\d+", stem) for stem in stems]
    most = min(map(len, runs), default=0)
    varying: list[tuple[float, int, int, list[int]]] = []  # evenness, minus the step, the place, the numbers
    for place in range(-most, 0):
        texts = [run[place] for run in runs]
        if len(texts) > 1 and len(set(texts)) == 1:
            continue
        numbers = [int(text) if len(text) <= _MAX_DIGITS else MAX_NUMBER + 1 for text in texts]
        if _is_fraction(stems, place, runs):
            continue
        step, evenness = _steps(numbers)
        varying.append((evenness, -step, place, numbers))
    usable = [one for one in varying if one[0] >= _EVEN and max(one[3]) <= MAX_NUMBER]
    if not usable:
        return [], ORDER_OF_NAMES
    _, _, place, numbers = max(usable)
    if len(varying) == 1:
        return numbers, IN_THE_NAMES
    return numbers, f"number {most + place + 1} of {most} in the names, which counts up evenly"


def _is_fraction(stems: Sequence[str], place: int, runs: list[list[str]]) -> bool:
    """Whether a number stands behind a decimal point of numbers that vary: seconds, confidences. It starts again."""
    if -place == min(map(len, runs)) or len({run[place - 1] for run in runs}) == 1:
        return False
    return all(f"{run[place - 1]}.{run[place]}" in stem for run, stem in zip(runs, stems, strict=True))


def _check_one_walk(stems: Sequence[str]) -> None:
    """Unreadable where the same numbers count in names of several kinds, as of two walks, or of two cameras."""
    walks: dict[str, list[str]] = defaultdict(list)
    for stem in stems:
        named = _WALK.search(stem)
        kind = re.sub(r"\d+(\.\d+)?", "#", stem).casefold()
        walks[f"{kind} {named[0] if named else ''}"].append(stem)
    large = [names for names in walks.values() if len(names) >= max(_FEW, len(stems) / 10)]
    if len(large) > 1 and all(_counting(names)[0] for names in large):
        shown = " and ".join(f"{names[0]} ({len(names)} files)" for names in large[:2])
        raise Unreadable("several walks", f"names as {shown}: give each walk, and each camera, a folder of its own")


def _steps(numbers: list[int]) -> tuple[int, float]:
    """The most frequent step between neighbours in order, and its share; 0 and 0 where numbers repeat."""
    steps = [after - before for before, after in pairwise(sorted(numbers))]
    if not steps:
        return 1, 1.0
    step = max(sorted(set(steps)), key=steps.count)
    return (step, steps.count(step) / len(steps)) if min(steps) > 0 else (0, 0.0)


def _natural(name: str) -> list[tuple[Decimal, str]]:
    """A key that sorts names by all the numbers in them, with their fractions; 1.2.3 has none."""
    parts = re.split(r"((?<![\d.])\d+\.\d+(?!\.?\d)|\d+)", name)
    return [(Decimal(part or 0), "") if index % 2 else (Decimal(0), part) for index, part in enumerate(parts)]
