"""Settings as plain values and back. Reading is strict: unknown and mistyped settings are errors.

A setting that is missing has its default, as in the runs of earlier versions.
"""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any, TypeVar

from datasets.schema import strict_json

T = TypeVar("T")


def to_json(settings: Any) -> dict[str, Any]:  # noqa: ANN401 any dataclass: typeshed's protocol for them is private
    """Settings as plain values."""
    return json.loads(json.dumps(dataclasses.asdict(settings)))


def flatten(data: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings with dotted names, as on the command line."""
    flat: dict[str, Any] = {}
    for name, value in data.items():
        flat |= flatten(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat


def build(kind: type[T], data: Mapping[str, Any]) -> T:
    """Settings from plain values, as `to_json` makes them; UsageError in one line for any that do not fit."""
    return strict_json.parse(kind, json.dumps(data), "settings", strict_json.NOTE)
