"""The contract: what one row of the store is, and what a collection declares about itself.

One row = one sequence (one walk of one subject). This file imports pyarrow and the standard library, so that every
room may import it. It knows no collection by name, no file format but Arrow, and nothing of images.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

import pyarrow as pa

SCHEMA_VERSION = 1
VERSION_KEY = b"foundationgait.schema_version"

SPLITS = ("train", "test", "none")
Modality = Literal["silhouette", "lidar", "parsing", "skeleton"]  # what a sequence was seen as (datasets/modalities.py)
MODALITIES: tuple[Modality, ...] = get_args(Modality)


class UsageError(ValueError):
    """A mistake of the user's: its text is one line that names the cause and the fix; jobs exit with status 2."""


class Unfinished(Exception):
    """Work that could not be brought to its end through no mistake of the user's: one line; jobs exit with status 1."""


class Unreadable(Exception):
    """Data that cannot be read, a sequence or one file of it: a reason to count by, and a detail."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


# One row = one sequence. Contours of all frames lie one after the other: `contour_counts` says how many belong to each
# frame, `contour_starts` is the first point of each (y * grid + x), `contour_lengths` its number of points, and
# `chain_codes` the steps between its points, two 4-bit codes a byte (datasets/contours.py).
SEQUENCE_SCHEMA = pa.schema(
    [
        ("sequence_id", pa.string()),  # CASIA-B/001/nm-01/090, unique in a store (datasets/sequence_ids.py)
        ("collection", pa.string()),
        ("split", pa.string()),  # train, test or none
        ("subject", pa.string()),  # raw strings, as released: protocols match on them
        ("condition", pa.string()),
        ("view", pa.string()),
        ("modality", pa.string()),  # one of MODALITIES
        ("labels", pa.map_(pa.string(), pa.string())),
        ("num_frames", pa.int32()),
        ("frame_numbers", pa.list_(pa.int32())),  # as in the file names; 0, 1, 2, ... where the release has none
        ("dropped_frames", pa.int32()),
        ("grid", pa.int16()),  # canonical height = width in pixels
        ("contour_counts", pa.list_(pa.uint16())),
        ("contour_starts", pa.list_(pa.uint16())),
        ("contour_lengths", pa.list_(pa.uint32())),
        ("chain_codes", pa.binary()),
        ("source", pa.string()),  # path relative to the collection's root
    ],
    metadata={VERSION_KEY: str(SCHEMA_VERSION).encode()},
)

# One row = one thing that was not kept: a whole sequence (frame is null), or one frame of a sequence that was.
REJECT_SCHEMA = pa.schema(
    [
        ("sequence_id", pa.string()),
        ("collection", pa.string()),
        ("source", pa.string()),
        ("frame", pa.string()),  # file name, or index inside the array; null for a whole sequence
        ("reason", pa.string()),  # one of a few words, to count by
        ("detail", pa.string()),  # what exactly was seen
    ],
    metadata={VERSION_KEY: str(SCHEMA_VERSION).encode()},
)


@dataclass(frozen=True, kw_only=True)
class Split:
    """A partition of a collection by subject; subjects in neither set belong to the split `others`."""

    train: frozenset[str]
    test: frozenset[str]
    others: Literal["train", "test", "none"] = "none"

    def __post_init__(self) -> None:
        both = self.train & self.test
        assert not both, f"subjects in train and in test: {sorted(both)[:5]}"
        named = {"train": self.train, "test": self.test, "none": frozenset()}[self.others]
        assert not named, f"everyone else is for {self.others}, so nobody needs to be named there"

    def of(self, subject: str) -> str:
        """The split of a subject: train, test or none."""
        return "train" if subject in self.train else "test" if subject in self.test else self.others


Role = Literal["probe", "gallery", "neither"]
NamedBy = Literal["condition", "part", "sequence", "joined"]
ProtocolKind = Literal[
    "view-pairs", "pooled", "pooled-other-views", "cross-view-gallery", "condition-pairs", "submission"
]


@dataclass(frozen=True, kw_only=True)
class ProbeSet:
    """One line of a results table: which sequences are probes, and which form their gallery.

    The names in `probe` and `gallery` are whole conditions (`by="condition"`), strings that occur somewhere in a
    condition (`by="part"`), or single sequences, as `<subject>/<condition>/<view>` (`by="sequence"`) or, as OpenGait
    writes them, `<subject>-<condition>-<view>` (`by="joined"`: never taken apart, since each may hold a `-`). None
    stands for every sequence of the test split that the other set does not name. Only where pairs of conditions are
    compared may a condition be in both: it is not compared with itself. `kinds` are those of the protocol that score
    this set; all that the protocol names for its sets, where it is empty.
    """

    name: str
    probe: frozenset[str] | None
    gallery: frozenset[str] | None
    by: NamedBy = "condition"
    kinds: tuple[ProtocolKind, ...] = ()

    def __post_init__(self) -> None:
        assert self.probe is not None or self.gallery is not None, f"{self.name} names neither probes nor gallery"
        both = (self.probe or frozenset()) & (self.gallery or frozenset())
        alone = self.kinds == ("condition-pairs",) or not both
        assert alone, f"conditions that are probe and gallery of {self.name} would find themselves: {sorted(both)}"

    def is_probe(self, subject: str, condition: str, view: str) -> bool:
        """Whether one sequence of the test split is a probe of this set; all three strings as released."""
        if self.probe is None:
            return not self._named(self.gallery, subject, condition, view)
        return self._named(self.probe, subject, condition, view)

    def is_gallery(self, subject: str, condition: str, view: str) -> bool:
        """Whether it is in the gallery. By parts of conditions a sequence can be both: then it is a probe alone."""
        if self.gallery is None:
            return not self._named(self.probe, subject, condition, view)
        named = self._named(self.gallery, subject, condition, view)
        return named and (self.by != "part" or not self.is_probe(subject, condition, view))

    def role(self, subject: str, condition: str, view: str) -> Role:
        """What one sequence of the test split is in this set: a probe, where it is both."""
        walk = (subject, condition, view)
        return "probe" if self.is_probe(*walk) else "gallery" if self.is_gallery(*walk) else "neither"

    def _named(self, names: frozenset[str], subject: str, condition: str, view: str) -> bool:
        if self.by == "part":
            return any(name in condition for name in names)
        if self.by == "condition":
            return condition in names
        return ("/" if self.by == "sequence" else "-").join((subject, condition, view)) in names


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How a collection is scored: its probe sets, and against which part of their gallery probes are compared.

    - `view-pairs`: each pair (probe view, gallery view) on its own, then averaged.
    - `pooled`: one ranked list from the whole gallery.
    - `pooled-other-views`: the same without the gallery sequences of the probe's own subject and view.
    - `cross-view-gallery`: as the latter, averaged within each probe view first.
    - `condition-pairs`: each pair (probe condition, gallery condition), as the mean of its pairs of views.
    - `submission`: no score, but a file of ranked lists for whoever knows the subjects of the probes.
    """

    probe_sets: tuple[ProbeSet, ...]
    kinds: tuple[ProtocolKind, ...] = ("view-pairs",)  # of the probe sets that name none themselves
    excluded_views: frozenset[str] = frozenset()  # their sequences are neither probe nor gallery
    view_until: str = ""  # views are compared by their names up to this string, whole where it is empty

    def scored(self) -> list[tuple[ProtocolKind, ProbeSet]]:
        """Every kind with every probe set that it scores, kind by kind."""
        kinds = dict.fromkeys([*self.kinds, *(kind for one in self.probe_sets for kind in one.kinds)])
        return [(kind, one) for kind in kinds for one in self.probe_sets if kind in (one.kinds or self.kinds)]

    def compared_view(self, view: str) -> str:
        """The name under which a view is compared with others."""
        return view.split(self.view_until)[0] if self.view_until else view


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
