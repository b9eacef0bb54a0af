"""Reading a store: opened once by its address, and handed on as the opened object.

Where a process boundary is crossed (Ray tasks, ranks), the address crosses it and the other side opens the store anew:
a manifest has a line for each shard, which no task should carry.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from typing_extensions import TypedDict

from datasets.schema.collection import CollectionSpec
from datasets.schema.errors import UsageError
from datasets.schema.rows import REJECT_SCHEMA, SEQUENCE_SCHEMA
from datasets.specs.resolve import from_manifest
from datasets.storage import Place, open_place, read_json
from datasets.store.files import FileRecord, check_version, of_collections, read_files

MANIFEST = "manifest.json"
CollectionEntry = dict[str, Any]  # in the manifest: the facts that ingest notes, and Summary.result


class Manifest(TypedDict):
    """What manifest.json holds."""

    schema_version: int
    collections: dict[str, CollectionEntry]
    shards: list[FileRecord]
    rejects: list[FileRecord]


@dataclass(frozen=True, eq=False)
class Store:
    """A store that is open for reading: its place, and its manifest as it was when the store was opened."""

    place: Place
    manifest: Manifest

    @classmethod
    def open(cls, address: str | Path) -> "Store":
        """Read the manifest of a store. UsageError where there is none, or one that this program cannot read."""
        place = open_place(address)
        mend = "no sequence is lost: run the same `python -m jobs.ingest` again, which writes it anew"
        try:
            version = read_json(dict[str, Any], place / MANIFEST, mend).get("schema_version")
        except (FileNotFoundError, NotADirectoryError) as error:
            raise UsageError(
                f"{place} holds no finished shards (no {MANIFEST}): run `python -m jobs.ingest` first"
            ) from error
        check_version(version, place)  # first: the manifest of another version has other keys
        return cls(place, read_json(Manifest, place / MANIFEST, mend))

    def __str__(self) -> str:
        return str(self.place)

    @property
    def collections(self) -> dict[str, CollectionEntry]:
        """The manifest's entry of each collection, by name, in order of name."""
        return self.manifest["collections"]

    def spec(self, name: str) -> CollectionSpec:
        """The spec of a collection as the store declares it, else the catalog's; UsageError where neither knows it."""
        return from_manifest(self.manifest, name)

    def specs(self, names: Iterable[str] | None = None) -> dict[str, CollectionSpec]:
        """The specs of some collections by name; of all that the store holds where None."""
        return {name: self.spec(name) for name in (self.collections if names is None else names)}

    def files(self, collections: Iterable[str] | None = None, split: str | None = None) -> list[FileRecord]:
        """The files with the rows of some collections (all where None) and one split (all where None).

        UsageError for a collection that the store does not hold.
        """
        wanted = set(self.collections if collections is None else collections)
        if unknown := sorted(wanted - set(self.collections)):
            raise UsageError(f"{self} holds no {unknown[0]}: it has {', '.join(sorted(self.collections))}")
        files = of_collections(self.manifest["shards"], wanted)
        return [file for file in files if split is None or f"/split={split}/" in file["path"]]

    def rows(
        self,
        collections: Iterable[str] | None = None,
        split: str | None = None,
        columns: list[str] | None = None,
    ) -> pa.Table:
        """Rows in order of sequence_id, of some collections (all where None) and one split (all where None).

        columns: all of SEQUENCE_SCHEMA where None.
        """
        columns = columns or SEQUENCE_SCHEMA.names
        with_id = columns if "sequence_id" in columns else ["sequence_id", *columns]
        rows = read_files(self.place, self.files(collections, split), with_id, SEQUENCE_SCHEMA)
        return rows.sort_by("sequence_id").select(columns)

    def rejects(self) -> pa.Table:
        """Every rejected sequence and dropped frame, as rows of REJECT_SCHEMA."""
        return read_files(self.place, self.manifest["rejects"], REJECT_SCHEMA.names, REJECT_SCHEMA)
