r"""The opcodes of an untrusted pickle, read without running them.

A restricted `find_class` alone lets hostile files of a few bytes through (each is in tests/datasets/formats). So
`checked` reads the opcodes first:

- `Nr\x00\x00\x00\xff.`: the C unpickler allocates and clears a memo of twice the index, 68 GB;
- `\x8e\x00\x00\x00\x00\x01\x00\x00\x00.`: it allocates as many bytes as are announced, 4 GB, before it reads them;
- `\x82\x01.`: EXT1 takes objects from the extension cache of `copyreg` past `find_class`;
- dictionaries and sets: keys of one hash take minutes, and hashing a deeply nested tuple ends the process;
- a frame that ends within an opcode: the C unpickler drops the rest of the frame and goes on behind it, so that it runs
  other opcodes than a check sees that reads the file from beginning to end.

So no dictionary is made: its opcodes are rewritten to those of a list of its keys and values, and nothing is hashed.
"""

import pickle
import pickletools
import re
from collections.abc import Callable, Iterator

from datasets.schema.errors import Unreadable

MAX_OPCODES = 2**20  # an array takes about 40, a list of arrays 25 for each

# fmt: off
ALLOWED = frozenset({
    "PROTO", "FRAME", "STOP", "MARK", "NONE", "NEWTRUE", "NEWFALSE", "INT", "BININT", "BININT1", "BININT2", "LONG",
    "LONG1", "STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8",
    "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "EMPTY_LIST", "LIST", "APPEND", "APPENDS",
    "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE", "GET", "BINGET",
    "LONG_BINGET", "GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD", "BINFLOAT", "EMPTY_DICT", "DICT", "SETITEM", "SETITEMS",
})
# fmt: on
_WITHOUT_DICTS = {  # an opcode in other opcodes: BINPERSID calls persistent_load with the list before it
    "EMPTY_DICT": pickle.EMPTY_LIST + pickle.BINPERSID,
    "DICT": pickle.LIST + pickle.BINPERSID,
    "SETITEM": pickle.TUPLE2 + pickle.APPEND,
    "SETITEMS": pickle.APPENDS,
    "FRAME": b"",  # its length would be wrong
}
DECIMALS = ("INT", "LONG", "PUT", "GET")  # their argument is a line of digits
_DECIMAL = re.compile(rb"-?\d{1,24}L?\n")  # C ends a number at a zero byte, Python refuses it
_MEMO_INDEX: dict[str, Callable[[bytes], int]] = {  # that an opcode writes to, by its argument
    "PUT": int,
    "LONG_BINPUT": lambda argument: int.from_bytes(argument, "little"),
}
_OPCODES = {ord(opcode.code): opcode for opcode in pickletools.opcodes}
_WIDTH_OF_LENGTH = {  # bytes in which an opcode gives the length of its argument
    pickletools.TAKEN_FROM_ARGUMENT1: 1,
    pickletools.TAKEN_FROM_ARGUMENT4: 4,
    pickletools.TAKEN_FROM_ARGUMENT4U: 4,
    pickletools.TAKEN_FROM_ARGUMENT8U: 8,
}


def unreadable(detail: str) -> Unreadable:
    """For a pickle that is damaged, or holds something that is not part of an array."""
    return Unreadable("unreadable pickle", detail)


def not_frames(found: str) -> Unreadable:
    """For a sound pickle of something else than an array of numbers."""
    return Unreadable("not an array of frames", f"{found} instead of numbers [frames, height, width]")


def checked(data: bytes) -> bytes:
    """The pickle with lists in the place of dictionaries: of keys and values in turn, a list of one being a pair.

    Raises Unreadable, IndexError or ValueError unless each opcode is allowed, whole and bounded, and STOP the last.
    """
    replaced = []  # starts and ends of opcodes, and what stands there instead
    has_dicts = False
    for name, start, end in _opcodes(data):
        if name in _WITHOUT_DICTS:
            replaced.append((start, end, _WITHOUT_DICTS[name]))
            has_dicts = has_dicts or name != "FRAME"
    if end < len(data):
        raise unreadable(f"{len(data) - end} bytes behind its end")
    if not has_dicts:
        return data
    parts, done = [], 0
    for start, end, instead in replaced:
        parts += [data[done:start], instead]
        done = end
    return b"".join([*parts, data[done:]])


def _opcodes(data: bytes) -> Iterator[tuple[str, int, int]]:
    """Name, start and end of each opcode up to STOP."""
    start = frame_end = 0
    for count in range(MAX_OPCODES):
        opcode = _OPCODES.get(data[start])
        if opcode is None:
            raise unreadable(f"{data[start]:#x} is not an opcode")
        if opcode.name not in ALLOWED:
            raise not_frames(f"a pickle with {opcode.name}")
        end = _end_of_argument(data, start + 1, opcode)
        if end > len(data):
            raise unreadable(f"it ends after {len(data)} bytes, within {opcode.name}")
        if start < frame_end and (frame_end < end or opcode.name == "FRAME"):
            raise unreadable(f"a frame that ends within {opcode.name}")
        if opcode.name in DECIMALS and _DECIMAL.fullmatch(data, start + 1, end) is None:
            raise unreadable(f"{opcode.name} without a number")
        yield opcode.name, start, end
        if opcode.name == "STOP":
            return
        if opcode.name == "FRAME":
            frame_end = end + int.from_bytes(data[start + 1 : end], "little")
        elif opcode.name in _MEMO_INDEX and _MEMO_INDEX[opcode.name](data[start + 1 : end]) > count:
            raise unreadable("an index into the memo beyond the number of opcodes")
        start = end
    raise unreadable(f"more than {MAX_OPCODES} opcodes")


def _end_of_argument(data: bytes, start: int, opcode: pickletools.OpcodeInfo) -> int:
    """Where the argument that begins at `start` ends, by the table of pickletools.

    `pickletools.genops` cannot say it: it fails on bytes that Python 2 wrote in protocol 0, and copies every argument.
    """
    if opcode.arg is None:
        return start
    if opcode.arg.n >= 0:
        return start + opcode.arg.n
    if opcode.arg.n == pickletools.UP_TO_NEWLINE:
        end = data.index(b"\n", start) + 1
        return data.index(b"\n", end) + 1 if opcode.name == "GLOBAL" else end
    width = _WIDTH_OF_LENGTH[opcode.arg.n]
    return start + width + int.from_bytes(data[start : start + width], "little")
