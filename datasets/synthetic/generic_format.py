"""Paths on disk for a collection without a release format of its own, after the examples of its layouts.

The example says how folders and files are named, the pattern which of its words are the subject, the condition and the
view.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from string import Formatter

from datasets.schema.collection import FolderPath, Layout
from datasets.synthetic.release_formats import ReleaseFormat


@dataclass(frozen=True)
class Example:
    """The example of a layout taken apart: the folder of its sequence, the file in it, and how the folder is read."""

    folder: str
    file: str
    path: FolderPath
    match: re.Match[str]

    def groups_for(self, subject: str, condition: str, view: str) -> dict[str, str] | None:
        """The groups of the pattern that name a sequence, by the path's templates read backwards.

        None where the templates do not give such a sequence.
        """
        found: dict[str, str] = {}
        for template, text in ((self.path.subject, subject), (self.path.condition, condition), (self.path.view, view)):
            match = re.fullmatch(_pattern_of(template), text)
            if match is None:
                return None
            found |= {self._group(name): value for name, value in match.groupdict().items()}
        return {group: found[group] for group in self.groups()}

    def groups(self) -> list[str]:
        """The groups that the templates are made of; those that lie within another one go with it."""
        templates = (self.path.subject, self.path.condition, self.path.view)
        used = dict.fromkeys(self._group(name) for template in templates for name in _fields(template))
        spans = {group: self.match.span(group) for group in used if self.match[group] is not None}
        return [
            group
            for group, (begin, end) in spans.items()
            if not any(low <= begin and end <= high for other, (low, high) in spans.items() if other != group)
        ]

    def _group(self, field: str) -> str:
        """The group behind a field of a template, where a label goes without its prefix."""
        return field if field in self.match.re.groupindex else f"label_{field}"


@lru_cache(maxsize=64)
def example_of(layout: Layout) -> Example:
    """The example of a layout taken apart."""
    folder, _, file = layout.example.rpartition("/")
    folder = folder.removesuffix(f"/{layout.inside}") if layout.inside else folder
    matches = ((path, re.fullmatch(path.pattern, folder)) for path in layout.paths)
    path, match = next((path, match) for path, match in matches if match is not None)
    return Example(folder, file, path, match)


@lru_cache(maxsize=64)
def format_of(layout: Layout) -> ReleaseFormat:
    """How a layout names and packs a walk, as a template over the groups of `Example.groups_for`."""
    example = example_of(layout)
    folder, at = "", 0
    for (begin, end), group in sorted((example.match.span(group), group) for group in example.groups()):
        folder += f"{_literal(example.folder[at:begin])}{{{group}}}"
        at = end
    folder += _literal(example.folder[at:])
    inside = f"{layout.inside}/" if layout.inside else ""
    if layout.kind == "pickle":
        return ReleaseFormat(folder=folder, file=_literal(inside + example.file))
    begin, end = _number_of_frame(layout, example.file)
    before, number, after = example.file[:begin], example.file[begin:end], example.file[end:]
    file = f"{_literal(inside + before)}{{frame:0{len(number)}d}}{_literal(after)}"
    return ReleaseFormat(folder=folder, file=file, first=int(number))


def _number_of_frame(layout: Layout, file: str) -> tuple[int, int]:
    """Where the number of the frame stands in the example's file name: the group `frame`, or else the last digits."""
    match = re.fullmatch(layout.file, file)
    if match is not None and match.groupdict().get("frame"):
        return match.span("frame")
    return list(re.finditer(r"\d+", file.rpartition(".")[0]))[-1].span()


def _pattern_of(template: str) -> str:
    """A regular expression for what a template of `str.format` gives."""
    pattern, seen = "", set[str]()
    for text, field, _, _ in Formatter().parse(template):
        pattern += re.escape(text)
        if field:
            pattern += f"(?P={field})" if field in seen else f"(?P<{field}>.+?)"
            seen.add(field)
    return pattern


def _fields(template: str) -> list[str]:
    return [field for _, field, _, _ in Formatter().parse(template) if field]


def _literal(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")
