"""Arrays in `.npy` and `.npz` files from untrusted bytes (NEP 1). The header is not evaluated as Python.

NumPy would load a pickle for an array of objects; here datasets/formats/unpickler.py does, which runs no code from it.
"""

import io
import re
import struct

from datasets.formats import unpickler
from datasets.formats.opcodes import not_frames
from datasets.formats.unpickler import ADVICE, Array, Pairs, as_array
from datasets.schema.errors import Unreadable
from datasets.zip_archive import list_members, read_member

MAGIC = b"\x93NUMPY"
MAX_HEADER = 2**14  # bytes; NumPy refuses more than 10,000
MAX_LISTING = 2**22  # bytes of the listing in an .npz: 80,000 arrays
_ITEM = re.compile(
    r"""\s*['"](?:descr['"]\s*:\s*['"](?P<descr>[^'"]{1,40})['"]"""
    r"""|fortran_order['"]\s*:\s*(?P<fortran>True|False)"""
    r"""|shape['"]\s*:\s*\((?P<shape>[\d\s,L]{0,200})\))\s*(?:,\s*|$)"""
)
_FIELDS = re.compile(r"""['"]descr['"]\s*:\s*\[""")


def load_npy(data: bytes) -> object:
    """The array of an .npy, a view of its bytes, or what is pickled in it for an array of objects.

    Raises Unreadable: `unreadable array` for one that is damaged, and what `as_array` and `unpickler.load` raise.
    """
    descr, is_fortran, shape, start = _header(data)
    order, code = (descr[0], descr[1:]) if descr[0] in unpickler.BYTE_ORDERS else ("=", descr)
    if code in unpickler.OBJECTS:
        content = unpickler.load(data[start:])
        if not isinstance(content, Array):
            raise _damaged("objects that are not pickled as an array")
        return content
    if code in ("V2", "V1"):
        raise Unreadable("not an array of frames", ADVICE["ml_dtypes"])
    return as_array(memoryview(data)[start:], order, code, shape, "F" if is_fortran else "C")


def load_npz(data: bytes, most: int) -> Pairs:
    """The names in an .npz and their arrays; an Unreadable in the place of one that is not read.

    most: bytes that all arrays together may have. Raises Unreadable: `damaged zip archive`, `file too large`, `not an
    array of frames` for a zip of other files, and what `read_member` raises.
    """
    members = [member for member in list_members(io.BytesIO(data), MAX_LISTING) if not member.is_dir()]
    if any(member.filename.endswith("/data.pkl") for member in members):
        raise Unreadable("not an array of frames", ADVICE["torch"])
    arrays = [member for member in members if member.filename.endswith(".npy")]
    if not arrays:
        raise not_frames(f"a zip archive of {len(members)} files without an array (.npy)")
    if sum(member.file_size for member in arrays) > most:
        raise Unreadable("file too large", f"arrays that inflate to more than {most:,} bytes")
    items: list[object] = []
    for member in arrays:
        content = read_member(lambda start, count: data[start : start + count], member, most)
        try:
            items += [member.filename.removesuffix(".npy"), load_npy(content)]
        except Unreadable as error:
            items += [member.filename.removesuffix(".npy"), error]
    return Pairs(items)


def _header(data: bytes) -> tuple[str, bool, tuple[int, ...], int]:
    """Dtype as NumPy writes it, whether the first axis runs fastest, shape, and where the values begin."""
    if not data.startswith(MAGIC) or len(data) < 12 or data[6] not in (1, 2, 3):
        raise _damaged("a version of .npy that is unknown")
    width = "<H" if data[6] == 1 else "<I"
    (length,) = struct.unpack_from(width, data, 8)
    start = 8 + struct.calcsize(width) + length
    if length > MAX_HEADER or start > len(data):
        raise _damaged(f"a header of {length} bytes in a file of {len(data)}")
    text = data[start - length : start].decode("latin1").strip()
    found: dict[str, str] = {}
    at = 1
    while item := _ITEM.match(text[:-1], at):
        found |= {name: value for name, value in item.groupdict().items() if value is not None}
        at = item.end()
    if _FIELDS.search(text):
        raise not_frames("values of several fields")
    if text[:1] != "{" or text[-1:] != "}" or at != len(text) - 1 or len(found) < 3:
        raise _damaged("a header that is not NumPy's")
    shape = tuple(int(side[:20]) for side in re.findall(r"\d+", found["shape"]))
    return found["descr"], found["fortran"] == "True", shape, start


def _damaged(detail: str) -> Unreadable:
    return Unreadable("unreadable array", detail)
