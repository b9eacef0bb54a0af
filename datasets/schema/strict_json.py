"""Reads JSON strictly: the value of a type (dataclass, pydantic model, TypedDict), or a UsageError of one line.

pydantic validates the types. This file refuses keys given twice, which pydantic lets pass, and puts errors into words
for users: file, key, the value found, and what is right.
"""

import difflib
import json
import re
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, ConfigDict, PlainSerializer, Strict, TypeAdapter, ValidationError

from datasets.schema.errors import Damaged, UsageError

T = TypeVar("T")
STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
SHOWN = 5  # names in one message
NOTE = "written by another version of this program?"
_UNKNOWN_KEY = ("extra_forbidden", "unexpected_keyword_argument")  # of models, and of dataclasses
_WANTED = {  # in words that presume no Python, by pydantic's type of error
    "bool_type": "true or false",
    "string_type": "text in quotes",
    **dict.fromkeys(("dict_type", "dataclass_type", "model_type"), "an object {...}"),
    **dict.fromkeys(("list_type", "tuple_type", "frozen_set_type"), "a list [...]"),
}


def _check_filled(value: Any) -> Any:  # noqa: ANN401 text or a collection
    if not (value.strip() if isinstance(value, str) else value):
        raise ValueError("is empty: give something, or leave it out")
    return value


Filled = AfterValidator(_check_filled)
Text = Annotated[str, Filled]
# A list without an order, and so written in one. Strict(False): what went through a validator before is a Python list.
Names = Annotated[frozenset[Text], Strict(False), PlainSerializer(sorted, return_type=list[str])]


def some(names: Collection[str]) -> str:
    """The first few of some names in order, and how many more there are."""
    shown = ", ".join(sorted(names)[:SHOWN])
    return shown if len(names) <= SHOWN else f"{shown} and {len(names) - SHOWN:,} more"


def read(kind: type[T], path: str, option: str) -> T:
    """What a user's file says; see `parse`. option: what named the file on the command line, for messages."""
    try:
        return parse(kind, Path(path).read_text(encoding="utf-8-sig"), path)
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UsageError(f"{path} cannot be read ({why}): check the path given with {option}") from error


def read_ours(kind: type[T], content: bytes, file: str, mend: str) -> T:
    """A value of a type from a JSON file that this program wrote.

    Damaged for bytes that are no JSON, as after a crash of the disk or a copy that was not finished. mend: what that
    costs and what mends it. UsageError for values that do not fit.
    """
    try:
        text = content.decode()
        json.loads(text)
    except UnicodeDecodeError:
        why = "it is not UTF-8 text"
    except (ValueError, RecursionError) as error:
        why = f"it is no JSON: {error}" if content.strip(b"\0 \n") else "it is empty"
    else:
        return parse(kind, text, file, NOTE)
    raise Damaged(f"{file} is damaged ({why}): {mend}")


def parse(kind: type[T], text: str, file: str, note: str = "") -> T:
    """A value of a type from JSON text. file: named in messages. note: what may be the reason of any mistake.

    UsageError for whatever does not fit; one that `__post_init__` of a dataclass raises is passed on as it is.
    """
    try:
        data = json.loads(text, object_pairs_hook=_unique_keys)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{file} cannot be read as JSON: {error}") from error
    adapter: TypeAdapter[list[T]] = _adapter(kind)  # type: ignore[arg-type]  # types have hashes
    try:
        return adapter.validate_json(f"[{text}]")[0]
    except ValidationError as error:
        raise _as_usage_error(error, adapter, data, file, note) from error


@cache  # a store has thousands of records of one type
def _adapter(kind: type[T]) -> TypeAdapter[list[T]]:
    # A list of one, since pydantic takes no settings for a dataclass, but applies those of a list to its items.
    return TypeAdapter(list[kind], config=STRICT)  # type: ignore[valid-type]  # a type that is known at run time


def _as_usage_error(
    error: ValidationError, adapter: TypeAdapter[Any], data: object, file: str, note: str
) -> UsageError:
    """The first mistake in one line; unknown keys go first, since a misspelt key is also missing under its name."""
    first = min(error.errors(include_url=False), key=lambda one: one["type"] not in _UNKNOWN_KEY)
    what, location, context, found = first["type"], first["loc"][1:], first.get("ctx", {}), first["input"]
    if isinstance(cause := context.get("error"), UsageError):
        return cause
    if "discriminator" in context:  # of a union, whose members have a key that tells them apart
        location, found = (*location, context["discriminator"].strip("'")), context.get("tag")
        what = what if found else "missing"
    steps = list(_steps(location, data, what == "missing"))
    if what in _UNKNOWN_KEY:
        schema = adapter.json_schema()
        known = _keys_at(schema["items"], steps[:-1], schema, data)
        said = f"is not a known key: {_likely(str(steps[-1]), known) or 'the known keys are ' + ', '.join(known)}"
    elif what == "missing":
        said = "is missing"
    elif isinstance(cause, Exception):
        said = str(cause)
    else:
        shown = json.dumps(found, ensure_ascii=False)
        wanted = _WANTED.get(what) or context.get("expected") or context.get("expected_tags") or ""
        likely = _likely(str(found), re.findall(r"'([^']*)'", wanted))
        wanted = f"it must be {wanted}" if wanted else first["msg"].replace("Input should", "it must")
        said = f"is {shown if len(shown) <= 40 else shown[:37] + '...'}: {likely or wanted}"
    key = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps).removeprefix(".")
    line = " ".join([f"{file}: {key}" if key else file, said, f"({note})" if note else ""])
    return UsageError(" ".join(line.split()))  # a key may hold a line break


def _likely(written: str, options: Collection[str]) -> str:
    """A question after the option that was probably meant; empty where none is near."""
    close = difflib.get_close_matches(written, options, n=1)
    return f'did you mean "{close[0]}"?' if close else ""


def _steps(path: tuple[int | str, ...], data: object, missing: bool) -> Iterator[int | str]:
    """The keys and positions of a location, without what pydantic adds to them ([key], and which member of a union)."""
    for step in path:
        inside = data if isinstance(data, dict) else dict(enumerate(data)) if isinstance(data, list) else {}
        if step in inside:
            yield step
            data = inside[step]
    if missing:
        yield path[-1]


def _keys_at(node: Mapping[str, Any], steps: list[int | str], root: Mapping[str, Any], data: Any) -> list[str]:  # noqa: ANN401
    """The keys that the object at a location may have, by a JSON Schema: references followed, unions taken as one.

    data: the values; of a union with a discriminator, the member that they choose counts alone.
    """
    if "$ref" in node:
        return _keys_at(root["$defs"][node["$ref"].rpartition("/")[2]], steps, root, data)
    if "discriminator" in node:
        tag = data[node["discriminator"]["propertyName"]]
        return _keys_at({"$ref": node["discriminator"]["mapping"][tag]}, steps, root, data)
    if choices := node.get("anyOf") or node.get("oneOf"):
        return list(dict.fromkeys(key for one in choices for key in _keys_at(one, steps, root, data)))
    members = node.get("properties", {})
    if not steps:
        return list(members)
    inner = node.get("items") if isinstance(steps[0], int) else members.get(steps[0])
    return _keys_at(inner or {}, steps[1:], root, data[steps[0]])


def _unique_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """An object of JSON; without this the last of two members with one key would count, in silence."""
    found: dict[str, object] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key!r} is there twice: keep one of them")
        found[key] = value
    return found
