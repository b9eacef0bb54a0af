"""The fields of a TIFF's first directory (TIFF 6.0, section 2), which Exif uses too, from untrusted bytes."""

import struct
from dataclasses import dataclass

EXIF = b"Exif\0\0"  # before the directory in a JPEG
ORIENTATION, SHORT, LONG = 0x0112, 3, 4
_SIZES = {1: 1, 2: 1, SHORT: 2, LONG: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}  # bytes of each type


@dataclass(frozen=True)
class Field:
    """A field of a directory: its twelve bytes, and where its values lie."""

    kind: int
    count: int
    start: int
    entry: bytes

    @property
    def nbytes(self) -> int:
        """The bytes of its values; 0 for a type that nobody knows."""
        return self.count * _SIZES.get(self.kind, 0)


@dataclass(frozen=True)
class Directory:
    """The fields of a directory by their tag.

    next_start: where the directory of a further picture begins; 0 without one, None where the file ends before it.
    """

    order: str  # < or >
    fields: dict[int, Field]
    next_start: int | None

    def numbers(self, data: bytes, tag: int) -> tuple[int, ...]:
        """The values of a field of SHORT or LONG; none where it is missing, of another type, or cut off."""
        field = self.fields.get(tag)
        if field is None or field.kind not in (SHORT, LONG) or field.start + field.nbytes > len(data):
            return ()
        letter = "H" if field.kind == SHORT else "I"
        return struct.unpack_from(f"{self.order}{field.count}{letter}", data, field.start)


def read_directory(data: bytes) -> Directory:
    """The first directory of a TIFF. ValueError where it is not whole, or has a tag twice.

    It takes no more time and memory than its entries, of which there are at most 65,535.
    """
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4])
    if order is None or len(data) < 8:
        raise ValueError("no TIFF header")
    (start,) = struct.unpack_from(f"{order}I", data, 4)
    if start + 2 > len(data):
        raise ValueError("a directory behind the end")
    (count,) = struct.unpack_from(f"{order}H", data, start)
    end = start + 2 + 12 * count
    if end > len(data):
        raise ValueError("a directory that is cut off")
    fields: dict[int, Field] = {}
    for at in range(start + 2, end, 12):
        tag, kind, number, value = struct.unpack_from(f"{order}HHII", data, at)
        if tag in fields:
            raise ValueError(f"the tag {tag} twice")
        is_inside = number * _SIZES.get(kind, 0) <= 4
        fields[tag] = Field(kind, number, at + 8 if is_inside else value, data[at : at + 12])
    following = data[end : end + 4]  # Exif may end without it
    return Directory(order, fields, struct.unpack(f"{order}I", following)[0] if len(following) == 4 else None)


def orientation_of(data: bytes) -> int:
    """The orientation, 1 to 8, in the first directory of a TIFF or of Exif; 1 without one that is sound."""
    try:
        directory = read_directory(data)
    except ValueError:
        return 1
    field = directory.fields.get(ORIENTATION)
    if field is None or (field.kind, field.count) != (SHORT, 1):
        return 1
    (value,) = directory.numbers(data, ORIENTATION)
    return value if 1 <= value <= 8 else 1
