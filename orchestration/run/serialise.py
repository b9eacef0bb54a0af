"""Settings as plain values and back. Reading is strict: an unknown setting is an error."""

import dataclasses
import json
import typing
from typing import TypeVar

from datasets.schema.errors import UsageError

T = TypeVar("T")


def to_json(settings: object) -> dict[str, object]:
    """Settings as plain values."""
    return json.loads(json.dumps(dataclasses.asdict(settings)))


def flatten(data: dict[str, object], prefix: str = "") -> dict[str, object]:
    """Nested settings with dotted names, as on the command line."""
    flat: dict[str, object] = {}
    for name, value in data.items():
        flat |= flatten(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat


def build(kind: type[T], data: dict[str, object], where: str = "") -> T:
    """Settings from plain values; UsageError for one that is unknown or missing."""
    known = {f.name: f for f in dataclasses.fields(kind)}
    if unknown := sorted(set(data) - set(known)):
        raise UsageError(f"unknown setting '{where}{unknown[0]}': written by another version of this program?")
    required = {n for n, f in known.items() if f.default is f.default_factory is dataclasses.MISSING}
    if missing := sorted(required - set(data)):
        raise UsageError(f"setting '{where}{missing[0]}' is missing")
    hints = typing.get_type_hints(kind)
    values = {}
    for name, value in data.items():
        if dataclasses.is_dataclass(hints[name]):
            values[name] = build(hints[name], value, f"{where}{name}.")
        else:
            values[name] = tuple(value) if isinstance(value, list) else value
    return kind(**values)
