"""What numpy writes of an array into a pickle, made into an array again by our own hands.

A pickled array is a call of `numpy.core.multiarray._reconstruct`, or of `_frombuffer` since protocol 5, with a dtype, a
shape and bytes. The names stand for themselves here: none is imported or called. An array is a view of bytes that are
in the file, and their number decides whether the shape is true. opcodes.py brings the parts, pickles.py the meaning.
"""

import math
import re
from dataclasses import dataclass
from enum import Enum

import numpy as np

from datasets.schema.errors import Unreadable

MAX_TEXT = 100  # characters of a name
NUMBERS = re.compile("b1|[iu][1248]|f[248]")  # the types of numpy that can be a mask
ORDERS = ("<", ">", "|", "=")
OBJECTS = ("O", "O8", "O4")

Name = Enum("Name", ["NDARRAY", "DTYPE", "RECONSTRUCT", "FROMBUFFER", "ENCODE", "BYTES"])
NAMES = {
    ("numpy", "ndarray"): Name.NDARRAY,
    ("numpy", "dtype"): Name.DTYPE,
    ("numpy.core.multiarray", "_reconstruct"): Name.RECONSTRUCT,  # numpy 1
    ("numpy._core.multiarray", "_reconstruct"): Name.RECONSTRUCT,  # numpy 2
    ("numpy.core.numeric", "_frombuffer"): Name.FROMBUFFER,
    ("numpy._core.numeric", "_frombuffer"): Name.FROMBUFFER,
    ("_codecs", "encode"): Name.ENCODE,  # how protocols 0 to 2 of Python 3 write bytes
    ("__builtin__", "bytes"): Name.BYTES,  # and none at all
    ("builtins", "bytes"): Name.BYTES,
}


@dataclass(eq=False)
class Array:
    """An array of numbers (a read-only view of the file, no side of it 0), or the items of an array of objects."""

    content: np.ndarray | list | None = None  # nothing until its state is set


@dataclass(eq=False)
class Type:
    """A numpy dtype as it is written: kind and bytes, then the byte order."""

    code: str
    order: str = "="


def unreadable(detail: str) -> Unreadable:
    """For what is damaged, or is no part of an array."""
    return Unreadable("unreadable pickle", detail)


def no_numbers(what: str) -> Unreadable:
    """For what is whole, and something else than an array of numbers."""
    return Unreadable("not an array of frames", f"{what} instead of numbers [frames, height, width]")


def named(module: str, name: str) -> Name:
    """The name of a part of an array; Unreadable for any other."""
    found = NAMES.get((module, name))
    if found is None:
        raise unreadable(f"{module!a}.{name!a} is no part of an array, and is not loaded")
    return found


def text(value: object) -> str:
    """A short text; Python 2 writes it as bytes. TypeError or ValueError for anything else."""
    if isinstance(value, memoryview) and len(value) <= MAX_TEXT:
        return bytes(value).decode("latin1")
    if not isinstance(value, str):
        raise TypeError("no text")
    if len(value) > MAX_TEXT:
        raise ValueError("a long text")
    return value


def call(name: object, arguments: object) -> Array | Type | memoryview:
    """What a call in a pickle makes. Unreadable, TypeError or ValueError where numpy writes no such call."""
    if type(arguments) is not tuple:
        raise unreadable("a call without arguments")
    match name:
        case Name.RECONSTRUCT if arguments[0] is Name.NDARRAY:
            return Array()  # the shape beside it is a placeholder to numpy, and nothing at all here
        case Name.DTYPE:
            return Type(text(arguments[0]))
        case Name.FROMBUFFER:
            return Array(_from_buffer(*arguments))
        case Name.BYTES if not arguments:
            return memoryview(b"")
    raise unreadable("it calls what is not called to make an array")


def set_state(target: object, state: object) -> None:
    """Completes an Array or a Type, as `__setstate__` would. Unreadable, TypeError or ValueError as above."""
    if type(state) is not tuple or not isinstance(target, Array | Type):
        raise unreadable("it sets the state of something that is no array")
    if isinstance(target, Type):
        order, (subarray, fields) = text(state[1]), state[2:4]
        if subarray is not None or fields is not None:
            raise no_numbers("values of several fields")
        if order not in ORDERS:
            raise ValueError("no byte order")
        target.order = order
        return
    _, shape, dtype, is_fortran, values = state
    if dtype.code not in OBJECTS:
        target.content = _view(values, dtype, shape, "F" if is_fortran else "C")
    elif type(values) is list and shape == (len(values),):
        target.content = values
    else:
        raise no_numbers("an array of objects")


def _from_buffer(values: object, dtype: Type, shape: tuple, order: object, axes: tuple | None = None) -> np.ndarray:
    order = text(order)
    array = _view(values, dtype, shape, "C" if order == "K" else order)
    return array if axes is None else array.transpose(axes)


def _view(values: object, dtype: Type, shape: tuple, order: str) -> np.ndarray:
    if NUMBERS.fullmatch(dtype.code) is None:
        raise no_numbers(f"values of type {dtype.code!a}")
    if type(values) is not memoryview or type(shape) is not tuple or not all(type(side) is int for side in shape):
        raise TypeError("no bytes, or no shape")
    if 0 in shape:
        raise Unreadable("no frames", f"an array of shape {shape[:8]}")
    numbers = np.dtype(dtype.order + dtype.code)
    if len(shape) > 8 or min(shape, default=1) < 0 or math.prod(shape) * numbers.itemsize != len(values):
        raise unreadable(f"{len(values)} bytes for an array of {numbers} of shape {shape[:8]}")
    return np.frombuffer(values, numbers).reshape(shape, order=order)
