"""Untrusted pickles: which are read, which are refused, and that none of them runs code or exhausts memory."""

import copyreg
import pickle
import struct
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from datasets.formats import arrays
from datasets.formats.sequences import LoadedArray
from datasets.schema.errors import Unreadable

REFUSED = ("unreadable pickle", "unreadable array", "not an array of frames")
PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
FRAMES = np.random.default_rng(1).integers(0, 2, (3, 64, 44)).astype(np.uint8)
MAKE_ARRAY = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tC\x01btR"  # an array without a state
UINT8 = b"cnumpy\ndtype\n(X\x02\x00\x00\x00u1I00\nI01\ntR"


def load(data: bytes, name: str = "walk.pkl") -> LoadedArray:
    return arrays.load(name, data)


def reason(data: bytes) -> str:
    with pytest.raises(Unreadable) as caught:
        load(data)
    return caught.value.reason


def of_numpy_1(data: bytes) -> bytes:
    """A pickle of numpy 2 with the module names of numpy 1."""
    for module in (b"multiarray", b"numeric"):
        new, old = b"numpy._core." + module, b"numpy.core." + module
        if bytes([len(new)]) + new in data:
            frame = int.from_bytes(data[3:11], "little")
            data = data[:3] + struct.pack("<Q", frame - 1) + data[11:]
            data = data.replace(bytes([len(new)]) + new, bytes([len(old)]) + old)
        data = data.replace(new, old)
    return data


@pytest.mark.parametrize("dress", [lambda a: a, np.asfortranarray, lambda a: a[:, ::2], lambda a: a.transpose(0, 2, 1)])
@pytest.mark.parametrize("dtype", ["?", "u1", ">u2", "<i8", "<f2", ">f4", "<f8"])
def test_arrays_come_back_from_every_protocol_and_numpy(dtype: str, dress) -> None:
    frames = dress(FRAMES.astype(dtype))
    for protocol in PROTOCOLS:
        data = pickle.dumps(frames, protocol=protocol)
        for spelling in (data, of_numpy_1(data)):
            loaded = load(spelling)
            np.testing.assert_array_equal(loaded.frames, frames)
            assert loaded.frames.dtype == frames.dtype.newbyteorder("=")
            assert (loaded.numbers, loaded.missing) == ([0, 1, 2], [])


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\nq\x01cnumpy\nndarray\nq\x02K\x00\x85U\x01b\x87Rq\x03"
        b"(K\x01K\x01K\x02K\x03\x87cnumpy\ndtype\nq\x04U\x02u1K\x00K\x01\x87Rq\x05"
        b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x06\x00\x01\x02\x03\x04\xfftb.",
        b"cnumpy.core.multiarray\n_reconstruct\np1\n(cnumpy\nndarray\np2\n(I0\ntS'b'\ntRp3\n(I1\n(I1\nI2\nI3\nt"
        b"cnumpy\ndtype\np4\n(S'u1'\nI0\nI1\ntRp5\n(I3\nS'|'\nNNNI-1\nI-1\nI0\ntbI00\nS'\\x00\\x01\\n\\'\\xfe\\xff'\ntb.",
    ],
    ids=["protocol-2", "protocol-0"],
)
def test_an_array_of_python_2_is_read(data: bytes) -> None:
    np.testing.assert_array_equal(load(data).frames, pickle.loads(data, encoding="latin1"))


@pytest.mark.parametrize(
    "wrap",
    [lambda a: [a], lambda a: a[:, None], lambda a: a[..., None], lambda a: [a[:, None]], list],
    ids=["list", "axis-1", "axis-3", "list-axis-1", "list-of-frames"],
)
def test_arrays_that_are_wrapped_are_read(wrap) -> None:
    for protocol in PROTOCOLS:
        loaded = load(pickle.dumps(wrap(FRAMES), protocol=protocol))
        np.testing.assert_array_equal(loaded.frames, FRAMES)


def test_a_frame_that_is_none_is_missing_and_the_others_keep_their_places() -> None:
    listed = [FRAMES[0], None, FRAMES[1], None, FRAMES[1]]
    objects = np.empty(len(listed), object)
    objects[:] = listed
    for stored in (listed, objects, [objects]):
        for protocol in PROTOCOLS:
            loaded = load(pickle.dumps(stored, protocol=protocol))
            np.testing.assert_array_equal(loaded.frames, FRAMES[[0, 1, 1]])
            assert (loaded.numbers, loaded.missing) == ([0, 2, 4], [1, 3])


def test_a_bool_of_other_bytes_is_a_bool() -> None:
    data = pickle.dumps(np.zeros((1, 2, 2), bool), protocol=4)
    position = data.index(bytes(4), data.index(b"t\x94b\x89"))
    loaded = load(data[:position] + b"\x00\x01\x02\xff" + data[position + 4 :])
    assert loaded.frames.view(np.uint8).tolist() == [[[0, 1], [1, 1]]]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"frames": 3}, "not an array of frames"),
        (3.5, "not an array of frames"),
        (b"frames", "not an array of frames"),
        ((FRAMES,), "not an array of frames"),
        ([1, 2], "not an array of frames"),
        (FRAMES[0], "not an array of frames"),
        (FRAMES[None, None], "not an array of frames"),
        (np.stack([FRAMES] * 2), "not an array of frames"),
        ([FRAMES[0], FRAMES[0], 3], "not an array of frames"),
        (np.array([[["a", None]]], dtype=object), "not an array of frames"),
        (np.array(["a", None], dtype=object), "not an array of frames"),
        (np.array([[["a", "b"]]]), "not an array of frames"),
        (FRAMES.astype(complex), "not an array of frames"),
        (FRAMES.astype("M8[s]"), "not an array of frames"),
        (np.zeros((2, 3, 4), [("x", "u1")]), "not an array of frames"),
        (np.zeros((1, 4097, 1), np.uint8), "array too large"),
        (np.zeros((1, 1, 4097), np.uint8), "array too large"),
        (np.zeros((2**17 + 1, 1, 1), np.uint8), "array too large"),
        (FRAMES[:0], "no frames"),
        (FRAMES[:, :0], "no frames"),
        ([], "no frames"),
        ([None, None], "no frames"),
    ],
)
def test_anything_else_is_refused_with_its_reason(value: object, expected: str) -> None:
    assert {reason(pickle.dumps(value, protocol=protocol)) for protocol in PROTOCOLS} == {expected}


def test_damaged_pickles_are_refused() -> None:
    whole = pickle.dumps(FRAMES)
    assert reason(b"") == "empty file"
    assert {reason(whole[:cut]) for cut in [*range(1, 200), len(whole) // 2, len(whole) - 1]} == {"unreadable pickle"}
    for data in (whole + b"\n", whole + whole, b"\x93NUMPY\x01\x00", b"PK\x03\x04", b"<html>", b"hello", bytes(100)):
        assert reason(data) in (*REFUSED, "damaged zip archive", "HTML page")


class Call:
    """Pickles as a call."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple:
        return self.call


def global_call(module: str, name: str, *arguments: object) -> bytes:
    """A pickle that calls what a name stands for; the name is looked up by STACK_GLOBAL, dots and all."""
    pushed = b"".join(b"\x8c" + bytes([len(text)]) + text.encode() for text in (module, name))
    return b"\x80\x04" + pushed + b"\x93" + pickle.dumps(arguments, protocol=3)[2:-1] + b"R."


def object_array(item: bytes) -> bytes:
    """A pickled array of objects whose one item is what these opcodes make."""
    dtype = UINT8.replace(b"u1", b"O8") + b"(K\x03X\x01\x00\x00\x00|NNNI-1\nI-1\nK\x3ftb"
    return MAKE_ARRAY + b"(K\x01K\x01\x85" + dtype + b"I00\n]" + item + b"atb."


CODE = "import pathlib; pathlib.Path({!r}).touch()"


@pytest.mark.parametrize(
    "hostile",
    [
        lambda code, path: pickle.dumps(Call(exec, code)),
        lambda code, path: pickle.dumps(Call(eval, f"exec({code!r})"), protocol=2),
        lambda code, path: pickle.dumps(Call(Path.touch, path)),
        lambda code, path: pickle.dumps([FRAMES, Call(exec, code)]),
        lambda code, path: pickle.dumps(np.array([Call(exec, code), None], dtype=object)),
        lambda code, path: pickle.dumps(Call(getattr(np, "load"), str(path))),  # noqa: B009
        lambda code, path: pickle.dumps(Call(getattr, Call(__import__, "os"), "system")),
        lambda code, path: b"cos\nsystem\n(S'touch " + bytes(path) + b"'\ntR.",
        lambda code, path: b"(S'touch " + bytes(path) + b"'\nios\nsystem\n.",
        lambda code, path: b"(cos\nsystem\nS'touch " + bytes(path) + b"'\no.",
        lambda code, path: b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R.",
        lambda code, path: b"\x80\x02cbuiltins\nobject\n)\x81.",
        lambda code, path: b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(tR.",
        lambda code, path: b"canimported\nthing\n.",
        lambda code, path: b"\x80\x04\x8c\x09animported\x8c\x05thing\x93.",
        lambda code, path: b"Panimported\n.",
        lambda code, path: b"\x80\x02Nanimported\nQ.",
        lambda code, path: b"\x82\x01.",
        lambda code, path: global_call("builtins", "eval", f"exec({code!r})"),
        lambda code, path: global_call("__builtin__", "exec", code),
        lambda code, path: global_call("posix", "system", f"touch {path}"),
        lambda code, path: global_call("numpy", "memmap", str(path), "u1", "w+", 0, (8,)),
        lambda code, path: global_call("numpy", "save", str(path), 1),
        lambda code, path: global_call("numpy.core.records", "fromfile", str(path)),
        lambda code, path: global_call("numpy.distutils.exec_command", "exec_command", f"touch {path}"),
        lambda code, path: global_call("numpy.testing._private.utils", "runstring", code, ()),
        lambda code, path: global_call("numpy", "ndarray.tofile", str(path)),
        lambda code, path: global_call("numpy.core.multiarray", "_reconstruct.__globals__.get", "os"),
        lambda code, path: global_call("numpy._core.multiarray._reconstruct", "__call__", 1),
        lambda code, path: global_call("_codecs", "encode.__self__.register", code),
        lambda code, path: global_call("datasets.formats.unpickler", "pickle.loads", b"."),
        lambda code, path: object_array(global_call("os", "system", f"touch {path}")[2:-1]),
    ],
)
def test_nothing_in_a_pickle_runs_or_is_imported(tmp_path: Path, monkeypatch, hostile) -> None:
    owned = tmp_path / "owned"
    (tmp_path / "animported.py").write_text(CODE.format(str(owned)))
    monkeypatch.syspath_prepend(tmp_path)
    assert reason(hostile(CODE.format(str(owned)), owned)) in ("unreadable pickle", "not an array of frames")
    assert not owned.exists()
    assert "animported" not in sys.modules


@pytest.mark.parametrize(
    "hostile",
    [
        b"cnumpy\nndarray\n((K\x01K\x01K\x01ttR.",  # an array called directly
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\ndtype\n(K\x00tC\x01btR.",  # of another class
        b"cnumpy.core.multiarray\nscalar\n(" + UINT8 + b"C\x01\x00tR.",
        MAKE_ARRAY + b".",
        b"]" + MAKE_ARRAY + b"a.",
        MAKE_ARRAY + b"(K\x01(K\x01K\x02K\x02t" + UINT8 + b"I00\nC\x03abctb.",  # 3 bytes for 4 values
        MAKE_ARRAY + b"(K\x01(K\x01J\xff\xff\xff\xffJ\xfc\xff\xff\xfft" + UINT8 + b"I00\nC\x04abcdtb.",  # 1 x -1 x -4
        MAKE_ARRAY + b"(K\x01(K\x01K\x02K\x02t" + UINT8.replace(b"u1", b"O8") + b"I00\nC\x04abcdtb.",
        MAKE_ARRAY + b"(K\x01(K\x01K\x02K\x02t" + UINT8.replace(b"u1", b"V4") + b"I00\nC\x04abcdtb.",
        MAKE_ARRAY + b"(K\x01(K\x01K\x02K\x02t" + UINT8 + b"I00\n](K\x01K\x02K\x03K\x04etb.",
        UINT8 + b"(K\x03X\x01\x00\x00\x008NNNI-1\nI-1\nK\x00tb.",  # a byte order that makes it eight of them
        b"c_codecs\nencode\n(X\x03\x00\x00\x00abcX\x05\x00\x00\x00rot13tR.",
        b"\x80\x05\x96\x04\x00\x00\x00\x00\x00\x00\x00abcd\x97.",
        MAKE_ARRAY + b"Nb.",
        MAKE_ARRAY + b"(K\x01K\x02tb.",
        MAKE_ARRAY + b"](K\x01(K\x01K\x02K\x02t" + UINT8 + b"I00\nC\x04abcdeb.",  # a list as its state
        MAKE_ARRAY + b"(K\x01(K\x01K\x02K\x02t" + b"X\x02\x00\x00\x00u1I00\nC\x04abcdtb.",  # a name for a dtype
        MAKE_ARRAY + b"(K\x01(K\x01K\x02K\x02t" + UINT8 + b"I00\nC\x04abcdtb0.",
        b"cnumpy\ndtype\nNb.",
        b"cnumpy\nndarray\n(K\x01K\x02tb.",
        b"c_codecs\nencode\n(NNtb.",
        b"cnumpy\nndarray\n)R.",
        b"cnumpy\nndarray\n)\x81.",
        b"cnumpy.core.numeric\n_frombuffer\n(C\x01a" + UINT8 + b"(K\x01K\x01K\x01tX\x01\x00\x00\x00AtR.",
        object_array(b"]" + global_call("numpy", "dtype", "O")[2:-1] + b"a"),
    ],
)
def test_parts_of_an_array_in_another_arrangement_are_refused(hostile: bytes) -> None:
    assert reason(hostile) in REFUSED


def test_an_object_of_the_extension_registry_is_not_loaded(tmp_path: Path, monkeypatch) -> None:
    owned = tmp_path / "owned"
    monkeypatch.setitem(copyreg._extension_cache, 1, owned.touch)  # objects in it are loaded past find_class
    for opcode in (b"\x82\x01", b"\x83\x01\x00", b"\x84\x01\x00\x00\x00"):
        assert reason(b"\x80\x02" + opcode + b")R.") == "not an array of frames"
    assert not owned.exists()


def test_a_frame_of_another_length_is_damaged() -> None:
    data = pickle.dumps(FRAMES[:, :4, :4], protocol=4)
    assert data[2:3] == pickle.FRAME
    for length in (1, 30, data[3] + 1, 2**40, 2**63, 2**64 - 1):
        other = data[:3] + struct.pack("<Q", length) + data[11:]
        assert reason(other) == "unreadable pickle", length


def in_a_frame_that_ends_early(opcodes: bytes) -> bytes:
    """To a reader from beginning to end these opcodes are text; the C unpickler drops 7 bytes and runs them."""
    text = b"U\x14" + b"-" * 20 + b"U" + bytes([len(opcodes) + 5]) + b"-----" + opcodes
    return b"\x80\x04\x95" + struct.pack("<Q", 2 + 7) + text + b"."


HUGE = b"\x8a\x05\x00\x00\x00\x00\x01"  # 2**32
ENCODE = b"c_codecs\nencode\n(h\x00X\x06\x00\x00\x00latin1tR"


@pytest.mark.parametrize(
    "bomb",
    [
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(J\x00\x00\x00\x7ftC\x01btR.",  # 2 GB if allocated
        MAKE_ARRAY + b"(K\x01(" + HUGE * 2 + b"K\x01t" + UINT8 + b"I00\nC\x01atb.",
        MAKE_ARRAY + b"(K\x01(K\x00" + HUGE * 2 + b"t" + UINT8 + b"I00\nC\x00tb.",
        b"cnumpy.core.numeric\n_frombuffer\n(C\x01a" + UINT8 + b"(" + HUGE + b"K\x01tX\x01\x00\x00\x00CtR.",
        b"cnumpy\ndtype\n(X\x0b\x00\x00\x00V1000000000I00\nI01\ntR.",
        b"Nr\x00\x00\x00\x01.",  # the C unpickler would allocate a memo of 2**25 items
        b"Np16777216\n.",
        b"\x8e\x00\x00\x00\x00\x01\x00\x00\x00.",  # bytes that are not there
        b"\x8d\x00\x00\x00\x00\x01\x00\x00\x00.",
        b"\x8b\xff\xff\xff\x7f.",
        b"\x8a\xff" + bytes(255) + b".",
        b"I" + b"9" * 100_000 + b"\n.",
        b"]q\x00" + b"".join(b"]q%c(" % (n + 1) + (b"h%c" % n) * 9 + b"e" for n in range(100)) + b".",  # 9**100 lists
        b"]q\x00h\x00a.",  # a list in itself
        b"]" * 50_000 + b"a" * 49_999 + b".",
        b"(" * 50_000 + b"t" * 49_999 + b".",
        b"N" + b"\x85" * 100_000 + b".",
        b"N" * 2**20 + b".",
        b"X\x00\x00\x04\x00" + b"a" * 2**18 + b"q\x00" + ENCODE * 9999 + b".",  # one text, encoded often
        b"\x96\x00\x00\x00\x00\x01\x00\x00\x00.",
        b"B\xff\xff\xff\xff.",
        b"X\xff\xff\xff\xff.",
        b"T\xff\xff\xff\x7f.",
        b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7fN.",
        b"Np16777216\x00\n.",  # C reads numbers up to a zero byte
        in_a_frame_that_ends_early(b"r\x00\x00\x00\x01."),
        in_a_frame_that_ends_early(b"\x8e\x00\x00\x00\x00\x01\x00\x00\x00."),
        b"}(" + b"".join(b"\x8a\x0a" + (n * (2**61 - 1)).to_bytes(10, "little") + b"N" for n in range(2**15)) + b"u.",
        b"}N" + b"\x85" * 2**19 + b"Ns.",  # hashing it would end the process
        b"]q\x00" + b"2(h\x00ee" * 1000 + b".",
        object_array(b"N" * 1).replace(b"(K\x01K\x01\x85", b"(K\x01" + HUGE + b"\x85"),
    ],
)
def test_bombs_are_refused_within_the_memory_of_a_small_file(bomb: bytes) -> None:
    tracemalloc.start()
    try:
        assert reason(bomb) in (*REFUSED, "no frames")
        assert tracemalloc.get_traced_memory()[1] < 200 * len(bomb) + 100_000
    finally:
        tracemalloc.stop()


def test_an_array_that_is_listed_often_does_not_grow() -> None:
    frame = np.zeros((4096, 4096), np.uint8)
    data = pickle.dumps([frame] * 100_000)
    tracemalloc.start()
    try:
        assert reason(data) == "array too large"
        assert tracemalloc.get_traced_memory()[1] < 10 * len(data)
    finally:
        tracemalloc.stop()


def test_names_of_an_attacker_cannot_write_to_the_terminal() -> None:
    with pytest.raises(Unreadable) as caught:
        load(b"\x80\x04\x8c\x08\x1b[2J\nos\r\x8c\x06system\x93.")
    assert caught.value.detail.isprintable()


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """The data with a few bytes changed, doubled, or missing, mostly at the beginning, where the structure is."""
    data = bytearray(data)
    for _ in range(rng.integers(1, 5)):
        at = int(rng.integers(len(data)) if rng.random() < 0.3 else rng.integers(min(200, len(data))))
        length = int(rng.integers(1, 9))
        kind = rng.integers(4)
        if kind == 0:
            data[at] = rng.integers(256)
        elif kind == 1:
            data[at:at] = data[at : at + length]
        elif kind == 2 and len(data) > 10:
            del data[at : at + length]
        else:
            data[at] ^= 1 << int(rng.integers(8))
    return bytes(data)


def test_altered_pickles_are_read_or_refused_with_a_reason() -> None:
    rng = np.random.default_rng(0)
    small = FRAMES[:, :4, :4].copy()
    objects = np.empty(3, object)
    objects[:] = [small[0], None, small[1]]
    seeds = [pickle.dumps(v, protocol=p) for v in (small, list(small), objects, small.astype(">f4")) for p in PROTOCOLS]
    outcomes = {"array": 0, "reason": 0}
    for _ in range(300):
        for seed in seeds:
            try:
                loaded = load(mutated(seed, rng))
            except Unreadable:
                outcomes["reason"] += 1
                continue
            outcomes["array"] += 1
            assert loaded.frames.ndim == 3 and loaded.frames.size > 0 and loaded.frames.dtype.kind in "buif"
            assert sorted(loaded.numbers + loaded.missing) == list(range(len(loaded.frames) + len(loaded.missing)))
    assert min(outcomes.values()) > 100, outcomes
