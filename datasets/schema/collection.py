"""What a collection declares: layouts on disk, labels, split, protocol, published counts."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from datasets.schema.protocol import Protocol
from datasets.schema.rows import Modality
from datasets.schema.strict_json import some


@dataclass(frozen=True, kw_only=True)
class Split:
    """A partition of a collection by subject; subjects in neither set belong to the split `others`."""

    train: frozenset[str]
    test: frozenset[str]
    others: Literal["train", "test", "none"] = "none"

    def __post_init__(self) -> None:
        if both := self.train & self.test:
            raise ValueError(f"has subjects in train and in test ({some(both)}): keep each in one of them")
        named = {"train": self.train, "test": self.test, "none": frozenset()}[self.others]
        assert not named, f"everyone else is for {self.others}, so nobody needs to be named there"

    def of(self, subject: str) -> str:
        """The split of a subject: train, test or none."""
        return "train" if subject in self.train else "test" if subject in self.test else self.others


@dataclass(frozen=True)
class Parts:
    """What the path of a sequence's folder says."""

    subject: str
    condition: str
    view: str
    walk: str  # names the sequence within its collection, whichever layout it is read from
    labels: dict[str, str]
    numbered: int  # how many of the labels come from lists


@dataclass(frozen=True, kw_only=True)
class FolderPath:
    """One form that the path of a sequence's folder takes below the root, and how to read it.

    `pattern` is a regular expression for the whole path. `subject`, `condition` and `view` are templates over its named
    groups (`str.format`), by default the group of that name as it stands; `{position}` is the folder's place among the
    folders beside it, from 1, in order of name. `walk` is one over these three and the labels. A group `label_<name>`
    is a label; a group `labels_<name>` holds several after `_` each, which become the labels <name>_1, <name>_2, ...
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
        names = {**groups, **labels, "position": position}
        names |= {part: getattr(self, part).format_map(names) for part in ("subject", "condition", "view")}
        walk = self.walk.format_map(names)
        return Parts(names["subject"], names["condition"], names["view"], walk, labels, len(listed))


@dataclass(frozen=True, kw_only=True)
class Layout:
    """One way in which a collection lies on disk, below the root that the user names.

    A folder whose path has one of the forms `paths` is a sequence. `file` is a regular expression for the names of the
    files in it (or in its folder `inside`): every match is a frame (`images`, numbered by the group `frame` if there
    is one; `joints`: a text file with a skeleton) or the one array of the sequence (`pickle`); other files are not of
    this modality and are ignored. `example` is the path of one file, for messages.
    """

    name: str
    kind: Literal["images", "pickle", "joints"]
    paths: tuple[FolderPath, ...]
    file: str
    example: str
    aligned: bool  # already cropped, scaled and centred by the owners or by OpenGait: normalise no second time
    inside: str = ""  # where a sequence has a folder for each modality
    modality: Modality = "silhouette"
    spacing: int = (
        1  # times the number of a frame: at a third of the silhouettes' rate 3, so that numbers mean one time
    )


@dataclass(frozen=True, kw_only=True)
class CollectionSpec:
    """Everything known about one collection; code elsewhere never branches on its name."""

    name: str
    title: str
    citation: str
    access: str  # licence in a clause, and where to apply
    layouts: tuple[Layout, ...]
    split: Split
    other_splits: Mapping[str, Split] = field(default_factory=dict)  # published beside the one that is used
    partition: str = ""  # what the user named to split it otherwise than its entry says
    protocol: Protocol | None = None
    label_values: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # label -> lower-cased text -> value
    labels_of: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # subject[/condition[/view]] -> labels
    published: dict[str, int] = field(default_factory=dict)  # subjects, sequences, frames: as far as published
    # Subjects that stand for no person in particular, as a regular expression: they are not counted as people.
    anonymous: str = ""
    sampling_discount: float = 1.0  # its sequences count this much when collections are mixed
    # Where several cameras filmed a walk at once: its name, a template over subject, condition, view and the labels.
    synchronised: str = ""

    def recorded_walk(self, subject: str, condition: str, view: str, labels: Mapping[str, str]) -> str | None:
        """The name of the walk that a sequence shows, where several cameras filmed walks at once; None elsewhere.

        None also for a sequence without a label that the template names. A walk is of one subject, whatever it names.
        """
        try:
            named = self.synchronised.format_map({**labels, "subject": subject, "condition": condition, "view": view})
        except KeyError:
            return None
        return f"{subject}\n{named}" if named else None

    def of_modality(self, modality: Modality) -> tuple[Layout, ...]:
        """Its layouts of one modality, in their order."""
        return tuple(layout for layout in self.layouts if layout.modality == modality)

    def read_path(self, layout: Layout, folder: str, position: int = 1) -> Parts | None:
        """What the path of a folder says, or None where it is not that of a sequence in this layout."""
        read = (path.read(folder, position, self.label_values) for path in layout.paths)
        return next((parts for parts in read if parts is not None), None)

    def listed_labels(self, subject: str, condition: str, view: str) -> dict[str, str]:
        """The labels of a sequence by `labels_of`: what is said of it wins over its condition's, and its subject's."""
        keys = (subject, f"{subject}/{condition}", f"{subject}/{condition}/{view}")
        return {label: value for key in keys for label, value in self.labels_of.get(key, {}).items()}
