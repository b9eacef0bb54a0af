"""A pickle is a program; here it is read as data.

The instructions with which Python writes arrays, and lists of them, are followed on plain values; any other ends the
reading. Every instruction takes at least a byte of the file and makes one value at most, and no number in the file
allocates anything, so that time and memory are bounded by the file and by MAX_OPCODES. What calls and states mean is
known to pickled_arrays.py alone.
"""

import codecs
import pickle
import pickletools
from collections.abc import Callable

from datasets.formats import pickle_arrays as arrays
from datasets.schema.errors import Unreadable

MAX_OPCODES = 2**20  # an array takes about 40, a list of arrays 25 for each
MAX_DIGITS = 24


def read(data: bytes) -> object:
    """The one value in a pickle: an Array, or plain None, bool, int, str, memoryview, tuple or list, of them too.

    Unreadable otherwise: `unreadable pickle` where it is damaged, names anything that is no part of an array, or goes
    on behind its end; `not an array of frames` where its instructions or types are not those of arrays of numbers;
    `no frames` where an array has no elements.
    """
    machine = _Machine(data)
    try:
        value = machine.run()
    except Unreadable:
        raise
    except Exception as error:  # damaged bytes can fail in any step
        raise arrays.unreadable(f"{type(error).__name__} before byte {machine.at} of {len(data)}") from error
    if machine.at < len(data):
        raise arrays.unreadable(f"{len(data) - machine.at} bytes behind its end")
    return value


class _Machine:
    """The stack, the memo and the place in the file."""

    def __init__(self, data: bytes) -> None:
        self.data, self.view, self.at = data, memoryview(data), 0
        self.stack: list = []
        self.below: list[list] = []  # what lies under each open mark
        self.memo: dict[int, object] = {}
        self.encodable = len(data)  # characters that may still be encoded: the file has each of them once

    def run(self) -> object:
        for _ in range(MAX_OPCODES):
            opcode = self.data[self.at]
            self.at += 1
            if opcode == pickle.STOP[0]:
                return self.stack.pop()
            step = _STEPS.get(opcode)
            if step is None:
                raise _refused(opcode)
            step(self)
        raise arrays.unreadable(f"more than {MAX_OPCODES} instructions")

    def take(self, count: int) -> memoryview:
        if count > len(self.data) - self.at:
            raise EOFError
        self.at += count
        return self.view[self.at - count : self.at]

    def number(self, width: int) -> int:
        return int.from_bytes(self.take(width), "little")

    def counted(self, width: int) -> memoryview:
        return self.take(self.number(width))

    def line(self) -> memoryview:
        return self.take(self.data.index(b"\n", self.at) + 1 - self.at)[:-1]

    def digits(self) -> int | bool:
        line = bytes(self.line())
        if len(line) > MAX_DIGITS:
            raise OverflowError
        return line == b"01" if line in (b"00", b"01") else int(line.removesuffix(b"L"))

    def long(self) -> int:
        width = self.number(1)
        if width > 8:
            raise OverflowError
        return int.from_bytes(self.take(width), "little", signed=True)

    def mark(self) -> None:
        self.below.append(self.stack)
        self.stack = []

    def since_mark(self) -> list:
        items, self.stack = self.stack, self.below.pop()
        return items

    def last(self, count: int) -> tuple:
        items = tuple(self.stack[-count:])
        if len(items) < count:
            raise IndexError
        del self.stack[-count:]
        return items

    def extend(self, items: list) -> None:
        if type(self.stack[-1]) is not list:
            raise TypeError
        self.stack[-1].extend(items)

    def remember(self, key: int) -> None:
        self.memo[key] = self.stack[-1]

    def reduce(self) -> None:
        name, arguments = self.last(2)
        value = self.encode(*arguments) if name is arrays.Name.ENCODE else arrays.call(name, arguments)
        self.stack.append(value)

    def encode(self, characters: str, encoding: object) -> memoryview:
        self.encodable -= len(characters)
        if arrays.text(encoding) != "latin1" or self.encodable < 0:
            raise arrays.unreadable("it encodes what no array has")
        return memoryview(characters.encode("latin1"))

    def build(self) -> None:
        state = self.stack.pop()
        arrays.set_state(self.stack[-1], state)


def _refused(opcode: int) -> Unreadable:
    known = pickletools.code2op.get(chr(opcode))
    if known is None:
        return arrays.unreadable(f"{opcode:#x} is no instruction")
    return arrays.no_numbers(f"a pickle with {known.name}")


def _pushing(make: Callable[[_Machine], object]) -> Callable[[_Machine], None]:
    def step(machine: _Machine) -> None:
        value = make(machine)  # first: it may close a mark, which changes the stack
        machine.stack.append(value)

    return step


_VALUES: dict[bytes, Callable[[_Machine], object]] = {
    pickle.NONE: lambda _: None,
    pickle.NEWTRUE: lambda _: True,
    pickle.NEWFALSE: lambda _: False,
    pickle.BININT: lambda m: int.from_bytes(m.take(4), "little", signed=True),
    pickle.BININT1: lambda m: m.number(1),
    pickle.BININT2: lambda m: m.number(2),
    pickle.INT: _Machine.digits,
    pickle.LONG: _Machine.digits,
    pickle.LONG1: _Machine.long,
    pickle.SHORT_BINBYTES: lambda m: m.counted(1),
    pickle.BINBYTES: lambda m: m.counted(4),
    pickle.BINBYTES8: lambda m: m.counted(8),
    pickle.BYTEARRAY8: lambda m: m.counted(8),
    pickle.STRING: lambda m: memoryview(codecs.escape_decode(m.line()[1:-1])[0]),
    pickle.SHORT_BINSTRING: lambda m: m.counted(1),
    pickle.BINSTRING: lambda m: m.counted(4),
    pickle.UNICODE: lambda m: str(m.line(), "raw-unicode-escape"),
    pickle.SHORT_BINUNICODE: lambda m: str(m.counted(1), "utf-8"),
    pickle.BINUNICODE: lambda m: str(m.counted(4), "utf-8"),
    pickle.BINUNICODE8: lambda m: str(m.counted(8), "utf-8"),
    pickle.GLOBAL: lambda m: arrays.named(arrays.text(m.line()), arrays.text(m.line())),
    pickle.STACK_GLOBAL: lambda m: arrays.named(*map(arrays.text, m.last(2))),
    pickle.EMPTY_LIST: lambda _: [],
    pickle.LIST: _Machine.since_mark,
    pickle.EMPTY_TUPLE: lambda _: (),
    pickle.TUPLE: lambda m: tuple(m.since_mark()),
    pickle.TUPLE1: lambda m: m.last(1),
    pickle.TUPLE2: lambda m: m.last(2),
    pickle.TUPLE3: lambda m: m.last(3),
    pickle.GET: lambda m: m.memo[m.digits()],
    pickle.BINGET: lambda m: m.memo[m.number(1)],
    pickle.LONG_BINGET: lambda m: m.memo[m.number(4)],
}
_STEPS: dict[int, Callable[[_Machine], object]] = {
    pickle.PROTO[0]: lambda m: m.take(1),
    pickle.FRAME[0]: lambda m: m.take(8),
    pickle.MARK[0]: _Machine.mark,
    pickle.APPEND[0]: lambda m: m.extend([m.stack.pop()]),
    pickle.APPENDS[0]: lambda m: m.extend(m.since_mark()),
    pickle.PUT[0]: lambda m: m.remember(m.digits()),
    pickle.BINPUT[0]: lambda m: m.remember(m.number(1)),
    pickle.LONG_BINPUT[0]: lambda m: m.remember(m.number(4)),
    pickle.MEMOIZE[0]: lambda m: m.remember(len(m.memo)),
    pickle.REDUCE[0]: _Machine.reduce,
    pickle.BUILD[0]: _Machine.build,
    **{opcode[0]: _pushing(make) for opcode, make in _VALUES.items()},
}
