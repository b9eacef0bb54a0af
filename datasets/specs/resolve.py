"""Which spec holds of a collection: the catalog's, that of a user's own, or either with another partition.

A store describes itself: what the catalog does not say of a collection stands in its manifest entry, under `declared`.
"""

import difflib
from collections.abc import Iterable, Mapping

from datasets.catalog import registry
from datasets.preprocessing.modalities import FORMS
from datasets.schema.collection import CollectionSpec, Layout
from datasets.schema.errors import UsageError
from datasets.specs import custom
from datasets.specs.json_reader import load
from datasets.specs.partition_file import with_partition
from datasets.specs.spec_file import from_json, read_spec, to_json

Manifest = Mapping[str, object]
SPEC_KEY = "declared"  # the key in a collection's entry of the manifest; absent or null where the catalog says it all


def resolve_all(
    names: Iterable[str],
    spec_files: Mapping[str, str],
    partitions: Mapping[str, str],
    manifest: Manifest | None = None,
) -> dict[str, CollectionSpec]:
    """The spec of each collection that is to be ingested, by name; see `resolve`. UsageError for a file without one."""
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
    """The spec of a collection of the catalog, or of a user's own under any other name.

    spec_file: the path of the JSON that describes a collection of one's own. partition: see `with_partition`.
    manifest: of the store that the collection goes into; what the user does not say now is as it was said there.
    UsageError for an unusable name, and for any mistake in the files.
    """
    stored = manifest["collections"] if manifest else {}
    custom.check_name(name, stored)
    if spec_file is not None:
        if not custom.is_custom(name):
            raise UsageError(
                f"--spec {name}={spec_file}: the catalog describes {name}; give --partition {name}=<json> for another "
                "split, or --root and --spec another name"
            )
        spec = read_spec(name, load(spec_file, f"--spec {name}=<json>"))
    elif name in stored and (partition is None or custom.is_custom(name)):
        spec = from_manifest(manifest, name)
    else:
        spec = custom.default_spec(name) if custom.is_custom(name) else registry.find(name)
    return spec if partition is None else with_partition(spec, partition)


def to_manifest(spec: CollectionSpec) -> dict[str, object] | None:
    """What a manifest has to say of a collection: of one's own everything, else what the catalog does not, or None."""
    data = to_json(spec)
    if custom.is_custom(spec.name):
        return data
    official = to_json(registry.find(spec.name))
    different = {key: value for key, value in data.items() if value != official.get(key)}
    return {"name": spec.name, **different} if different else None


def from_manifest(manifest: Manifest, name: str) -> CollectionSpec:
    """The spec of a collection as a store declares it, else the catalog's; UsageError where neither knows it."""
    declared = manifest["collections"].get(name, {}).get(SPEC_KEY)
    return registry.find(name) if declared is None else from_json(declared)


def describe(spec: CollectionSpec, layout: Layout) -> list[str]:
    """What a user should see of how a collection is read and split: lines for what the catalog does not say."""
    lines = []
    if custom.is_custom(spec.name):
        similar = {custom.normalize_name(known): known for known in registry.CATALOG}
        close = difflib.get_close_matches(custom.normalize_name(spec.name), similar, n=1, cutoff=0.8)
        known = f" (where {similar[close[0]]} is)" if close else ""
        forms = FORMS[layout.modality]
        taken = "taken as aligned" if layout.aligned and forms.aligned else forms.how
        lines.append(f"{spec.name} is not in the catalog{known}: read as {layout.name}, {taken}")
        if spec.split.others != "none":
            everyone = "all others" if spec.split.train or spec.split.test else "every subject"
            lines.append(f"{spec.name}: {everyone} in the split {spec.split.others!r}; a spec file can say otherwise")
    if spec.partition:
        lines.append(f"{spec.name}: split by the partition {spec.partition}")
    return lines
