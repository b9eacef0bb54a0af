"""Checks a spec against the rows of a store: names without a sequence, and rows with another split or other labels."""

from collections.abc import Collection

import pyarrow as pa

from datasets.schema.collection import CollectionSpec
from datasets.schema.errors import UsageError
from datasets.schema.protocol import ProbeSet
from datasets.schema.strict_json import some
from datasets.specs import custom

COLUMNS = ["subject", "condition", "view", "split", "labels"]
Walk = tuple[str, str, str]


def unmatched(spec: CollectionSpec, rows: pa.Table) -> list[str]:
    """Lines on names in the spec that no sequence has, and on subjects that no list names.

    rows: the collection's rows of a store, with `subject`, `condition` and `view`.
    """
    walks = set(zip(*(rows[part].to_pylist() for part in ("subject", "condition", "view")), strict=True))
    subjects = {subject for subject, _, _ in walks}
    found: dict[str, Collection[str]] = {}
    for side, listed in (("train", spec.split.train), ("test", spec.split.test)):
        found[f"subjects of the {side} list without a sequence"] = listed - subjects
    none = {subject for subject in subjects if spec.split.of(subject) == "none"}
    found["subjects that are in neither train nor test, and not used"] = none
    keys = {"/".join(walk[:depth]) for walk in walks for depth in (1, 2, 3)} if spec.labels_of else set()
    found["labels without a sequence"] = set(spec.labels_of) - keys
    tested = {walk for walk in walks if spec.split.of(walk[0]) == "test"}
    for one in spec.protocol.probe_sets if spec.protocol and tested else ():
        for role, names in (("probe", one.probe), ("gallery", one.gallery)):
            unseen = _without(names or frozenset(), one, tested)
            found[f"{role} of {one.name} without a sequence in the test split"] = unseen
    lines = [f"{spec.name}: {what}: {len(names):,} ({some(names)})" for what, names in found.items() if names]
    if spec.protocol and not tested:
        lines.append(f"{spec.name}: has a protocol, and no sequence in the test split to score by it")
    return lines


def check_stored_rows(spec: CollectionSpec, rows: pa.Table, stored: CollectionSpec | None) -> None:
    """UsageError where rows of a store have another split, other labels or another normalisation than the spec says.

    rows: the collection's rows, with the columns COLUMNS. stored: the spec that they were ingested with, if known.
    """
    fix = f"give what {spec.name} was ingested with before, or another --out"
    if stored is not None and custom.is_custom(spec.name) and stored.layouts != spec.layouts:
        raise UsageError(f"{spec.name} is in the store with another value of `aligned` or of `modality`: {fix}")
    if stored is not None and rows.num_rows and stored.inverted != spec.inverted:
        raise UsageError(f"{spec.name} is in the store with another value of `inverted`: {fix}")
    pairs = rows.group_by(["subject", "split"]).aggregate([]).to_pylist()
    for subject, split in sorted((pair["subject"], pair["split"]) for pair in pairs):
        if (now := spec.split.of(subject)) != split:
            raise UsageError(f"{spec.name}: subject {subject} is in the store as {split!r}, not as {now!r}: {fix}")
    if not custom.is_custom(spec.name):
        return  # their labels come from their paths
    for row in rows.select(COLUMNS).to_pylist():
        walk = (row["subject"], row["condition"], row["view"])
        if dict(row["labels"]) != spec.listed_labels(*walk):
            raise UsageError(f"{spec.name}: {'/'.join(walk)} is in the store with other labels than these: {fix}")


def _without(names: frozenset[str], one: ProbeSet, walks: set[Walk]) -> frozenset[str]:
    """The names in a probe set that match no walk."""
    if one.by == "part":
        conditions = {condition for _, condition, _ in walks}
        return frozenset(name for name in names if not any(name in condition for condition in conditions))
    if one.by == "condition":
        return names - {condition for _, condition, _ in walks}
    return names - {("/" if one.by == "sequence" else "-").join(walk) for walk in walks}
