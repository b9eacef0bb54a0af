"""Damage in a store: which files are not what was written, what that costs, and how an ingest prepares to mend it.

A reader goes by the manifest, an ingest by the records of blocks, and both name each file with its size and digest: so
what either has lost is found by the other.
"""

import logging
from collections import Counter, defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import PurePosixPath

import pyarrow.compute as pc

from datasets.schema.errors import UsageError
from datasets.storage import Place, thread_map
from datasets.store.blocks import BlockRecord, Blocks
from datasets.store.files import FileRecord, collection_of, cost_of, damage_of, is_reject, read_file
from datasets.store.reader import MANIFEST, Manifest, Store
from datasets.store.writer import described_names, facts_of

logger = logging.getLogger(__name__)

_GONE = "it is gone"


@dataclass(frozen=True)
class Damage:
    """A file that is not what was written. path: relative to the store. collection: whose ingest makes it anew, if any
    one does not."""

    path: str
    why: str
    costs: str
    collection: str | None = None

    def __str__(self) -> str:
        return f"{self.path}: {self.why}; {self.costs}"


@dataclass
class Health:
    """What a look at every file of a store has found.

    blocks: by name, those with a record, or with files in the manifest. unwritten: names of the blocks without a
    record that can be read. undigested: files of earlier versions, which were read as Parquet instead.
    """

    damages: list[Damage] = field(default_factory=list)
    blocks: dict[str, BlockRecord] = field(default_factory=dict)
    unwritten: set[str] = field(default_factory=set)
    files: int = 0
    size: int = 0  # bytes of all of them
    undigested: int = 0

    def damaged(self) -> set[str]:
        """The paths of the damaged files."""
        return {one.path for one in self.damages}


def examine(store: Place) -> Health:
    """Read every file of a store. UsageError where there is none, or one of another version."""
    blocks, health = Blocks(store), Health()
    names = blocks.names()
    listed: dict[str, list[FileRecord]] = defaultdict(list)
    for file in _manifest(store, bool(names), health):
        listed[PurePosixPath(file["path"]).stem].append(file)
    for name in described_names(store):
        try:
            facts_of(store, name)
        except UsageError as error:
            health.damages.append(Damage(f"collections/{name}.json", _why(error), "no sequence is lost", name))
    for name in sorted({*names, *listed}):
        _examine_record(blocks, name, listed[name], health)
    files = [(name, file) for name, record in health.blocks.items() for file in record["files"]]
    for (name, file), why in zip(files, thread_map(lambda one: damage_of(store, one[1]), files), strict=True):
        if why is not None and (name in health.unwritten or blocks.record(name)):  # else a concurrent run merged it
            health.damages.append(Damage(file["path"], why, cost_of(file), collection_of(file)))
    health.files, health.size = len(files), sum(file["bytes"] for _, file in files)
    health.undigested = sum("digest" not in file for _, file in files)
    return health


def _manifest(store: Place, begun: bool, health: Health) -> list[FileRecord]:
    """The files that the manifest names. begun: whether there are blocks."""
    try:
        manifest: Manifest = Store.open(str(store)).manifest
    except UsageError as error:
        if not begun or "schema version" in str(error):
            raise
        costs = "no sequence is lost, and none is found by readers"
        why = _why(error) if (store / MANIFEST).exists() else _GONE
        health.damages.append(Damage(MANIFEST, why, costs))
        return []
    return [*manifest["shards"], *manifest["rejects"]]


def _examine_record(blocks: Blocks, name: str, listed: list[FileRecord], health: Health) -> None:
    """Note the record of a block: what it says, or what the manifest says of its files."""
    try:
        record, why = blocks.record(name), _GONE
    except UsageError as error:
        record, why = None, _why(error)
    if record is not None:
        health.blocks[name] = record
    if record is not None or (why == _GONE and not listed):  # a concurrent run has merged it since
        return
    health.unwritten.add(name)
    costs = "the manifest knows its files" if listed else "its sequences are lost"
    health.damages.append(Damage(f"blocks/{name}.json", why, costs))
    if listed:
        health.blocks[name] = _record_of(name, listed)


def _record_of(name: str, files: list[FileRecord]) -> BlockRecord:
    """The record of a block from the records of its files in the manifest. Whole sequences that were rejected are
    counted where it is written."""
    plain = [FileRecord(**{key: value for key, value in file.items() if key != "skip"}) for file in files]  # type: ignore[typeddict-item]
    rows = sum(file["rows"] for file in plain if not is_reject(file))
    return BlockRecord(block=name, sequences=rows, rejected=0, piece=False, replaces=[], files=plain)


def mend(store: Place, roots: Collection[str]) -> None:
    """Forget what is damaged, so that an ingest from the roots of these collections makes it anew.

    Whole files of a block stay, also where others of it are damaged. UsageError, before anything is changed, where
    what is lost belongs to a collection that is not among the roots.
    """
    if not (store / "blocks").exists():  # nothing is committed, or it is no store
        return
    health = examine(store)
    lost = Counter(one.collection for one in health.damages if one.collection is not None)
    if elsewhere := sorted(set(lost) - set(roots)):
        first = next(one for one in health.damages if one.collection == elsewhere[0])
        raise UsageError(
            f"{store} has damaged files of {', '.join(elsewhere)}, the first {first}: give "
            f"--root {elsewhere[0]}=<folder> too, which makes them anew"
        )
    blocks, damaged = Blocks(store), health.damaged()
    for one in health.damages:
        if (one.path, one.why) == (MANIFEST, _GONE):  # of an ingest that has not ended yet
            continue
        logger.warning(f"{store / one.path} is damaged ({one.why}) and made anew: {one.costs} until then")
        if one.path == MANIFEST or one.path.startswith("collections/"):
            (store / one.path).remove()
    for name in sorted({*health.blocks, *health.unwritten}):
        record = health.blocks.get(name)
        whole = [] if record is None else [file for file in record["files"] if file["path"] not in damaged]
        if record is not None and len(whole) == len(record["files"]) and name not in health.unwritten:
            continue
        (store / f"blocks/{name}.json").remove()
        for file in record["files"] if record is not None else []:
            if file["path"] in damaged:
                (store / file["path"]).remove()
        if record is not None and whole:
            blocks.put(_of_whole_files(store, record, whole))


def _of_whole_files(store: Place, record: BlockRecord, whole: list[FileRecord]) -> BlockRecord:
    """The record of a block that keeps these files of it."""
    rejected = 0
    for file in whole:
        if is_reject(file):
            frames = read_file(store, file, ["frame"])["frame"]
            rejected += pc.sum(pc.is_null(frames)).as_py() or 0
    kept = sum(file["rows"] for file in whole if not is_reject(file)) + rejected
    # It replaces no piece any more: what is made anew has the name of a piece where it holds the same sequences.
    return BlockRecord(**{**record, "sequences": kept, "rejected": rejected, "files": whole, "replaces": []})


def _why(error: UsageError) -> str:
    """The reason in the message of an error that begins with the file's address and ends with what mends it."""
    said = str(error)
    return said.partition(" is damaged (")[2].partition("):")[0] or said
