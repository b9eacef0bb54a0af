"""The contract: what one row of the store is, and what a collection declares about itself.

One row = one sequence (one walk of one subject). This file imports pyarrow and the standard library, so that every
room may import it. It knows no collection by name, no file format but Arrow, and nothing of images.
"""

import re
from dataclasses import dataclass, field
from typing import Literal

import pyarrow as pa

SCHEMA_VERSION = 1
VERSION_KEY = b"foundationgait.schema_version"

SPLITS = ("train", "test", "none")
MODALITIES = ("silhouette", "lidar", "parsing", "skeleton")


class UsageError(ValueError):
    """A mistake of the user's: its text is one line that names the cause and the fix; jobs exit with status 2."""


# One row = one sequence. Contours of all frames lie one after the other: `contour_counts` says how many belong to each
# frame, `contour_starts` is the first point of each (y * grid + x), `contour_lengths` its number of points, and
# `chain_codes` the steps between its points, two 4-bit codes a byte (datasets/contours.py).
SEQUENCE_SCHEMA = pa.schema(
    [
        ("sequence_id", pa.string()),  # CASIA-B/001/nm-01/090, unique in a store
        ("collection", pa.string()),
        ("split", pa.string()),  # train, test or none
        ("subject", pa.string()),  # raw strings, as released: protocols match on them
        ("condition", pa.string()),
        ("view", pa.string()),
        ("modality", pa.string()),
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
    """The official partition of a collection by subject; subjects in neither set belong to the split `none`."""

    train: frozenset[str]
    test: frozenset[str]

    def __post_init__(self) -> None:
        both = self.train & self.test
        assert not both, f"subjects in train and in test: {sorted(both)[:5]}"

    def of(self, subject: str) -> str:
        """The split of a subject: train, test or none."""
        return "train" if subject in self.train else "test" if subject in self.test else "none"


@dataclass(frozen=True, kw_only=True)
class ProbeSet:
    """One line of a results table: which conditions are probes, and which form their gallery."""

    name: str
    probe: frozenset[str]
    gallery: frozenset[str]

    def __post_init__(self) -> None:
        both = self.probe & self.gallery
        assert not both, f"conditions that are probe and gallery of {self.name} would find themselves: {sorted(both)}"


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """Single-view-gallery retrieval: each pair (probe view, gallery view) is scored on its own, then averaged.

    Probes without a counterpart in a gallery view count as errors, as in the evaluator of OpenGait.
    """

    probe_sets: tuple[ProbeSet, ...]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """One way in which a collection lies on disk, below the root that the user names.

    `sequence` is a regular expression matched against the whole path of a sequence's folder relative to the root; its
    groups `subject`, `condition` and `view` are kept as they stand. `file` is matched against the names of the files in
    that folder: every match is a frame (`images`) or the one array of the sequence (`pickle`); other files are not of
    this modality and are ignored. `example` is the path of one file, for messages.
    """

    name: str
    kind: Literal["images", "pickle"]
    sequence: str
    file: str
    example: str
    aligned: bool  # already cropped, scaled and centred by the owners or by OpenGait: normalise no second time

    @property
    def depth(self) -> int:
        """How many folders lie between the root and the files of a sequence."""
        return self.sequence.count("/") + 1

    def match(self, folder: str) -> re.Match[str] | None:
        """The folder's parts, or None where the path is not a sequence of this layout."""
        return re.fullmatch(self.sequence, folder)


@dataclass(frozen=True, kw_only=True)
class CollectionSpec:
    """Everything known about one collection; code elsewhere never branches on its name."""

    name: str
    title: str
    citation: str
    access: str  # licence in a clause, and where to apply
    layouts: tuple[Layout, ...]
    split: Split
    protocol: Protocol | None = None
    published: dict[str, int] = field(default_factory=dict)  # subjects, sequences, frames: as far as published
    sampling_discount: float = 1.0  # its sequences count this much when collections are mixed
