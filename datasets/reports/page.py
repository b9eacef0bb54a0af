"""What is in a store as one page to look at: report.html, a single file that loads and runs nothing.

Numbers come from the manifest, pictures from contact_sheet.py, the layout from report.html.j2 and html.py.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from datasets.reports import contact_sheet, html
from datasets.reports.length_chart import LengthChart, length_chart
from datasets.schema.rows import SEQUENCE_SCHEMA
from datasets.storage import thread_map
from datasets.store.files import FileRecord, read_file, read_files
from datasets.store.reader import Manifest, Store
from datasets.store.summary import COUNTED

_NAMED = 14  # most frequent values of a label that the page names
_COMPLETE, _MOSTLY = 0.005, 0.9  # a count this near to the published one is complete; above this share it is close
_ABOUT = {"Cite": "citation", "Access": "access", "Read from": "root"}


@dataclass(frozen=True, kw_only=True)
class Compared:
    """A count found in the store against the published one; None where either is unknown."""

    found: int | None
    published: int | None = None
    share: float | None = None  # found / published

    @property
    def kind(self) -> str:
        """The share as one of the classes full, part, low and over in report.css."""
        assert self.share is not None, "only a share has a colour"
        if abs(self.share - 1) <= _COMPLETE:
            return "full"
        return "over" if self.share > 1 else "part" if self.share >= _MOSTLY else "low"

    @property
    def bar(self) -> str:
        """The length of the bar in percent."""
        assert self.share is not None, "only a share has a bar"
        return f"{100 * min(self.share, 1):.1f}"


@dataclass(frozen=True, kw_only=True)
class Lost:
    """How many sequences or frames were lost, and the share of all."""

    lost: int
    share: float


@dataclass(frozen=True, kw_only=True)
class Tally:
    """The values of a column. named: the most frequent ones with their counts, by name; unnamed: how many others."""

    name: str
    distinct: int
    named: Sequence[tuple[str, int]]

    @property
    def unnamed(self) -> int:
        """How many values are not named."""
        return self.distinct - len(self.named)


@dataclass(frozen=True, kw_only=True)
class Section:
    """One collection. compared: COUNTED, of silhouettes; differences: found minus published, where that is not 0."""

    name: str
    entry: Mapping[str, Any]  # of the manifest
    compared: Sequence[Compared]
    other_modalities: Mapping[str, Sequence[Compared]]
    rejected: Lost
    dropped: Lost
    about: Mapping[str, str]
    differences: Mapping[str, int]
    as_published: Sequence[str]  # of COUNTED
    sheet: bytes | None  # PNG
    chart: LengthChart | None
    conditions_and_views: Sequence[Tally]
    labels: Sequence[Tally]
    readings: Sequence[Tally]


def write_page(store: Store) -> None:
    """Draw a contact sheet of each collection from the shards of a store, and write its report.html."""
    sheets = {}
    for name in store.collections:
        files = store.files([name])
        files = contact_sheet.some_files(files, list(thread_map(partial(_is_doubtful, store), files)))
        rows = read_files(store.place, files, contact_sheet.COLUMNS, SEQUENCE_SCHEMA)
        sheets[name] = contact_sheet.contact_sheet(rows)
    (store.place / "report.html").write(page(store.manifest, sheets).encode("utf-8"))


def _is_doubtful(store: Store, file: FileRecord) -> bool:
    """Whether a file has walks that were read in an unusual way."""
    readings = read_file(store.place, file, ["reading"])["reading"].to_pylist()
    return any(map(contact_sheet.doubts_of, readings))


def page(manifest: Manifest, sheets: Mapping[str, bytes | None]) -> str:
    """The page as HTML. sheets: a PNG for each collection that has one."""
    collections, shards = manifest["collections"], manifest["shards"]
    return html.render(
        Path(__file__).parent / "report.html.j2",
        sections=[_section(name, entry, sheets.get(name)) for name, entry in collections.items()],
        sequences=sum(entry["sequences"] for entry in collections.values()),
        frames=sum(entry["frames"] for entry in collections.values()),
        megabytes=sum(file["bytes"] for file in shards) / 1e6,
        shards=len(shards),
        schema_version=manifest["schema_version"],
        complete=_COMPLETE,
        mostly=_MOSTLY,
    )


def _section(name: str, entry: Mapping[str, Any], sheet: bytes | None) -> Section:
    others = {modality: part for modality, part in entry["modalities"].items() if modality != "silhouette"}
    # Published counts are those of silhouettes; a store without any is compared with nothing.
    compared = entry["modalities"].get("silhouette", entry if not others else dict.fromkeys(COUNTED))
    published = entry["published"]
    roots = {f"Read from ({modality})": one["root"] for modality, one in entry.get("other_modalities", {}).items()}
    return Section(
        name=name,
        entry=entry,
        compared=[
            Compared(found=compared[what], published=published[what]["count"], share=published[what]["share"])
            for what in COUNTED
        ],
        other_modalities={
            modality: [Compared(found=part[what]) for what in COUNTED] for modality, part in others.items()
        },
        rejected=_lost(entry["rejected_sequences"], entry["sequences"]),
        dropped=_lost(entry["dropped_frames"], entry["frames"]),
        about={what: entry[key] for what, key in _ABOUT.items() if entry.get(key)} | roots,
        differences={what: by for what in COUNTED if (by := published[what]["difference"])},
        as_published=[what for what in COUNTED if published[what]["difference"] == 0],
        sheet=sheet,
        chart=length_chart(entry["lengths"], entry["sequences"]) if entry["sequences"] else None,
        conditions_and_views=[_tally(what, **entry[what]) for what in ("conditions", "views")],
        labels=[_tally(label, len(counts), counts) for label, counts in entry["labels"].items()],
        readings=[_tally(aspect, len(counts), counts) for aspect, counts in entry["readings"].items()],
    )


def _lost(lost: int, kept: int) -> Lost:
    return Lost(lost=lost, share=lost / max(lost + kept, 1))


def _tally(name: str, distinct: int, most_frequent: Mapping[str, int]) -> Tally:
    return Tally(name=name, distinct=distinct, named=sorted(list(most_frequent.items())[:_NAMED]))
