r"""A restricted `pickle.Unpickler`: arrays of numbers, and lists of them, from an untrusted pickle.

`find_class` resolves the few names with which NumPy pickles an array, and resolves them to functions of this file. So a
pickle imports nothing and calls nothing of NumPy; an array is a view of bytes that are in the pickle, and their number
has to agree with shape and dtype before NumPy sees them.

datasets/formats/opcodes.py checks the opcodes before, and turns dictionaries into lists of their keys and values.
"""

import io
import math
import pickle
import re
from typing import Final, Literal

import numpy as np

from datasets.formats import opcodes
from datasets.formats.opcodes import not_frames, unreadable
from datasets.schema.errors import Unreadable

MAX_TEXT = 100  # characters of a name, of a dtype or in a message
MAX_AXES = 8

NUMBERS = re.compile("b1|[iu][1248]|f[248]")  # the dtypes that can be a mask
BYTE_ORDERS = ("<", ">", "|", "=")
OBJECTS = ("O", "O8", "O4")
ADVICE = {  # what people pickle in the place of arrays, by the beginning of its module
    "numpy.ma": "a masked array: save array.filled(0) with np.save",
    "torch": "a torch tensor: save tensor.numpy() with np.save",
    "jax": "a JAX array: save np.asarray(array) with np.save",
    "ml_dtypes": "values such as bfloat16: save array.astype('float32') with np.save",
    "scipy": "a sparse array: save array.toarray() with np.save",
    "pandas": "a table of pandas: save table.to_numpy() with np.save",
    "PIL": "pictures of Pillow: save np.stack([np.asarray(picture) for picture in pictures]) with np.save",
}
_OLD_TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # torch.save before 1.6: pickles one after another


def load(data: bytes) -> object:
    """The one value in a pickle: an Array, or plain None, bool, number, text, tuple, list or Pairs, of them too.

    Time and memory are bounded by the size of the pickle and by MAX_OPCODES. Raises Unreadable: `unreadable pickle`
    for one that is damaged, names anything that is not part of an array, or goes on behind its end; `not an array of
    frames` for one with other opcodes or dtypes than arrays of numbers have, or with what ADVICE names; `no
    frames` for an array without elements; `unreadable array` for one whose bytes are not those of its shape.
    """
    try:
        if data.startswith(_OLD_TORCH):
            raise Unreadable("not an array of frames", ADVICE["torch"])
        return _Unpickler(opcodes.checked(data)).load()
    except Unreadable:
        raise
    except Exception as error:  # damaged bytes can fail in any opcode
        raise unreadable(f"{type(error).__name__} in a pickle of {len(data)} bytes") from error


class Pairs:
    """The keys and values of a dictionary in turn, as they were pickled: nothing is hashed, and no key is unique."""

    def __init__(self, items: list) -> None:
        self.items = items

    def extend(self, items: list) -> None:
        """What the opcodes of a dictionary do to the list that stands for it: one pair, or keys and values in turn."""
        if len(items) == 1:
            (items,) = items
            if type(items) is not tuple or len(items) != 2:
                raise TypeError("not a key and a value")
        self.items += items


class Array:
    """An array of numbers, or the items of an array of objects; None until `__setstate__` sets it.

    An array of numbers is a view of bytes in the pickle, and none of its sides is 0.
    """

    def __init__(self, content: np.ndarray | None = None) -> None:
        self.content: object = content

    def __setstate__(self, state: tuple) -> None:
        _check_tuple(state)
        _, shape, dtype, is_fortran, values = state
        if dtype.code not in OBJECTS:
            self.content = as_array(values, dtype.order, dtype.code, shape, "F" if is_fortran else "C")
        elif type(values) is list and shape == (len(values),):
            self.content = values
        elif type(values) is list and shape == () and len(values) == 1:
            self.content = values[0]  # np.save of a dictionary
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
            ("collections", "OrderedDict"): _no_pairs,
            ("_codecs", "encode"): self._encode,  # how protocols 0 to 2 of Python 3 write bytes
            ("__builtin__", "bytes"): _empty_bytes,  # and none at all
            ("builtins", "bytes"): _empty_bytes,
        }
        for core in ("numpy.core", "numpy._core"):  # NumPy 1 and 2
            names[f"{core}.multiarray", "_reconstruct"] = _reconstruct
            names[f"{core}.multiarray", "scalar"] = _scalar  # beside arrays in a dictionary
            names[f"{core}.numeric", "_frombuffer"] = _from_buffer  # since protocol 5
        self._names = names

    def find_class(self, module: str, name: str, /) -> object:
        """What stands for a name in a pickle; Unreadable for a name that is not part of an array."""
        for beginning, advice in ADVICE.items():
            if f"{module}.".startswith(f"{beginning}."):
                raise Unreadable("not an array of frames", advice)
        if (module, name) not in self._names:
            raise unreadable(f"{module[:MAX_TEXT]!a}.{name[:MAX_TEXT]!a} is not part of an array, and is not loaded")
        return self._names[module, name]

    def persistent_load(self, items: list, /) -> Pairs:
        """The list that stands for a dictionary: opcodes.py lets no pickle ask for anything else."""
        return Pairs(items)

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
    array = as_array(values, dtype.order, dtype.code, shape, "F" if code == "F" else "C")
    return Array(array if axes is None else array.transpose(axes))


def _make_dtype(code: object, *_: object) -> _DType:
    """numpy.dtype: a function, so that no pickle has the class in its hands."""
    return _DType(_text(code))


def _no_pairs() -> Pairs:
    return Pairs([])


def _scalar(*_: object) -> object:
    """A number of NumPy: nothing that a frame can be."""
    return object()


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


def as_array(values: object, byte_order: str, code: str, shape: object, order: Literal["C", "F"]) -> np.ndarray:
    """Bytes of a file as an array, without a copy, if they are as many as its shape and its dtype say.

    Raises Unreadable: `not an array of frames` for other dtypes than of numbers, `no frames` where a side is 0,
    `unreadable array` for another number of bytes; TypeError for values that are no bytes, or a shape that is none.
    """
    if NUMBERS.fullmatch(code) is None:
        raise not_frames(f"values of type {code!a}")
    if not isinstance(values, bytes | bytearray | memoryview) or type(shape) is not tuple:
        raise TypeError("not bytes, or not a shape")
    if not all(type(side) is int for side in shape):
        raise TypeError("not a shape")
    if 0 in shape:
        raise Unreadable("no frames", f"an array of shape {shape[:MAX_AXES]}")
    numbers = np.dtype(byte_order + code)
    is_sound = len(shape) <= MAX_AXES and min(shape, default=1) > 0
    if not is_sound or math.prod(shape) * numbers.itemsize != len(values):
        shown = f"{len(values)} bytes for an array of {numbers} of shape {shape[:MAX_AXES]}"
        raise Unreadable("unreadable array", shown)
    return np.frombuffer(values, numbers).reshape(shape, order=order)
