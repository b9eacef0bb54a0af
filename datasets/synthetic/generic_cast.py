"""A small selection of walks for a collection without a cast of its own, derived from its entry.

Subjects come from its split and conditions from its protocol; the others are like those of its layouts' examples, with
another number, or with another value of a label.
"""

import re
import zlib
from collections.abc import Iterator
from itertools import chain, islice, product
from typing import Literal

from datasets.schema.collection import CollectionSpec, Layout, Parts
from datasets.schema.protocol import ProbeSet
from datasets.synthetic.film import Walk
from datasets.synthetic.generic_format import example_of, format_of

_SUBJECTS = 6  # to train on, and to test on
_ALIKE = 2  # conditions and views like the example's
_NAMED = 2  # conditions that a probe set or its gallery names
_Part = Literal["subject", "condition", "view"]


def cast_from(spec: CollectionSpec) -> Iterator[Walk]:
    """Walks to train and to test on; of probe sets that name conditions or sequences, both probes and gallery."""
    (train, test), example = _subjects(spec), _example(spec)
    conditions = [example.condition, *islice(_alike(spec, "condition"), _ALIKE - 1)]
    views = [example.view, *islice(_alike(spec, "view"), _ALIKE - 1)]
    walks = list(product(train, conditions, views))
    sets = spec.protocol.probe_sets if spec.protocol else ()
    tested = dict.fromkeys(chain(conditions, *(_named_conditions(spec, one) for one in sets)))
    walks += product(test, tested, views)
    walks += chain.from_iterable(_named_sequences(one, subject) for one, subject in product(sets, test))
    for subject, condition, view in dict.fromkeys(walks):
        parts = _read(spec, subject, condition, view)
        if parts is not None:
            yield _walk(spec, parts)


def _walk(spec: CollectionSpec, parts: Parts) -> Walk:
    """In plain clothes, before a camera that stands where the label `angle` says, or anywhere."""
    subject, condition, view = parts.subject, parts.condition, parts.view
    anonymous = bool(spec.anonymous and re.fullmatch(spec.anonymous, subject))
    angle = parts.labels.get("angle", "")
    return Walk(
        collection=spec.name,
        subject=subject,
        condition=condition,
        view=view,
        person=f"{spec.name} {subject}" + (f"/{condition}/{view}" if anonymous else ""),
        occasion=spec.recorded_walk(subject, condition, view, parts.labels) or f"{condition} {view}",
        azimuth=int(angle) if angle.isdecimal() else zlib.crc32(view.encode()) % 360,
        elevation=5,
    )


def _subjects(spec: CollectionSpec) -> tuple[list[str], list[str]]:
    """Subjects to train and to test on, spread over the lists of the split; like the example's where it has no list."""
    example = _example(spec)
    unlisted = [one for one in (example.subject, *_alike(spec, "subject")) if spec.split.of(one) == spec.split.others]
    sides = []
    for side, listed in (("train", spec.split.train), ("test", spec.split.test)):
        names = unlisted if spec.split.others == side else sorted(listed)
        spread = names[:: max(len(names) // _SUBJECTS, 1)][:_SUBJECTS]
        sides.append([one for one in spread if _read(spec, one, example.condition, example.view)])
    return sides[0], sides[1]


def _example(spec: CollectionSpec) -> Parts:
    parts = spec.read_path(spec.layouts[0], example_of(spec.layouts[0]).folder)
    assert parts is not None, f"{spec.name} does not read its own example {spec.layouts[0].example}"
    return parts


def _read(spec: CollectionSpec, subject: str, condition: str, view: str) -> Parts | None:
    """What the first layout reads in the path that it has for a sequence; None where that is not this sequence.

    None also where another layout cannot name it, of those that can name the example.
    """
    example = _example(spec)
    there = [_read_in(spec, one, example.subject, example.condition, example.view) for one in spec.layouts]
    named = [one for one, parts in zip(spec.layouts, there, strict=True) if parts is not None]
    assert named, f"no path of {spec.name} can be made from its example: give it a cast and a release format"
    read = [_read_in(spec, layout, subject, condition, view) for layout in named]
    return read[0] if all(read) else None


def _read_in(spec: CollectionSpec, layout: Layout, subject: str, condition: str, view: str) -> Parts | None:
    groups = example_of(layout).groups_for(subject, condition, view)
    parts = None if groups is None else spec.read_path(layout, format_of(layout).folder.format_map(groups))
    same = parts is not None and (parts.subject, parts.condition, parts.view) == (subject, condition, view)
    return parts if same else None


def _alike(spec: CollectionSpec, part: _Part) -> Iterator[str]:
    """Other values of a part of the example's path, by another label or number, or as a last resort with a 2 behind."""
    example, first = _example(spec), spec.layouts[0]
    names = {"subject": example.subject, "condition": example.condition, "view": example.view}
    seen = {names[part].casefold()}  # labels count as the same in capitals
    folders = chain(_with_other_labels(spec), _with_other_numbers(example_of(first).folder))
    read = (spec.read_path(first, folder) for folder in folders)
    for value in chain((getattr(parts, part) for parts in read if parts), [f"{names[part]}2"]):
        if value.casefold() not in seen and _read(spec, **{**names, part: value}):
            seen.add(value.casefold())
            yield value


def _with_other_labels(spec: CollectionSpec) -> Iterator[str]:
    """The example's folder with other values of its labels, as far as the entry lists them."""
    example = example_of(spec.layouts[0])
    for label, texts in spec.label_values.items():
        group = f"label_{label}"
        if group in example.match.re.groupindex and example.match[group] is not None:
            begin, end = example.match.span(group)
            for text in chain.from_iterable((one, one.upper()) for one in texts):
                yield example.folder[:begin] + text + example.folder[end:]


def _with_other_numbers(folder: str) -> Iterator[str]:
    """A folder with one of its numbers counted up by 1 to 99, its width kept."""
    for run in re.finditer(r"\d+", folder):
        width = len(run[0])
        for by in range(1, 100):
            yield f"{folder[: run.start()]}{(int(run[0]) + by) % 10**width:0{width}d}{folder[run.end() :]}"


def _named_conditions(spec: CollectionSpec, one: ProbeSet) -> Iterator[str]:
    """Some conditions that a probe set and its gallery name, whole or by a part."""
    example = _example(spec)
    for name in chain(*(sorted(names or ())[:_NAMED] for names in (one.probe, one.gallery))):
        if one.by == "condition":
            yield name
        elif one.by == "part":
            joined = (example.condition[:end] + name for end in range(len(example.condition) + 1))
            yield from islice((text for text in joined if _read(spec, example.subject, text, example.view)), 1)


def _named_sequences(one: ProbeSet, subject: str) -> Iterator[tuple[str, str, str]]:
    """The sequences of a subject that a probe set and its gallery name; where `-` joins them, all that may be meant."""
    between = {"sequence": "/", "joined": "-"}.get(one.by)
    if between is not None:
        for key in sorted((one.probe or frozenset()) | (one.gallery or frozenset())):
            if key.startswith(subject + between):
                words = key.removeprefix(subject + between).split(between)
                for end in range(1, len(words)):
                    yield subject, between.join(words[:end]), between.join(words[end:])
