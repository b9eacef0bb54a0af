"""Finds the layout in which a collection lies on disk, and lists its sequences without listing their frames.

The listing yields references, a folder each, top-level folder by top-level folder, so that many tasks can share the
work and none of them holds a collection in memory. It also yields, with a `problem`, every folder that may be meant as
a sequence and whose path is not one of the layout's: such a folder must not be lost in silence.
"""

import errno
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from datasets.schema.collection import CollectionSpec, Layout, Parts
from datasets.schema.errors import UsageError
from datasets.schema.rows import MODALITIES, Modality
from datasets.schema.strict_json import SHOWN
from datasets.storage import Entry, Place
from datasets.store.sequence_ids import id_of, is_marked

_MAX_DEPTH = 12  # folders below each other: deeper than any layout; links to other folders could go on for ever
_MAX_TRIED = 100  # folders that are searched for files before the next layout is tried


@dataclass(frozen=True, kw_only=True)
class Lengths:
    """How many frames a sequence may have: with fewer it is rejected, and what is beyond the most is dropped."""

    least: int = 1
    most: int = 2**31 - 1


@dataclass(frozen=True)
class Root:
    """Where and in which layout a collection lies: all that a task needs to list and read it."""

    spec: CollectionSpec
    place: Place
    layout: Layout
    numbered: int  # labels from lists that its first sequence has: with another number it is unknown which is which
    lengths: Lengths = Lengths()


@dataclass(frozen=True)
class SequenceRef:
    """Where one sequence lies and what its path says; with a `problem` where the path is not one of the layout's."""

    sequence_id: str
    collection: str
    folder: str  # relative to the collection's root, with / between the parts
    subject: str | None
    condition: str | None
    view: str | None
    labels: dict[str, str]
    problem: str | None = None


def find_root(
    place: Place, spec: CollectionSpec, modality: Modality = "silhouette", lengths: Lengths = Lengths()
) -> Root:
    """The root of a collection in the layout in which it lies there; UsageError where it is none of its layouts.

    modality: the one to read, of those that may lie there beside each other. lengths: of its sequences.
    """
    known = spec.of_modality(modality)
    if not known:
        others = ", ".join(one for one in MODALITIES if spec.of_modality(one))
        raise UsageError(
            f"{spec.name} is not known to have the modality {modality}: give --modality as one of {others}"
        )
    try:
        place.entries()
    except OSError as error:
        hint = f"check the path given with --root {spec.name}=<folder> ({error.strerror or error})"
        raise UsageError(f"no folder {place} for {spec.name}: {hint}") from error
    for layout in known:
        for folder, parts in islice(_walk_root(place, spec, layout), _MAX_TRIED):
            if parts is not None and frame_files(place / folder, layout):
                return Root(spec, place, layout, parts.numbered, lengths)
    expected = " or ".join(f"{layout.example} ({layout.name})" for layout in known)
    found = ", ".join(_endings(place, "", _MAX_DEPTH))
    there = f"it has {found} files" if found else "it has no files"
    raise UsageError(f"{place} holds no sequence of {spec.name}: {there}, expected are files like {expected} below it")


def _endings(place: Place, folder: str, depth: int) -> list[str]:
    """The endings of the first files below a folder, for a message."""
    try:
        entries = (place / folder).entries() if folder else place.entries()
    except OSError:
        return []
    files = [entry.name for entry in entries if entry.kind == "file" and not entry.name.startswith(".")]
    if files:
        return sorted({f".{name.rpartition('.')[2]}" if "." in name else name for name in files[:_MAX_TRIED]})[:SHOWN]
    below = [entry.name for entry in entries if entry.kind == "folder"][:SHOWN] if depth else []
    found = (_endings(place, f"{folder}/{name}".lstrip("/"), depth - 1) for name in below)
    return next((some for some in found if some), [])


def top_folders(root: Root) -> list[tuple[int, Entry]]:
    """The folders directly below a root, each with its index among them, from 1."""
    return _folders(root.place.entries())


def list_sequences(root: Root) -> Iterator[SequenceRef]:
    """Every folder that is a sequence by its path, or may be meant as one, in order of name.

    The latter have a `problem`; so has a sequence whose path holds another number of labels than that of the first.
    """
    for position, entry in top_folders(root):
        yield from list_below(root, position, entry)


def list_below(root: Root, position: int, top: Entry) -> Iterator[SequenceRef]:
    """The sequences in one of the top folders."""
    for folder, parts in _visit(root.place, "", position, top, root.spec, root.layout, 1):
        yield _reference(root, folder, parts)


def _reference(root: Root, folder: str, parts: Parts | None) -> SequenceRef:
    name, modality = root.spec.name, root.layout.modality
    if printable(folder) != folder:
        problem = "a name that is not UTF-8"
    elif parts is None:
        problem = f"not like that of {root.layout.example}"
    elif is_marked(parts.walk):
        problem = "its name ends as the ids of another modality do"
    elif parts.numbered != root.numbered:
        problem = f"{parts.numbered} numbered labels where the first sequence has {root.numbered}"
    else:
        walk = id_of(name, parts.walk, modality)
        return SequenceRef(walk, name, folder, parts.subject, parts.condition, parts.view, parts.labels)
    shown = printable(folder)
    return SequenceRef(id_of(name, shown, modality), name, shown, None, None, None, {}, problem)


def printable(name: str) -> str:
    """A name as valid Unicode: bytes that are not UTF-8 are escaped."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _folders(entries: list[Entry]) -> list[tuple[int, Entry]]:
    """All entries but files: a dangling link may be meant as a folder, and must not be lost in silence."""
    return list(enumerate((entry for entry in entries if entry.kind != "file"), start=1))


Found = tuple[str, Parts | None]


def _walk_root(place: Place, spec: CollectionSpec, layout: Layout) -> Iterator[Found]:
    for position, entry in _folders(place.entries()):
        yield from _visit(place, "", position, entry, spec, layout, 1)


def _visit(
    place: Place, inside: str, position: int, entry: Entry, spec: CollectionSpec, layout: Layout, depth: int
) -> Iterator[Found]:
    """Descends to paths of sequences, which it yields with their parts, and to folders without folders below them."""
    folder = f"{inside}/{entry.name}" if inside else entry.name
    if (parts := spec.read_path(layout, folder, position)) is not None:
        yield folder, parts
        return
    if entry.kind == "loop" or depth == _MAX_DEPTH:
        yield folder, None
        return
    try:
        entries = (place / folder).entries()
    except OSError:  # a folder without permission to read it, which may hold sequences
        yield folder, None
        return
    below = _folders(entries)
    if not below or any(re.fullmatch(layout.file, one.name) for one in entries if one.kind == "file"):
        yield folder, None  # no folder below it, or frames that belong to no sequence
    for number, one in below:
        yield from _visit(place, folder, number, one, spec, layout, depth + 1)


def frame_files(folder: Place, layout: Layout) -> list[str]:
    """The names of a sequence's files that are of the layout's modality; none where it has no folder.

    A folder, pipe or dangling link with a frame's name is among them, so that it becomes a reject as it is read.
    """
    try:
        entries = (folder / layout.inside).entries()
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return []
        raise
    return [entry.name for entry in entries if re.fullmatch(layout.file, entry.name)]
