"""What the places of datasets/storage.py share: the entries of a folder, and how much of a file is read."""

from dataclasses import dataclass
from typing import Literal

from datasets.schema.errors import Unreadable

MAX_FILE = 1 << 30  # bytes: more than any walk takes, as pictures or as one array

Kind = Literal["folder", "file", "loop", "other"]


@dataclass(frozen=True)
class Entry:
    """A directory entry. kind: `loop` is a link to a folder that contains it."""

    name: str
    kind: Kind


def check_size(size: int, limit: int) -> None:
    """Raises Unreadable for a file of more bytes than are read."""
    if size > limit:
        raise Unreadable("file too large", f"{size:,} bytes, more than the {limit:,} that are read")
