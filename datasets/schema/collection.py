"""What a collection declares: layouts on disk, labels, splits, protocol, published counts."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from datasets.schema.protocol import Protocol
from datasets.schema.rows import Modality
from datasets.schema.strict_json import some


@dataclass(frozen=True, kw_only=True)
class Split:
    """A partition of a collection by subject; subjects in neither set are in the split `others`."""

    train: frozenset[str]
    test: frozenset[str]
    others: Literal["train", "test", "none"] = "none"

    def __post_init__(self) -> None:
        if both := self.train & self.test:
            raise ValueError(f"has subjects in train and in test ({some(both)}): keep each in one of them")
        named = {"train": self.train, "test": self.test, "none": frozenset()}[self.others]
        assert not named, f"all other subjects are for {self.others}: name none of them"

    def of(self, subject: str) -> str:
        """The split of a subject: train, test or none."""
        return "train" if subject in self.train else "test" if subject in self.test else self.others


@dataclass(frozen=True)
class Parts:
    """What the path of a sequence's folder says about the sequence."""

    subject: str
    condition: str
    view: str
    walk: str  # names the sequence within its collection, whichever layout it is read from
    labels: dict[str, str]
    numbered: int  # how many of the labels come from lists


@dataclass(frozen=True, kw_only=True)
class FolderPath:
    """One form of the path of a sequence's folder below the root, and how to read it.

    `pattern` is a regular expression for the whole path. `subject`, `condition` and `view` are templates
    (`str.format_map`) over its named groups, by default the group of the same name; `{position}` is the index of the
    folder among those beside it, from 1, in order of name. `walk` is a template over these three and the labels. A
    group `label_<name>` is a label; a group `labels_<name>` is a list of labels, each after a `_`, which become
    <name>_1, <name>_2, ...
    """

    pattern: str
    subject: str = "{subject}"
    condition: str = "{condition}"
    view: str = "{view}"
    walk: str = "{subject}/{condition}/{view}"

    def read(self, folder: str, position: int, label_values: Mapping[str, Mapping[str, str]]) -> Parts | None:
        """The parts of a path, labels renamed by `label_values`; None where the path has another form."""
        match = re.fullmatch(self.pattern, folder)
        if match is None:
            return None
        groups = match.groupdict()
        labels: dict[str, str] = {}
        listed: dict[str, str] = {}
        for group, text in groups.items():
            kind, _, name = group.partition("_")
            if kind == "label" and text is not None:
                labels[name] = label_values.get(name, {}).get(text.lower(), text)
            elif kind == "labels":
                listed |= {f"{name}_{number}": one for number, one in enumerate(text.strip("_").split("_"), start=1)}
        labels |= listed
        values: dict[str, object] = {**groups, **labels, "position": position}
        subject, condition, view = (one.format_map(values) for one in (self.subject, self.condition, self.view))
        walk = self.walk.format_map(values | {"subject": subject, "condition": condition, "view": view})
        return Parts(subject, condition, view, walk, labels, len(listed))


@dataclass(frozen=True, kw_only=True)
class Layout:
    """One way in which a collection lies on disk, below the root that the user gives.

    A folder whose path has one of the forms `paths` is a sequence. `file` is a regular expression for the names of the
    files in it (or in its folder `inside`): every match is a frame (`images`: a picture; `joints`: a text file with a
    skeleton) or the one array of the sequence (`pickle`). A group `frame` is the number of the frame; in a group `stem`
    it is searched for (datasets/ingest/numbering.py). Other files are ignored: they belong to other modalities.
    `example` is the path of one file, for messages.
    """

    name: str
    kind: Literal["images", "pickle", "joints"]
    paths: tuple[FolderPath, ...]
    file: str
    example: str
    aligned: bool  # cropped, scaled and centred by the owners or by OpenGait: must not be normalised again
    may_be_raw: bool = False  # not all of them are aligned: frames of sizes that no aligned release has are raw
    inside: str = ""  # of the sequence's folder, where it has a folder for each modality
    modality: Modality = "silhouette"
    # Multiplies frame numbers: 3 at a third of the silhouettes' rate, so that one number is one time in all modalities.
    spacing: int = 1


@dataclass(frozen=True, kw_only=True)
class CollectionSpec:
    """Everything known about one collection. Code must not branch on a collection's name: it reads the spec."""

    name: str
    title: str
    citation: str
    access: str  # licence in a clause, and where to apply
    layouts: tuple[Layout, ...]
    split: Split
    other_splits: Mapping[str, Split] = field(default_factory=dict)  # published too: a user can choose one by name
    partition: str = ""  # name of the partition that the user chose; empty for the collection's own split
    protocol: Protocol | None = None
    label_values: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # label -> lower-cased text -> value
    labels_of: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # subject[/condition[/view]] -> labels
    published: dict[str, int] = field(default_factory=dict)  # counts of subjects, sequences, frames: those published
    anonymous: str = ""  # a regular expression for subjects that are not one person: they are not counted as people
    sampling_discount: float = 1.0  # multiplies the number of its sequences when collections are mixed
    # Where several cameras filmed a walk at once: its name, a template over subject, condition, view and the labels.
    synchronised: str = ""
    inverted: bool = False  # silhouettes are darker than their background

    def recorded_walk(self, subject: str, condition: str, view: str, labels: Mapping[str, str]) -> str | None:
        """The name of the walk that a sequence shows, where several cameras filmed a walk at once; else None.

        It is None too where the sequence lacks a label of the template `synchronised`. Walks of two subjects have two
        names, even where the template leaves the subject out.
        """
        try:
            named = self.synchronised.format_map({**labels, "subject": subject, "condition": condition, "view": view})
        except KeyError:
            return None
        return f"{subject}\n{named}" if named else None

    def of_modality(self, modality: Modality) -> tuple[Layout, ...]:
        """The layouts of one modality, in their order."""
        return tuple(layout for layout in self.layouts if layout.modality == modality)

    def read_path(self, layout: Layout, folder: str, position: int = 1) -> Parts | None:
        """The parts of a folder's path; None where it is not the path of a sequence in this layout."""
        read = (path.read(folder, position, self.label_values) for path in layout.paths)
        return next((parts for parts in read if parts is not None), None)

    def listed_labels(self, subject: str, condition: str, view: str) -> dict[str, str]:
        """The labels of a sequence in `labels_of`: its own override its condition's, and these its subject's."""
        keys = (subject, f"{subject}/{condition}", f"{subject}/{condition}/{view}")
        return {label: value for key in keys for label, value in self.labels_of.get(key, {}).items()}
