"""Untrusted files of arrays by every ending: which are read, which are refused, and that none exhausts memory."""

import collections
import gzip
import io
import pickle
import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable

import numpy as np
import pytest
import torch

from datasets.formats import arrays
from datasets.formats.sequences import LoadedArray
from datasets.schema.errors import Unreadable

FRAMES = np.random.default_rng(1).integers(0, 2, (12, 64, 44)).astype(np.uint8)
UNEQUAL = [FRAMES[0], FRAMES[1, :60], FRAMES[2, :, 4:]]


def npy(value: object, **settings: object) -> bytes:
    file = io.BytesIO()
    np.save(file, value, **settings)
    return file.getvalue()


def npz(*unnamed: object, save: Callable = np.savez, **named: object) -> bytes:
    file = io.BytesIO()
    save(file, *unnamed, **named)
    return file.getvalue()


def objects(values: list) -> np.ndarray:
    made = np.empty(len(values), object)
    made[:] = values
    return made


def refused(data: bytes, name: str = "walk.pkl") -> Unreadable:
    with pytest.raises(Unreadable) as caught:
        arrays.load(name, data)
    assert caught.value.detail.isprintable() and "\n" not in caught.value.detail
    return caught.value


def assert_same(loaded: LoadedArray, expected: list | np.ndarray) -> None:
    assert len(loaded.frames) == len(expected)
    for got, frame in zip(loaded.frames, expected, strict=True):
        np.testing.assert_array_equal(got, frame)
        assert got.dtype == frame.dtype.newbyteorder("=")
    assert loaded.numbers == list(range(len(expected))) and loaded.missing == []


FORMS = {
    "walk.npy": npy(FRAMES),
    "walk.npz": npz(FRAMES),
    "WALK.NPZ": npz(FRAMES, save=np.savez_compressed),
    "walk.pkl": pickle.dumps(FRAMES),
    "walk.pickle": pickle.dumps(list(FRAMES)),
}


@pytest.mark.parametrize("name", FORMS)
def test_each_ending_is_read_under_its_own_name_and_any_other(name: str) -> None:
    for data in (FORMS[name], gzip.compress(FORMS[name], mtime=0)):
        for other in [*FORMS, *(f"{one}.gz" for one in FORMS)]:
            assert_same(arrays.load(other, data), FRAMES)


@pytest.mark.parametrize("dtype", ["?", "u1", ">u2", "<i8", "<f2", ">f4", "<f8"])
@pytest.mark.parametrize("dress", [lambda a: a, np.asfortranarray, lambda a: a[:, None], lambda a: a[..., None]])
def test_npy_of_every_dtype_and_order(dtype: str, dress: Callable) -> None:
    frames = FRAMES.astype(dtype)
    assert_same(arrays.load("walk.npy", npy(dress(frames))), frames)


def test_npy_of_other_versions_and_writers() -> None:
    whole = npy(FRAMES)
    (length,) = struct.unpack_from("<H", whole, 8)
    for version in (2, 3):
        other = whole[:6] + bytes([version, 0]) + struct.pack("<I", length) + whole[10:]
        assert_same(arrays.load("a.npy", other), FRAMES)
    for header in (
        b'{"shape": (12, 64, 44), "descr": "|u1", "fortran_order": False}',
        b"{'descr': '|u1', 'fortran_order': False, 'shape': (12L, 64L, 44L), }\n",
    ):
        other = b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header + FRAMES.tobytes()
        assert_same(arrays.load("a.npy", other), FRAMES)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (npz(masks=FRAMES, other=FRAMES[:3]), FRAMES),
        (npz(a=FRAMES[:3], SILS=FRAMES, z=FRAMES[:2]), FRAMES),
        (npz(walk=FRAMES, label=3, subject="anna", times=np.arange(12.0)), FRAMES),
        (npz(box=FRAMES[0, :, :4], walk=FRAMES), FRAMES),
        (npz(*FRAMES), FRAMES),  # arr_0 to arr_11: arr_10 is not the third
        (npz(**{f"frame-{10 * t}": FRAMES[t] for t in reversed(range(12))}), FRAMES),
        (npz(*UNEQUAL), UNEQUAL),
        (npz(frames=objects(UNEQUAL)), UNEQUAL),
        (npz(masks=np.array({"masks": FRAMES}, dtype=object)), None),
    ],
)
def test_the_frames_are_found_among_several_arrays(data: bytes, expected: list | None) -> None:
    if expected is None:
        assert refused(data).reason == "not an array of frames"
    else:
        assert_same(arrays.load("walk.npz", data), expected)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_dictionaries_of_arrays_are_read(protocol: int) -> None:
    counted = {t: FRAMES[t] for t in reversed(range(12))}
    for value, expected in (
        ({"masks": FRAMES}, FRAMES),
        ({"silhouettes": FRAMES, "subject": "001", "labels": [1, 2], "box": FRAMES[0], "none": None}, FRAMES),
        ({"a": {"b": 1}, "walk": FRAMES, "scale": np.int64(3), "note": b"x", "pair": (1, 2)}, FRAMES),
        ({"walk": list(FRAMES)}, FRAMES),
        ({"walk": UNEQUAL}, UNEQUAL),
        (counted, FRAMES),
        ({f"{t:04d}.png": FRAMES[t] for t in range(12)}, FRAMES),
        (collections.OrderedDict(masks=FRAMES), FRAMES),
        (np.array({"masks": FRAMES}, dtype=object), FRAMES),
        ([{"masks": FRAMES}], None),
        ({}, None),
        ({"a": FRAMES, "b": FRAMES}, None),
        ({"a": 1, "b": "two"}, None),
        ({(1, 2): FRAMES}, None),
        ({"masks": {"masks": FRAMES}}, None),
    ):
        data = pickle.dumps(value, protocol=protocol)
        if expected is None:
            assert refused(data).reason in ("not an array of frames", "several arrays")
        else:
            assert_same(arrays.load("walk.pkl", data), expected)
    assert refused(pickle.dumps({"a": FRAMES, "b\x1b[2J": FRAMES}, protocol)).detail.count("uint8[12, 64, 44]") == 2


def test_a_dictionary_with_floats_beside_its_array_is_read() -> None:
    assert_same(arrays.load("walk.pkl", pickle.dumps({"masks": FRAMES, "fps": 25.0})), FRAMES)
    assert_same(arrays.load("walk.npy", npy({"masks": FRAMES, "fps": 25.0})), FRAMES)  # np.load(...).item()


def test_frames_of_unequal_sizes_and_dtypes_are_returned() -> None:
    mixed = [FRAMES[0], FRAMES[1].astype(">f4"), FRAMES[2] > 0]
    for frames in (UNEQUAL, mixed):
        for data in (pickle.dumps(frames), pickle.dumps(objects(frames), 2), npy(objects(frames))):
            assert_same(arrays.load("walk.pkl", data), frames)
    loaded = arrays.load("walk.npy", npy(objects([None, *UNEQUAL, None])))
    assert (loaded.numbers, loaded.missing) == ([1, 2, 3], [0, 4])


@pytest.mark.parametrize(
    ("value", "advice"),
    [
        (np.ma.masked_array(FRAMES, FRAMES > 0), "array.filled(0)"),
        (torch.from_numpy(FRAMES), "tensor.numpy()"),
        ({"masks": torch.from_numpy(FRAMES)}, "tensor.numpy()"),
        ([torch.from_numpy(one) for one in FRAMES], "tensor.numpy()"),
    ],
)
def test_what_is_not_read_is_named_with_what_to_do(value: object, advice: str) -> None:
    for protocol in (2, 4, 5):
        error = refused(pickle.dumps(value, protocol=protocol))
        assert error.reason == "not an array of frames" and advice in error.detail


def test_files_of_torch_save_are_named() -> None:
    for settings in ({}, {"_use_new_zipfile_serialization": False}):
        file = io.BytesIO()
        torch.save(torch.from_numpy(FRAMES), file, **settings)
        for name in ("walk.pt", "walk.pkl", "walk.npz"):
            assert "tensor.numpy()" in refused(file.getvalue(), name).detail


@pytest.mark.parametrize(
    ("data", "reason", "detail"),
    [
        (npy(np.array([["a", "b"]])), "not an array of frames", "type 'U1'"),
        (npy(FRAMES.astype(complex)), "not an array of frames", "type 'c16'"),
        (npy(np.zeros((2, 3, 4), [("x", "u1")])), "not an array of frames", "several fields"),
        (npy(np.zeros((2, 3, 4), "V2")), "not an array of frames", "bfloat16"),
        (npy(FRAMES.astype(np.longdouble)), "not an array of frames", "type 'f16'"),
        (npy(FRAMES[0]), "not an array of frames", "uint8[64, 44]"),
        (npy(FRAMES[:0]), "no frames", ""),
        (npy(np.zeros((1, 4097, 1), np.uint8)), "array too large", ""),
        (npz(a=FRAMES, b=FRAMES), "several arrays", "'a' uint8[12, 64, 44], 'b' uint8[12, 64, 44]"),
        (npz(labels=np.arange(2), ages=np.arange(3)), "not an array of frames", "'labels'"),
        (npz(masks=FRAMES.astype(complex), box=FRAMES[0]), "not an array of frames", "c16"),
        (npz(masks=np.array([["a"]])), "not an array of frames", ""),
        (npz(), "not an array of frames", "0 files"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer", "git lfs pull"),
        (b"<!doctype html>", "HTML page", ""),
        (gzip.compress(b"<!doctype html>", mtime=0), "unreadable pickle", ""),
        (b"", "empty file", ""),
    ],
)
def test_anything_else_is_refused_with_its_reason(data: bytes, reason: str, detail: str) -> None:
    error = refused(data)
    assert error.reason == reason and detail in error.detail


@pytest.mark.parametrize(
    ("name", "data", "reasons"),
    [
        ("walk.npy", npy(FRAMES), {"unreadable array"}),
        ("walk.npy", npy(objects(UNEQUAL)), {"unreadable array", "unreadable pickle"}),
        ("walk.npz", npz(FRAMES), {"unreadable array", "damaged zip archive"}),
        ("walk.pkl.gz", gzip.compress(pickle.dumps(FRAMES), mtime=0), {"unreadable pickle", "damaged gzip file"}),
    ],
)
def test_a_truncated_file_is_damaged_wherever_it_is_cut(name: str, data: bytes, reasons: set) -> None:
    cuts = [*range(1, 200), *range(200, len(data), 997), len(data) - 1]
    assert {refused(data[:cut], name).reason for cut in cuts} == reasons


def test_text_under_the_name_of_an_array_is_called_that() -> None:
    for name in ("walk.npy", "walk.npz", "walk.npy.gz"):
        error = refused(b"1,2,3\n", name)
        assert error.reason == "unreadable array" and "text" in error.detail


class Call:
    def __reduce__(self) -> tuple:
        return exec, ("raise SystemExit(3)",)


def test_nothing_in_a_pickled_object_array_runs() -> None:
    for value in (objects([Call()]), objects([FRAMES[0], Call()])):
        for data in (npy(value), npz(masks=value), gzip.compress(npy(value), mtime=0)):
            assert refused(data).reason == "unreadable pickle"


def gzip_of_zeros(gigabytes: int) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    start = packer.compress(bytes(2**20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return start + (packer.compress(bytes(2**20)) + packer.flush(zlib.Z_FULL_FLUSH)) * (1024 * gigabytes)


def zipped(content: bytes, name: str = "masks.npy", method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.writestr(name, content)
    return file.getvalue()


def bomb_of_zip() -> bytes:
    """A member of 300 MB that is said to have 64 bytes."""
    data = bytearray(zipped(npy(FRAMES)[:128] + bytes(300 * 2**20)))
    listed = data.rindex(b"PK\x01\x02")
    data[listed + 24 : listed + 28] = struct.pack("<I", 64)
    return bytes(data)


def listing_of_zip() -> bytes:
    """A listing of 200,000 arrays without content."""
    entry = struct.pack("<4s6H3L5H2L", b"PK\1\2", 20, 20, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0) + b"a.npy"
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 65_535, 65_535, len(entry) * 200_000, 0, 0)
    return b"PK\x03\x04" + entry * 200_000 + end.replace(struct.pack("<L", 0), struct.pack("<L", 4), 1)


def shared_in_a_dictionary() -> bytes:
    """One array under 5,000 names."""
    frame = np.zeros((1000, 1000), np.uint8)
    return pickle.dumps({f"{t}": frame for t in range(5_000)})


def keys_of_one_hash() -> bytes:
    """Keys whose hashes are the same: many of them take minutes in a dictionary."""
    keys = b"".join(b"\x8a\x0a" + (n * (2**61 - 1)).to_bytes(10, "little") + b"N" for n in range(10_000))
    return b"\x80\x04}(" + keys + b"u."


def nested_key() -> bytes:
    return b"}N" + b"\x85" * 2**16 + b"Ns."


def dictionary_in_itself() -> bytes:
    return b"\x80\x04}\x94\x8c\x05maskss" + b"h\x00s."


@pytest.mark.parametrize(
    ("bomb", "reasons"),
    [
        (lambda: gzip_of_zeros(2), {"file too large"}),
        (lambda: gzip.compress(gzip_of_zeros(1), mtime=0), {"unreadable pickle"}),
        (bomb_of_zip, {"damaged zip archive"}),
        (lambda: zipped(bytes(2**28 + 1)), {"file too large"}),
        (listing_of_zip, {"damaged zip archive"}),
        (lambda: zipped(npy(FRAMES), method=zipfile.ZIP_BZIP2), {"unsupported compression"}),
        (lambda: zipped(npy(FRAMES), method=zipfile.ZIP_LZMA), {"unsupported compression"}),
        (lambda: b"\x93NUMPY\2\0\xff\xff\xff\x7f" + bytes(100), {"unreadable array"}),
        (lambda: b"\x93NUMPY\1\0\xff\x3f{" + b"[" * 16_382, {"unreadable array"}),
        (lambda: npy(FRAMES).replace(b"(12, 64, 44), }", b"(2, 64, 4444444444444), }"), {"unreadable array"}),
        (shared_in_a_dictionary, {"array too large"}),
        (keys_of_one_hash, {"not an array of frames"}),
        (nested_key, {"not an array of frames"}),
        (dictionary_in_itself, {"unreadable pickle", "not an array of frames"}),
    ],
)
def test_bombs_take_no_more_memory_than_the_limit(bomb: Callable[[], bytes], reasons: set) -> None:
    data = bomb()
    tracemalloc.start()
    try:
        assert refused(data).reason in reasons
        assert tracemalloc.get_traced_memory()[1] < 600 * 2**20
    finally:
        tracemalloc.stop()


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    data = bytearray(data)
    for _ in range(rng.integers(1, 5)):
        at = int(rng.integers(len(data)) if rng.random() < 0.5 else rng.integers(min(200, len(data))))
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


def test_altered_files_are_read_or_refused_with_a_reason() -> None:
    rng = np.random.default_rng(0)
    small = FRAMES[:3, :4, :4].copy()
    unequal = objects([small[0], None, small[1, :3]])
    seeds = [
        *(pickle.dumps({"masks": small, "b": 1, 3: [None]}, protocol=p) for p in range(6)),
        *(npy(value) for value in (small, np.asfortranarray(small.astype(">f4")), unequal, {"masks": small})),
        *(npz(*small, save=save) for save in (np.savez, np.savez_compressed)),
        npz(masks=unequal, a=small),
        gzip.compress(npy(small), mtime=0),
    ]
    outcomes = {"array": 0, "reason": 0}
    for _ in range(300):
        for seed in seeds:
            try:
                loaded = arrays.load("walk.npy", mutated(seed, rng))
            except Unreadable:
                outcomes["reason"] += 1
                continue
            outcomes["array"] += 1
            assert all(one.ndim == 2 and one.size and one.dtype.kind in "buif" for one in loaded.frames)
            assert sorted(loaded.numbers + loaded.missing) == list(range(len(loaded.frames) + len(loaded.missing)))
    assert min(outcomes.values()) > 100, outcomes
