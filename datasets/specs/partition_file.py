"""Another partition of a collection: one that was published beside the official one, or a JSON file of OpenGait's kind.

Such a file names the subjects of TRAIN_SET and TEST_SET, and may name sequences as PROBE_SET or GALLERY_SET. The lists
that are built in are read elsewhere (datasets/catalog/official_lists.py).
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from datasets.schema.collection import CollectionSpec
from datasets.schema.errors import UsageError
from datasets.schema.protocol import ProbeSet, Protocol
from datasets.specs.json_reader import Value, load, some
from datasets.specs.spec_file import SPLIT_KEYS, read_split

_ROLES = {"probe": "PROBE_SET", "gallery": "GALLERY_SET"}


def with_partition(spec: CollectionSpec, partition: str) -> CollectionSpec:
    """A collection split by another partition; probes and gallery are replaced where the file names any.

    partition: a name among `other_splits`, or the path of a JSON file. UsageError where it is neither, or for any
    mistake in the file.
    """
    if partition in spec.other_splits:
        return replace(spec, split=spec.other_splits[partition], partition=partition)
    if spec.other_splits and not Path(partition).exists():
        raise UsageError(
            f"{spec.name} has no published partition {partition!r}, and there is no such file: give one of "
            f"{', '.join(spec.other_splits)}, a JSON file, or nothing for the official one"
        )
    value = load(partition, f"--partition {spec.name}=<json>")
    members = value.members((*SPLIT_KEYS, *_ROLES.values()))
    split = read_split(value, members)
    return replace(spec, split=split, protocol=_protocol(spec.protocol, value, members), partition=Path(partition).name)


def _protocol(protocol: Protocol | None, value: Value, members: Mapping[str, Value]) -> Protocol | None:
    """The protocol with the probes and the gallery that a file names, where it names any."""
    named = {role: members[key].names() for role, key in _ROLES.items() if key in members}
    if not named:
        return protocol
    for role, names in named.items():
        if not names:
            raise members[_ROLES[role]].mistake("is empty: leave it out for the probes and gallery of the protocol")
    if both := named.get("probe", frozenset()) & named.get("gallery", frozenset()):
        raise value.mistake(f"has sequences in PROBE_SET and in GALLERY_SET ({some(both)}): keep each in one of them")
    before = protocol or Protocol(probe_sets=(), kinds=("pooled",))
    others = tuple(one for one in before.probe_sets if one.kinds)  # judged otherwise: no such file speaks of them
    replaced = [one.name for one in before.probe_sets if not one.kinds]
    name = replaced[0] if len(replaced) == 1 else "partition"
    probe_set = ProbeSet(name=name, probe=named.get("probe"), gallery=named.get("gallery"), by="joined")
    return replace(before, probe_sets=(probe_set, *others))
