"""Writing a store: opened once by an ingest, which describes its collections, commits blocks, and writes the manifest.

    <store>/collections/<name>.json    facts of a collection: its root, whom to cite, how it was read
    <store>/manifest.json              written last: the files with their rows, and the counts of each collection

Concurrent runs that write into one store do not disturb each other: their blocks have different names, a manifest
gathers whatever is committed when it is written, and where two runs did the same sequence, the manifest names the rows
to skip.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from datasets.schema.errors import Damaged, UsageError
from datasets.schema.rows import REJECT_SCHEMA, SCHEMA_VERSION, SEQUENCE_SCHEMA
from datasets.storage import Place, open_place, read_json, thread_map
from datasets.store.blocks import Blocks
from datasets.store.files import FileRecord, collection_of, is_reject, of_collections, read_file, read_files
from datasets.store.reader import MANIFEST, CollectionEntry, Manifest, Store
from datasets.store.sequence_ids import keys_of
from datasets.store.summary import KEPT_COLUMNS, LOST_COLUMNS, Summary


@dataclass(frozen=True, eq=False)
class StoreWriter:
    """A store that is open for writing, new or not.

    described: the facts of each collection that a run has begun to write, by name.
    """

    place: Place
    described: dict[str, CollectionEntry]

    @classmethod
    def open(cls, address: str | Path) -> "StoreWriter":
        """UsageError if the folder is a store of another version, or not a store, before anything is added."""
        place = open_place(address)
        try:
            held = {entry.name for entry in place.entries() if not entry.name.startswith(".")}
        except FileNotFoundError:
            held = set()
        except NotADirectoryError:
            held = {place.name}
        if MANIFEST in held:
            Store.open(address)
        elif held and "collections" not in held:  # the first folder that a run writes
            raise UsageError(f"{place} exists and holds something else than shards: give another --out")
        return cls(place, _described(place))

    def describe(self, name: str, facts: CollectionEntry) -> None:
        """Note the facts of a collection, before anything of it is committed.

        facts: `published` and `anonymous` as in CollectionSpec; the others stand in the manifest as they are given.
        """
        (self.place / f"collections/{name}.json").write(json.dumps(facts, indent=1).encode())
        self.described[name] = facts

    def blocks(self, attempt: str = "") -> Blocks:
        """The blocks of the store, for tasks to commit to. attempt: see Blocks."""
        return Blocks(self.place, attempt)

    def rows(self, collection: str, columns: list[str]) -> pa.Table:
        """Columns of all committed rows of a collection, also of a run that was killed before it wrote a manifest."""
        files = [file for block in self.blocks().committed() for file in block["files"] if not is_reject(file)]
        return read_files(self.place, of_collections(files, [collection]), columns, SEQUENCE_SCHEMA)

    def finish(self) -> Store:
        """Gather what is committed into manifest.json, and open the store for reading.

        Pieces that a killed run left are merged first. Where a concurrent run commits blocks meanwhile, they are
        gathered too.
        """
        blocks = self.blocks()
        while True:
            blocks.merge_left_over()
            names = blocks.names()
            manifest = self._gather(blocks)
            (self.place / MANIFEST).write(json.dumps(manifest, indent=1).encode())
            if blocks.names() == names:
                return Store(self.place, manifest)

    def _gather(self, blocks: Blocks) -> Manifest:
        whole = [block for block in blocks.committed() if not block["piece"]]
        files = [file.copy() for block in whole for file in block["files"]]
        rows = [file for file in files if not is_reject(file)]
        rejects = [file for file in files if is_reject(file)]
        self._skip_doubles(rows, rejects)
        facts = _described(self.place)  # anew: a concurrent run may have described another collection
        entries = {
            name: self._entry(facts[name], of_collections(files, [name]))
            for name in sorted({collection_of(file) for file in files})
        }
        return {"schema_version": SCHEMA_VERSION, "collections": entries, "shards": rows, "rejects": rejects}

    def _entry(self, facts: CollectionEntry, files: Iterable[FileRecord]) -> CollectionEntry:
        """What a manifest holds of a collection: its facts, and the counts of its files."""
        said = dict(facts)
        counted = Summary(said.pop("published"), said.pop("anonymous"))
        for file in files:
            if is_reject(file):
                counted.add(SEQUENCE_SCHEMA.empty_table(), read_file(self.place, file, LOST_COLUMNS))
            else:
                counted.add(read_file(self.place, file, KEPT_COLUMNS), REJECT_SCHEMA.empty_table())
        return {**said, **counted.result()}

    def _skip_doubles(self, rows: list[FileRecord], rejects: list[FileRecord]) -> None:
        """Note in each file the rows that another file holds: two concurrent runs may have done the same sequence."""
        done = self._skip_known(rows, ["sequence_id"], np.zeros(0, np.uint64))
        self._skip_known(rejects, ["sequence_id", "frame"], done)

    def _skip_known(self, files: list[FileRecord], columns: list[str], known: np.ndarray) -> np.ndarray:
        """Mark every row whose key is known or was seen in an earlier file; returns all keys."""
        keys = list(thread_map(lambda file: keys_of(_names(read_file(self.place, file, columns))), files))
        every = np.concatenate([known, *keys])
        _, first = np.unique(every, return_index=True)
        fresh = np.zeros(len(every), dtype=bool)
        fresh[first] = True
        start = len(known)
        for file, mine in zip(files, keys, strict=True):
            if len(doubles := np.flatnonzero(~fresh[start : start + len(mine)])):
                file["skip"] = doubles.tolist()
            start += len(mine)
        return every


def _described(store: Place) -> dict[str, CollectionEntry]:
    names = described_names(store)
    facts = thread_map(lambda name: facts_of(store, name), names)
    return dict(zip(names, facts, strict=True))


def described_names(store: Place) -> list[str]:
    """The names of the collections that a run has begun to write, in order."""
    try:
        entries = (store / "collections").entries()
    except FileNotFoundError:
        return []
    return [one.name.removesuffix(".json") for one in entries if one.name.endswith(".json") and one.name[0] != "."]


def facts_of(store: Place, name: str) -> CollectionEntry:
    """The facts of a collection. UsageError where they cannot be read."""
    mend = f"no sequence is lost: run the same `python -m jobs.ingest` of {name} again, which writes it anew"
    place = store / f"collections/{name}.json"
    facts = read_json(dict[str, Any], place, mend)
    if missing := [key for key in ("published", "anonymous") if key not in facts]:
        raise Damaged(f"{place} is damaged (it has no {missing[0]!r}): {mend}")
    return facts


def _names(rows: pa.Table) -> list[str]:
    """The id of each row; of a reject of one frame, with that frame."""
    ids = rows["sequence_id"].to_pylist()
    if "frame" not in rows.schema.names:
        return ids
    frames = rows["frame"].to_pylist()
    return [one if frame is None else f"{one}\n{frame}" for one, frame in zip(ids, frames, strict=True)]
