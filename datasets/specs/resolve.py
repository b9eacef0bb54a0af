"""Finds the spec of a collection: the catalog's, the one of a custom collection, or either with another partition.

A store describes itself: whatever differs from the catalog stands in the manifest's entry of the collection, under
`declared`.
"""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from datasets.catalog import registry
from datasets.preprocessing.preprocessors import PREPROCESSORS
from datasets.schema.collection import CollectionSpec, Layout
from datasets.schema.errors import UsageError
from datasets.specs import custom
from datasets.specs.partition_file import with_partition
from datasets.specs.spec_file import from_json, read_spec, to_json

Manifest = Mapping[str, Any]
SPEC_KEY = (
    "declared"  # of a collection's entry in the manifest; absent or null for a catalog collection as the catalog has it
)


def resolve_all(
    names: Iterable[str],
    spec_files: Mapping[str, str],
    partitions: Mapping[str, str],
    manifest: Manifest | None = None,
) -> dict[str, CollectionSpec]:
    """The spec of each collection to ingest, by name; see `resolve`. UsageError for a file of another collection."""
    names = sorted(names)
    for option, given in (("--spec", spec_files), ("--partition", partitions)):
        for name in sorted(set(given) - set(names)):
            raise UsageError(f"{option} {name}={given[name]} has no collection: give --root {name}=<folder> too")
    for name in names:
        custom.check_name(name, names)
    return {name: resolve(name, spec_files.get(name), partitions.get(name), manifest) for name in names}


def resolve(
    name: str, spec_file: str | None = None, partition: str | None = None, manifest: Manifest | None = None
) -> CollectionSpec:
    """The spec of a catalog collection, or of a custom one under any other name.

    spec_file: path of the JSON that describes a custom collection. partition: see `with_partition`. manifest: of the
    store that the collection goes into; whatever is not given now is taken from there. UsageError for an unusable
    name, and for any mistake in the files.
    """
    stored = manifest["collections"] if manifest else {}
    custom.check_name(name, stored)
    if spec_file is not None:
        if not custom.is_custom(name):
            raise UsageError(
                f"--spec {name}={spec_file}: the catalog describes {name}; give --partition {name}=<json> for another "
                "split, or --root and --spec another name"
            )
        spec = read_spec(name, spec_file)
    elif manifest and name in stored and (partition is None or custom.is_custom(name)):
        spec = from_manifest(manifest, name)
    else:
        spec = custom.default_spec(name) if custom.is_custom(name) else registry.find(name)
    return spec if partition is None else with_partition(spec, partition)


def to_manifest(spec: CollectionSpec) -> dict[str, Any] | None:
    """What a manifest keeps of a spec: all of a custom one, else what differs from the catalog; None if nothing."""
    data = to_json(spec)
    if custom.is_custom(spec.name):
        return data
    official = to_json(registry.find(spec.name))
    different = {key: value for key, value in data.items() if value != official.get(key)}
    return {"name": spec.name, **different} if different else None


def from_manifest(manifest: Manifest, name: str) -> CollectionSpec:
    """The spec of a collection from the manifest, else from the catalog; UsageError where neither has it."""
    declared = manifest["collections"].get(name, {}).get(SPEC_KEY)
    return registry.find(name) if declared is None else from_json(declared)


def describe(spec: CollectionSpec, layout: Layout) -> list[str]:
    """Lines for the user on how a collection is read and split, where that differs from the catalog."""
    lines = []
    if custom.is_custom(spec.name):
        similar = {custom.normalize_name(known): known for known in registry.CATALOG}
        close = difflib.get_close_matches(custom.normalize_name(spec.name), similar, n=1, cutoff=0.8)
        known = f" (where {similar[close[0]]} is)" if close else ""
        preprocessor = PREPROCESSORS[layout.modality]
        taken = "taken as aligned" if layout.aligned and preprocessor.align else preprocessor.action
        lines.append(f"{spec.name} is not in the catalog{known}: read as {layout.name}, {taken}")
        if spec.split.others != "none":
            everyone = "all others" if spec.split.train or spec.split.test else "every subject"
            lines.append(
                f"{spec.name}: {everyone} in the split {spec.split.others!r}"
                + ("" if spec.split.train or spec.split.test else "; a spec file can say otherwise")
            )
    if spec.partition:
        lines.append(f"{spec.name}: split by the partition {spec.partition}")
    return lines
