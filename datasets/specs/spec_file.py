"""What can be said of a collection in JSON: the spec file of a user, and what a store's manifest keeps.

Both have the same keys, so that a manifest can be read as a spec file and the other way round. Layouts are not among
them: they are the catalog's or those of datasets/specs/custom.py. This file knows nothing of where the JSON lies.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from string import Formatter
from typing import get_args

from datasets.catalog.registry import CATALOG
from datasets.schema.collection import CollectionSpec, Split
from datasets.schema.protocol import NamedBy, ProbeSet, Protocol, ProtocolKind
from datasets.schema.rows import MODALITIES
from datasets.specs import custom
from datasets.specs.json_reader import Value, some

EVERYONE = "*"  # instead of a list of subjects: all that the other list does not name
SPLIT_KEYS = ("train", "test", "TRAIN_SET", "TEST_SET")
_COUNTED = ("subjects", "sequences", "frames")


def read_spec(name: str, value: Value) -> CollectionSpec:
    """The spec of a user's own collection, from what its spec file says; UsageError for any mistake in it."""
    if isinstance(value.data, Mapping) and {"TRAIN_SET", "TEST_SET"} & set(value.data):
        raise value.mistake(f"is a partition and no spec file: give it with --partition {name}=<json>")
    members = value.members(_READERS)
    spec = _with(custom.default_spec(name), members)
    known = {"subject", "condition", "view"}.union(*spec.labels_of.values())
    if unknown := {name for _, name, _, _ in Formatter().parse(spec.synchronised) if name} - known:
        raise members["synchronised"].mistake(f"names {some(unknown)}: the names are {', '.join(sorted(known))}")
    return spec


def to_json(spec: CollectionSpec) -> dict[str, object]:
    """All that can be said of a collection in JSON, as plain values in a fixed order."""
    data: dict[str, object] = {"name": spec.name, "title": spec.title, "citation": spec.citation, "access": spec.access}
    if custom.is_custom(spec.name):
        data["aligned"] = all(layout.aligned for layout in spec.layouts)
        if len(known := {layout.modality for layout in spec.layouts}) == 1:
            data["modality"] = known.pop()
    data["split"] = _split_to_json(spec.split)
    if spec.partition:
        data["partition"] = spec.partition
    if spec.labels_of:
        data["labels"] = {key: dict(sorted(labels.items())) for key, labels in sorted(spec.labels_of.items())}
    if spec.protocol is not None:
        data["protocol"] = _protocol_to_json(spec.protocol)
    data["published"] = dict(sorted(spec.published.items()))
    data["sampling_discount"] = spec.sampling_discount
    if spec.synchronised:
        data["synchronised"] = spec.synchronised
    return data


def from_json(data: Mapping[str, object], file: str = "manifest.json") -> CollectionSpec:
    """The spec that `to_json` wrote; what is left out is as in the catalog, or as in any collection of one's own."""
    members = Value(dict(data), file).members(("name", "partition", *_READERS))
    if "name" not in members:
        raise Value(None, file).mistake("declares a collection without its name: run ingest again")
    name = members.pop("name").text()
    base = custom.default_spec(name) if custom.is_custom(name) else CATALOG[name]
    if "partition" in members:
        base = replace(base, partition=members.pop("partition").text())
    return _with(base, members)


def read_split(value: Value, members: Mapping[str, Value]) -> Split:
    """A split from those members of `value` that are named in SPLIT_KEYS."""
    sets: dict[str, frozenset[str]] = {}
    others = "none"
    for side, in_opengait in (("train", "TRAIN_SET"), ("test", "TEST_SET")):
        given = [members[key] for key in (side, in_opengait) if key in members]
        if len(given) == 2:
            raise value.mistake(f"has both {side} and {in_opengait}: keep one of them")
        everyone = bool(given) and given[0].data == EVERYONE
        if everyone and others != "none":
            raise value.mistake(f'has "{EVERYONE}" for train and for test: name the subjects of one of them')
        others = side if everyone else others
        sets[side] = given[0].names() if given and not everyone else frozenset()
    if not any(key in members for key in SPLIT_KEYS):
        raise value.mistake(f'names no subjects: give train and test, each a list of subjects or "{EVERYONE}"')
    if both := sets["train"] & sets["test"]:
        raise value.mistake(f"has subjects in train and in test ({some(both)}): keep each in one of them")
    return Split(**sets, others=others)


def _with(base: CollectionSpec, members: Mapping[str, Value]) -> CollectionSpec:
    """A spec with what some members say instead."""
    changes: dict[str, object] = {}
    of_layouts: dict[str, object] = {"aligned": False}
    for key, value in members.items():
        field, read = _READERS[key]
        if field == "layouts":
            of_layouts[key] = read(value)
        else:
            changes[field] = read(value)
    if {"aligned", "modality"} & set(members):
        changes["layouts"] = custom.layouts(**of_layouts)
    return replace(base, **changes)


def _modality(value: Value) -> str:
    return value.choice(MODALITIES)


def _split(value: Value) -> Split:
    return read_split(value, value.members(SPLIT_KEYS))


def _split_to_json(split: Split) -> dict[str, object]:
    sides = {"train": sorted(split.train), "test": sorted(split.test)}
    return {side: EVERYONE if side == split.others else names for side, names in sides.items()}


def _labels(value: Value) -> dict[str, dict[str, str]]:
    labels = {}
    for key, of_key in value.entries().items():
        if not 1 <= len([part for part in key.split("/") if part]) == key.count("/") + 1 <= 3:
            raise of_key.mistake("is no subject, subject/condition or subject/condition/view: name one of these")
        labels[key] = {label: text.text() for label, text in of_key.entries().items()}
    return labels


def _protocol(value: Value) -> Protocol:
    members = value.members(("kind", "probe_sets", "excluded_views", "view_until"))
    for key in ("kind", "probe_sets"):
        if key not in members:
            options = f": one of {', '.join(get_args(ProtocolKind))}" if key == "kind" else ": a list of probe sets"
            raise value.mistake(f"has no {key}{options}")
    kinds = _kinds(members["kind"])
    sets = [_probe_set(one) for one in members["probe_sets"].items()]
    if not kinds or not sets:
        raise members["probe_sets" if kinds else "kind"].mistake("is empty: name at least one")
    protocol = Protocol(
        probe_sets=tuple(sets),
        kinds=kinds,
        excluded_views=members["excluded_views"].names() if "excluded_views" in members else frozenset(),
        view_until=members["view_until"].text() if "view_until" in members else "",
    )
    scored = [(kind, one.name) for kind, one in protocol.scored()]
    if len(set(scored)) < len(scored):
        raise members["probe_sets"].mistake("has two sets of one name: give each its own")
    if any(kind == "condition-pairs" and one.by != "condition" for kind, one in protocol.scored()):
        raise members["probe_sets"].mistake('must name whole conditions for the kind "condition-pairs"')
    return protocol


def _kinds(value: Value) -> tuple[ProtocolKind, ...]:
    return tuple(one.choice(get_args(ProtocolKind)) for one in (value.items() if _is_list(value) else [value]))


def _probe_set(value: Value) -> ProbeSet:
    members = value.members(("name", "probe", "gallery", "by", "kind"))
    if "name" not in members or not {"probe", "gallery"} & set(members):
        raise value.mistake("needs a name, and a list of names as probe, gallery or both")
    if not custom.USABLE.fullmatch(members["name"].text()):
        raise members["name"].mistake("cannot be a name: use letters, digits, '-', '_', '.' and spaces within")
    sets = {side: members[side].names() for side in ("probe", "gallery") if side in members}
    for side, names in sets.items():
        if not names:
            raise members[side].mistake("is empty: leave it out for all sequences of the test split not in the other")
    by = members["by"].choice(get_args(NamedBy)) if "by" in members else "condition"
    kinds = _kinds(members["kind"]) if "kind" in members else ()
    both = sets.get("probe", frozenset()) & sets.get("gallery", frozenset())
    if both and kinds != ("condition-pairs",):
        raise value.mistake(f"has {some(both)} as probe and as gallery: keep each in one of them")
    return ProbeSet(
        name=members["name"].text(), probe=sets.get("probe"), gallery=sets.get("gallery"), by=by, kinds=kinds
    )


def _protocol_to_json(protocol: Protocol) -> dict[str, object]:
    sets = []
    for one in protocol.probe_sets:
        named = {"probe": one.probe, "gallery": one.gallery}
        kinds = {"kind": list(one.kinds)} if one.kinds else {}
        sides = {side: sorted(names) for side, names in named.items() if names is not None}
        sets.append({"name": one.name, "by": one.by, **kinds, **sides})
    data: dict[str, object] = {"kind": list(protocol.kinds), "probe_sets": sets}
    if protocol.excluded_views:
        data["excluded_views"] = sorted(protocol.excluded_views)
    if protocol.view_until:
        data["view_until"] = protocol.view_until
    return data


def _published(value: Value) -> dict[str, int]:
    return {what: one.count() for what, one in value.members(_COUNTED).items()}


def _synchronised(value: Value) -> str:
    """A template whose fields are plain names: anything else that Python formats could look into our objects."""
    try:
        fields = [parts[1:] for parts in Formatter().parse(value.text()) if parts[1] is not None]
    except ValueError:
        fields = []
    if not fields or any(not name.isidentifier() or form or conversion for name, form, conversion in fields):
        raise value.mistake('names no walk: give a template like "{subject}/{condition}"')
    return value.text()


def _is_list(value: Value) -> bool:
    return isinstance(value.data, list)


# Each key: the field of the spec that it becomes, and how it is read.
_READERS: dict[str, tuple[str, Callable[[Value], object]]] = {
    "title": ("title", Value.text),
    "citation": ("citation", Value.text),
    "access": ("access", Value.text),
    "aligned": ("layouts", Value.flag),  # these two together say which layouts of datasets/specs/custom.py it has
    "modality": ("layouts", _modality),
    "split": ("split", _split),
    "labels": ("labels_of", _labels),
    "protocol": ("protocol", _protocol),
    "published": ("published", _published),
    "sampling_discount": ("sampling_discount", Value.positive),
    "synchronised": ("synchronised", _synchronised),
}
