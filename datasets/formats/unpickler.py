r"""A restricted `pickle.Unpickler`: arrays of numbers, and lists of them, from an untrusted pickle.

`find_class` resolves the few names with which NumPy pickles an array, and resolves them to functions of this file. So a
pickle imports nothing and calls nothing of NumPy; an array is a view of bytes that are in the pickle, and their number
has to agree with shape and dtype before NumPy sees them.

A restricted `find_class` alone lets hostile files of a few bytes through (each is in tests/datasets/formats). So
`_check_opcodes` reads the opcodes first, without running them:

- `Nr\x00\x00\x00\xff.`: the C unpickler allocates and clears a memo of twice the index, 68 GB;
- `\x8e\x00\x00\x00\x00\x01\x00\x00\x00.`: it allocates as many bytes as are announced, 4 GB, before it reads them;
- `\x82\x01.`: EXT1 takes objects from the extension cache of `copyreg` past `find_class`;
- dicts and sets: keys of one hash take minutes, and hashing a deeply nested tuple ends the process;
- a frame that ends within an opcode: the C unpickler drops the rest of the frame and goes on behind it, so that it runs
  other opcodes than a check sees that reads the file from beginning to end.
"""

import io
import math
import pickle
import pickletools
import re
from collections.abc import Callable
from typing import Final, Literal

import numpy as np

from datasets.schema.errors import Unreadable

MAX_OPCODES = 2**20  # an array takes about 40, a list of arrays 25 for each
MAX_TEXT = 100  # characters of a name, of a dtype or in a message
MAX_AXES = 8

# fmt: off
ALLOWED = frozenset({
    "PROTO", "FRAME", "STOP", "MARK", "NONE", "NEWTRUE", "NEWFALSE", "INT", "BININT", "BININT1", "BININT2", "LONG",
    "LONG1", "STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8",
    "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "EMPTY_LIST", "LIST", "APPEND", "APPENDS",
    "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE", "GET", "BINGET",
    "LONG_BINGET", "GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD",
})
# fmt: on
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

NUMBERS = re.compile("b1|[iu][1248]|f[248]")  # the dtypes that can be a mask
BYTE_ORDERS = ("<", ">", "|", "=")
OBJECTS = ("O", "O8", "O4")


def load(data: bytes) -> object:
    """The one value in a pickle: an Array, or plain None, bool, int, str, bytes, tuple or list, of them too.

    Time and memory are bounded by the size of the pickle and by MAX_OPCODES. Raises Unreadable: `unreadable pickle`
    for one that is damaged, names anything that is not part of an array, or goes on behind its end; `not an array of
    frames` for one with other opcodes or dtypes than arrays of numbers have; `no frames` for an array without elements.
    """
    try:
        end = _check_opcodes(data)
        if end < len(data):
            raise unreadable(f"{len(data) - end} bytes behind its end")
        return _Unpickler(data).load()
    except Unreadable:
        raise
    except Exception as error:  # damaged bytes can fail in any opcode
        raise unreadable(f"{type(error).__name__} in a pickle of {len(data)} bytes") from error


def unreadable(detail: str) -> Unreadable:
    """For a pickle that is damaged, or holds something that is not part of an array."""
    return Unreadable("unreadable pickle", detail)


def not_frames(found: str) -> Unreadable:
    """For a sound pickle of something else than an array of numbers."""
    return Unreadable("not an array of frames", f"{found} instead of numbers [frames, height, width]")


def _check_opcodes(data: bytes) -> int:
    """Where the pickle ends. Unreadable, IndexError or ValueError unless each opcode is allowed, whole and bounded."""
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
        if opcode.name == "STOP":
            return end
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


class Array:
    """An array of numbers, or the items of an array of objects; None until `__setstate__` sets it.

    An array of numbers is a view of bytes in the pickle, and none of its sides is 0.
    """

    def __init__(self, content: np.ndarray | None = None) -> None:
        self.content: np.ndarray | list | None = content

    def __setstate__(self, state: tuple) -> None:
        _check_tuple(state)
        _, shape, dtype, is_fortran, values = state
        if dtype.code not in OBJECTS:
            self.content = _view(values, dtype, shape, "F" if is_fortran else "C")
        elif type(values) is list and shape == (len(values),):
            self.content = values
        else:
            raise not_frames("an array of objects")


class _DType:
    """A NumPy dtype as it is pickled: a code of kind and bytes, then the byte order as its state."""

    def __init__(self, code: str) -> None:
        self.code, self.order = code, "="

    def __setstate__(self, state: tuple) -> None:
        _check_tuple(state)
        order, subarray, fields = state[1:4]
        if subarray is not None or fields is not None:
            raise not_frames("values of several fields")
        self.order = _text(order)
        if self.order not in BYTE_ORDERS:
            raise ValueError("not a byte order")


_NDARRAY: Final = object()  # numpy.ndarray: an argument of _reconstruct, never called


class _Unpickler(pickle.Unpickler):
    """Resolves the names of an array's parts to functions of this file, and refuses any other."""

    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data), encoding="bytes")  # Python 2 writes bytes as str
        self._encodable = len(data)  # characters that may still be encoded: the file has each of them once
        names: dict[tuple[str, ...], object] = {
            ("numpy", "ndarray"): _NDARRAY,
            ("numpy", "dtype"): _make_dtype,
            ("_codecs", "encode"): self._encode,  # how protocols 0 to 2 of Python 3 write bytes
            ("__builtin__", "bytes"): _empty_bytes,  # and none at all
            ("builtins", "bytes"): _empty_bytes,
        }
        for core in ("numpy.core", "numpy._core"):  # NumPy 1 and 2
            names[f"{core}.multiarray", "_reconstruct"] = _reconstruct
            names[f"{core}.numeric", "_frombuffer"] = _from_buffer  # since protocol 5
        self._names = names

    def find_class(self, module: str, name: str, /) -> object:
        """What stands for a name in a pickle; Unreadable for a name that is not part of an array."""
        if (module, name) not in self._names:
            raise unreadable(f"{module[:MAX_TEXT]!a}.{name[:MAX_TEXT]!a} is not part of an array, and is not loaded")
        return self._names[module, name]

    def _encode(self, characters: str, encoding: object) -> bytes:
        self._encodable -= len(characters)
        if _text(encoding) != "latin1" or self._encodable < 0:
            raise unreadable("it encodes text that is not the bytes of an array")
        return characters.encode("latin1")


def _reconstruct(subtype: object, *_: object) -> Array:
    """numpy._core.multiarray._reconstruct: an array whose state follows; the shape beside it is a placeholder."""
    if subtype is not _NDARRAY:
        raise unreadable("an array of another class than numpy.ndarray")
    return Array()


def _from_buffer(
    values: object, dtype: _DType, shape: object, order: object, axes: tuple[int, ...] | None = None
) -> Array:
    """numpy._core.numeric._frombuffer: a whole array, its axes in another order where the order is K."""
    code = _text(order)
    if code not in ("C", "F", "K"):
        raise ValueError("not an order of axes")
    array = _view(values, dtype, shape, "F" if code == "F" else "C")
    return Array(array if axes is None else array.transpose(axes))


def _make_dtype(code: object, *_: object) -> _DType:
    """numpy.dtype: a function, so that no pickle has the class in its hands."""
    return _DType(_text(code))


def _empty_bytes() -> bytes:
    return b""


def _check_tuple(state: object) -> None:
    if type(state) is not tuple:
        raise TypeError("a state that NumPy does not write")


def _text(value: object) -> str:
    """A short text; Python 2 pickles it as bytes. TypeError or ValueError for anything else."""
    if not isinstance(value, bytes | str):
        raise TypeError("not a text")
    if len(value) > MAX_TEXT:
        raise ValueError("a long text")
    return value if isinstance(value, str) else value.decode("latin1")


def _view(values: object, dtype: _DType, shape: object, order: Literal["C", "F"]) -> np.ndarray:
    """Bytes of the pickle as an array, if they are as many as its shape and its dtype say."""
    if NUMBERS.fullmatch(dtype.code) is None:
        raise not_frames(f"values of type {dtype.code!a}")
    if not isinstance(values, bytes | bytearray) or type(shape) is not tuple:
        raise TypeError("not bytes, or not a shape")
    if not all(type(side) is int for side in shape):
        raise TypeError("not a shape")
    if 0 in shape:
        raise Unreadable("no frames", f"an array of shape {shape[:MAX_AXES]}")
    numbers = np.dtype(dtype.order + dtype.code)
    is_sound = len(shape) <= MAX_AXES and min(shape, default=1) > 0
    if not is_sound or math.prod(shape) * numbers.itemsize != len(values):
        raise unreadable(f"{len(values)} bytes for an array of {numbers} of shape {shape[:MAX_AXES]}")
    return np.frombuffer(values, numbers).reshape(shape, order=order)
