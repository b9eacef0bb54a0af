"""What is said of a collection in JSON: by a user's spec file, and by the manifest of a store.

Both have the same keys. Layouts are not among them: they are those of the catalog or of datasets/specs/custom.py.
"""

import json
from collections.abc import Mapping
from dataclasses import fields, replace
from string import Formatter
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, Field, TypeAdapter, model_validator
from pydantic.json_schema import SkipJsonSchema

from datasets.catalog.registry import CATALOG
from datasets.schema import strict_json
from datasets.schema.collection import CollectionSpec, Split
from datasets.schema.errors import UsageError
from datasets.schema.protocol import Protocol, ProtocolInJson
from datasets.schema.rows import Modality
from datasets.schema.strict_json import Names, Text, some
from datasets.specs import custom

EVERYONE = "*"  # instead of a list of subjects: all that the other list does not name
LEFT_OUT: Any = None  # the value of a key that is not given; null is none that can be given

_Side = Names | Literal["*"]


def _check_walk(key: str) -> str:
    if not 1 <= len([part for part in key.split("/") if part]) == key.count("/") + 1 <= 3:
        raise ValueError("is no subject, subject/condition or subject/condition/view: name one of these")
    return key


def _check_template(text: str) -> str:
    """A template whose fields are plain names: anything else that Python formats could look into our objects."""
    try:
        named = [parts[1:] for parts in Formatter().parse(text) if parts[1] is not None]
    except ValueError:
        named = []
    if not named or any(not str(name).isidentifier() or form or conversion for name, form, conversion in named):
        raise ValueError('names no walk: give a template like "{subject}/{condition}"')
    return text


def _refuse_partition(_: object) -> None:
    raise ValueError("belongs to a partition, and this is no spec file: give the file with --partition NAME=<json>")


_Partition = SkipJsonSchema[Annotated[Any, AfterValidator(_refuse_partition)]]


class SplitForm(BaseModel):
    """A split by subject, with our keys or OpenGait's."""

    model_config = strict_json.STRICT

    train: _Side = frozenset()
    test: _Side = frozenset()
    TRAIN_SET: _Side = frozenset()
    TEST_SET: _Side = frozenset()

    @model_validator(mode="after")
    def _check(self) -> Self:
        self.split()
        return self

    def split(self) -> Split:
        """The split; ValueError where the keys contradict each other."""
        given = self.model_fields_set & set(SplitForm.model_fields)
        if not given:
            raise ValueError(f'names no subjects: give train and test, each a list of subjects or "{EVERYONE}"')
        for side, in_opengait in (("train", "TRAIN_SET"), ("test", "TEST_SET")):
            if {side, in_opengait} <= given:
                raise ValueError(f"has both {side} and {in_opengait}: keep one of them")
        train, test = self.train or self.TRAIN_SET, self.test or self.TEST_SET
        if isinstance(train, str) and isinstance(test, str):
            raise ValueError(f'has "{EVERYONE}" for train and for test: name the subjects of one of them')
        if isinstance(train, str):
            return Split(train=frozenset(), test=frozenset(test), others="train")
        if isinstance(test, str):
            return Split(train=train, test=frozenset(), others="test")
        return Split(train=train, test=test)


class SpecForm(BaseModel):
    """A spec file. What it leaves out is as in any other custom collection."""

    model_config = strict_json.STRICT

    title: Text = LEFT_OUT
    citation: Text = LEFT_OUT
    access: Text = LEFT_OUT
    aligned: bool = False
    inverted: bool = False
    modality: Modality = LEFT_OUT
    split: SplitForm = LEFT_OUT
    labels: dict[Annotated[str, AfterValidator(_check_walk)], dict[str, Text]] = LEFT_OUT
    protocol: ProtocolInJson = LEFT_OUT
    published: dict[Literal["subjects", "sequences", "frames"], Annotated[int, Field(ge=0)]] = LEFT_OUT
    sampling_discount: Annotated[float, Field(gt=0)] = LEFT_OUT
    synchronised: Annotated[str, AfterValidator(_check_template)] = LEFT_OUT
    TRAIN_SET: _Partition = LEFT_OUT
    TEST_SET: _Partition = LEFT_OUT

    def apply_to(self, base: CollectionSpec) -> CollectionSpec:
        """A spec with what is given here instead."""
        given = self.model_fields_set
        same = given & {field.name for field in fields(CollectionSpec)} - {"split"}
        changes: dict[str, Any] = {key: getattr(self, key) for key in same}
        if "split" in given:
            changes["split"] = self.split.split()
        if "labels" in given:
            changes["labels_of"] = self.labels
        if {"aligned", "modality"} & given:
            changes["layouts"] = custom.layouts(self.aligned, self.modality)
        return replace(base, **changes)


class ManifestForm(SpecForm):
    """What a store keeps of a collection. What it leaves out is as in the catalog, or in any custom collection."""

    name: Text
    partition: Text = LEFT_OUT


def read_spec(name: str, path: str) -> CollectionSpec:
    """The spec of a custom collection from a user's file; UsageError for any mistake in it."""
    spec = strict_json.read(SpecForm, path, f"--spec {name}=<json>").apply_to(custom.default_spec(name))
    known = {"subject", "condition", "view"}.union(*spec.labels_of.values())
    if unknown := {name for _, name, _, _ in Formatter().parse(spec.synchronised) if name} - known:
        raise UsageError(f"{path}: synchronised names {some(unknown)}: the names are {', '.join(sorted(known))}")
    return spec


def from_json(data: Mapping[str, Any], file: str = "manifest.json") -> CollectionSpec:
    """The spec that `to_json` wrote; what is left out is as in the catalog, or as in any custom collection."""
    form = strict_json.parse(ManifestForm, json.dumps(data), file, "written by another version of this program?")
    return form.apply_to(custom.default_spec(form.name) if custom.is_custom(form.name) else CATALOG[form.name])


def to_json(spec: CollectionSpec) -> dict[str, Any]:
    """All that can be said of a collection in JSON, as plain values in a fixed order."""
    known = {layout.modality for layout in spec.layouts}
    data: dict[str, Any] = {"name": spec.name, "title": spec.title, "citation": spec.citation, "access": spec.access}
    if custom.is_custom(spec.name):
        data["aligned"] = all(layout.aligned for layout in spec.layouts)
        data |= {"modality": known.pop()} if len(known) == 1 else {}
    data["split"] = {"train": sorted(spec.split.train), "test": sorted(spec.split.test)}
    if spec.split.others != "none":
        data["split"][spec.split.others] = EVERYONE
    if spec.partition:
        data["partition"] = spec.partition
    if spec.labels_of:
        data["labels"] = {key: dict(sorted(labels.items())) for key, labels in sorted(spec.labels_of.items())}
    if spec.protocol is not None:
        data["protocol"] = TypeAdapter(Protocol).dump_python(
            spec.protocol, mode="json", by_alias=True, exclude_none=True
        )
    data |= {"published": dict(sorted(spec.published.items())), "sampling_discount": spec.sampling_discount}
    data |= {"synchronised": spec.synchronised} if spec.synchronised else {}
    return data | ({"inverted": True} if spec.inverted else {})
