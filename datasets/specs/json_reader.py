"""JSON that a user wrote, read with care: each mistake is a UsageError of one line with file, key and fix.

It knows JSON and nothing of collections; what a file may say is said where it is read.
"""

import difflib
import json
import math
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from datasets.schema.errors import UsageError

SHOWN = 5  # names in one message


@dataclass(frozen=True)
class Value:
    """A value and where it stands. Every method that reads it raises UsageError where it is something else."""

    data: object
    file: str
    key: str = ""  # as in protocol.probe_sets[0].by; empty for the whole file

    def mistake(self, said: str) -> UsageError:
        """The error to raise: `said` goes on after the file and the key."""
        line = f"{self.file}: {self.key} {said}" if self.key else f"{self.file} {said}"
        return UsageError(" ".join(line.split()))  # a key may hold a line break

    def members(self, known: Collection[str]) -> dict[str, "Value"]:
        """The members of an object that may have some keys only."""
        found = self.entries()
        for key, value in found.items():
            if key not in known:
                fix = _likely(key, known) or f"the known keys are {', '.join(known)}"
                raise value.mistake(f"is not a key that is known here: {fix}")
        return found

    def entries(self) -> dict[str, "Value"]:
        """The members of an object, whatever their keys."""
        if not isinstance(self.data, dict):
            raise self._other_than("an object {...}")
        inside = f"{self.key}." if self.key else ""
        return {key: Value(value, self.file, f"{inside}{key}") for key, value in self.data.items()}

    def items(self) -> list["Value"]:
        """The items of a list."""
        if not isinstance(self.data, list):
            raise self._other_than("a list [...]")
        return [Value(value, self.file, f"{self.key}[{place}]") for place, value in enumerate(self.data)]

    def text(self) -> str:
        """A string that is not blank."""
        if not isinstance(self.data, str):
            raise self._other_than("text in quotes")
        if not self.data.strip():
            raise self.mistake("is empty: write something or leave the key out")
        return self.data

    def names(self) -> frozenset[str]:
        """A list of strings, as a set."""
        return frozenset(item.text() for item in self.items())

    def choice(self, options: Collection[str]) -> str:
        """A string that is one of some."""
        if self.text() not in options:
            fix = _likely(self.text(), options) or f"choose one of {', '.join(options)}"
            raise self.mistake(f'is "{self.data}": {fix}')
        return self.text()

    def flag(self) -> bool:
        """true or false."""
        if not isinstance(self.data, bool):
            raise self._other_than("true or false")
        return self.data

    def count(self) -> int:
        """A whole number, at least 0."""
        if not isinstance(self.data, int) or isinstance(self.data, bool) or self.data < 0:
            raise self._other_than("a whole number, 0 or more")
        return self.data

    def positive(self) -> float:
        """A number above 0."""
        if not isinstance(self.data, int | float) or isinstance(self.data, bool) or not 0 < self.data < math.inf:
            raise self._other_than("a number above 0")
        return float(self.data)

    def _other_than(self, wanted: str) -> UsageError:
        shown = json.dumps(self.data, ensure_ascii=False)
        shown = shown if len(shown) <= 40 else f"{shown[:37]}..."
        return self.mistake(f"is {shown}: it must be {wanted}")


def load(path: str, option: str) -> Value:
    """What a file says; UsageError where it cannot be read or is not JSON. option: what named it, for messages."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise UsageError(f"no file {path}: check the path given with {option}") from error
    except (OSError, UnicodeDecodeError) as error:
        why = "it is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else error.strerror
        raise UsageError(f"{path} cannot be read ({why}): check the path given with {option}") from error
    try:
        return Value(json.loads(text, object_pairs_hook=_once_each, parse_constant=_refused), path)
    except json.JSONDecodeError as error:
        raise UsageError(f"{path} is not JSON: {error.msg} at line {error.lineno}, column {error.colno}") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is not JSON as it is read here: {error}") from error


def some(names: Collection[str]) -> str:
    """The first few of some names in order, and how many more there are."""
    shown = ", ".join(sorted(names)[:SHOWN])
    return shown if len(names) <= SHOWN else f"{shown} and {len(names) - SHOWN:,} more"


def _likely(written: str, options: Collection[str]) -> str:
    """A question after the option that was probably meant; empty where none is near."""
    close = difflib.get_close_matches(written, options, n=1)
    return f'did you mean "{close[0]}"?' if close else ""


def _once_each(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """An object; Python would keep the last of two members with one key and say nothing."""
    found: dict[str, object] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key!r} is there twice: keep one of them")
        found[key] = value
    return found


def _refused(constant: str) -> None:
    raise ValueError(f"{constant} is no number of JSON")
