"""Everything that reads files of strangers, one line each: sound files to mutate, and how they are read.

A reader refuses a file by raising one of REFUSALS, or returns what it made of it. `tests/hazards/fuzz.py` mutates the
sound files and holds every reader to that.
"""

import gzip
import io
import json
import pickle
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image

from datasets.formats import arrays, images, joints
from datasets.ingest import layouts
from datasets.ingest.sequence_to_row import ingest_sequence
from datasets.schema.errors import Unreadable, UsageError
from datasets.specs import custom
from datasets.specs.partition_file import with_partition
from datasets.specs.spec_file import read_spec
from datasets.storage import open_place
from datasets.store.reader import Store
from datasets.store.writer import StoreWriter
from orchestration.run import checkpoint
from orchestration.run.checkpoint import MOMENTS
from orchestration.run.folder import RUN_FILE, read_run
from orchestration.run.serialise import to_json
from orchestration.run.settings import PretrainRun, Schedule

REFUSALS = (Unreadable, UsageError)
FRAMES = 8  # of a sound walk


@dataclass(frozen=True)
class Reader:
    """A reader of one kind of file.

    name: in reports. sound: the files to mutate. read: reads one file; the folder is its own, and empty. checked: the
    format has checksums over all that is read, so that what is not refused has to be as it was.
    """

    name: str
    sound: Callable[[], list[bytes]]
    read: Callable[[bytes, Path], object]
    checked: bool = False
    repair: Callable[[bytes], bytes] | None = None  # makes checksums right again, to get behind them


def mask() -> np.ndarray:
    """A body of 0 and 255, uint8 [64, 64]."""
    picture = np.zeros((64, 64), np.uint8)
    cv2.ellipse(picture, (32, 32), (9, 30), 0, 0, 360, 255, -1)
    return picture


def _walk() -> np.ndarray:
    return np.stack([np.roll(mask(), shift % 3, axis=1) for shift in range(FRAMES)])


def _encoded(ending: str, **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(mask()).save(stream, format=ending, **options)
    return stream.getvalue()


def _palette() -> bytes:
    stream = io.BytesIO()
    Image.fromarray(mask()).convert("P").save(stream, format="png")
    return stream.getvalue()


def _turned() -> bytes:
    exif, stream = Image.Exif(), io.BytesIO()
    exif[0x0112] = 6
    Image.fromarray(mask()).save(stream, format="jpeg", exif=exif)
    return stream.getvalue()


def _saved(save: Callable[..., None], *content: object, **named: object) -> bytes:
    stream = io.BytesIO()
    save(stream, *content, **named)
    return stream.getvalue()


_COMMAND = b"cposix\nsystem\n(S'touch owned'\ntR."  # a pickle that runs a command


def _pickles() -> list[bytes]:
    walk = _walk()
    plain = [pickle.dumps(walk, protocol) for protocol in (0, 2, 5)]
    return [*plain, pickle.dumps(list(walk)), pickle.dumps({"masks": walk}), pickle.dumps([*walk[:2], None]), _COMMAND]


def _npy() -> list[bytes]:
    objects = np.empty(FRAMES, object)
    objects[:] = list(_walk())
    return [_saved(np.save, _walk()), _saved(np.save, objects), _saved(np.save, _walk().astype(np.float16))]


def _npz() -> list[bytes]:
    walk = _walk()
    return [_saved(np.savez, masks=walk), _saved(np.savez_compressed, *walk), _saved(np.savez, a=walk, b=walk[:, 0])]


def _joints() -> list[bytes]:
    body = np.random.default_rng(0).uniform(1, 300, (17, 3)).round(2)
    return [json.dumps(body.tolist()).encode(), ",".join(map(str, [311, 438, *body.ravel()])).encode()]


def _zipped_tree() -> list[bytes]:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(3):
            archive.writestr(f"walks/001/nm/left/{number}.png", _encoded("png"))
    return [stream.getvalue()]


SPEC = {
    "title": "Walks",
    "split": {"train": "*", "test": ["007"]},
    "labels": {"001": {"sex": "female"}, "007/coat": {"clothes": "coat"}},
    "protocol": {"kind": "view-pairs", "probe_sets": [{"name": "CL", "probe": ["coat"], "gallery": ["normal"]}]},
}
PARTITION = {
    "TRAIN_SET": ["001", "002"],
    "TEST_SET": ["003"],
    "PROBE_SET": ["003-nm-a"],
    "GALLERY_SET": ["003-nm-b"],
}


def _read_into(data: bytes, folder: Path, name: str) -> str:
    (folder / name).write_bytes(data)
    return str(folder / name)


def _read_spec(data: bytes, folder: Path) -> object:
    return read_spec("mine", _read_into(data, folder, "spec.json"))


def _read_partition(data: bytes, folder: Path) -> object:
    return with_partition(custom.default_spec("mine"), _read_into(data, folder, "partition.json"))


def _read_frame(data: bytes, folder: Path) -> object:
    """A walk with one mutated frame: every file is a frame of the row, or a reject."""
    walk = folder / "001/nm/left"
    walk.mkdir(parents=True)
    for number in range(FRAMES):
        (walk / f"{number}.png").write_bytes(data if number == 3 else _encoded("png"))
    root = layouts.find_root(open_place(folder), custom.default_spec("mine"))
    (made,) = [ingest_sequence(root, ref) for ref in layouts.list_sequences(root)]
    if made.row is None:
        raise Unreadable(made.rejects[0]["reason"], made.rejects[0]["detail"])
    assert made.row["num_frames"] + len(made.rejects) == FRAMES, "a frame was lost in silence"
    return made.row["num_frames"]


def _read_zip(data: bytes, folder: Path) -> object:
    place = open_place(_read_into(data, folder, "walks.zip"))
    root = layouts.find_root(place, custom.default_spec("mine"))
    return [ingest_sequence(root, ref).row is None for ref in layouts.list_sequences(root)]


@cache
def _store() -> dict[str, bytes]:
    """The files of a store of one walk, by path."""
    with tempfile.TemporaryDirectory() as home:
        tree, store = Path(home) / "tree", Path(home) / "store"
        (tree / "001").mkdir(parents=True)
        (tree / "001/walk.npy").write_bytes(_saved(np.save, _walk()))
        writer = StoreWriter.open(store)
        root = layouts.find_root(open_place(tree), custom.default_spec("mine"))
        writer.describe("mine", {"published": {}, "anonymous": "", "title": "mine"})
        rows = [one.row for one in map(partial(ingest_sequence, root), layouts.list_sequences(root)) if one.row]
        writer.blocks().write([row["sequence_id"] for row in rows], rows, [])
        writer.finish()
        return {str(path.relative_to(store)): path.read_bytes() for path in store.rglob("*") if path.is_file()}


def _file_of_store(part: str) -> list[bytes]:
    """The file of a store whose path has this part."""
    return [content for name, content in _store().items() if part in name]


def _read_store(changed: str, data: bytes, folder: Path) -> object:
    """All rows of a store in which the file whose path has the part `changed` is this one."""
    for name, content in _store().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data if changed in name else content)
    return Store.open(folder).rows().to_pylist()


@cache
def _run() -> dict[str, bytes]:
    """The files of a run with a checkpoint, by path."""
    with tempfile.TemporaryDirectory() as home:
        place = open_place(home)
        run = PretrainRun(recipe="tiny", shards="shards", out=home, schedule=Schedule(steps=100))
        (place / RUN_FILE).write(json.dumps(to_json(run)).encode())
        weights = {"student.weight": torch.arange(12.0)}
        checkpoint.save(place, run, 4, weights, {"student.weight": torch.zeros(2, 12)})
        return {str(path.relative_to(home)): path.read_bytes() for path in Path(home).rglob("*") if path.is_file()}


def _file_of_run(part: str) -> list[bytes]:
    return [content for name, content in _run().items() if name.endswith(part)][-1:]


def _read_run(changed: str, data: bytes, folder: Path) -> object:
    """The settings and the weights of a run in which the file that `changed` names is this one."""
    for name, content in _run().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data if name == changed else content)
    place = open_place(folder)
    settings = to_json(read_run(place))
    moments = checkpoint.load_moments(checkpoint.select(place, None))
    return settings, {name: tensor.tolist() for name, tensor in moments.items()}


def checksums_of_png(data: bytes) -> bytes:
    """A PNG with right checksums, as far as its chunks can be followed."""
    parts, start = [data[:8]], 8
    while start + 12 <= len(data):
        length = struct.unpack_from(">I", data, start)[0]
        body = data[start + 4 : start + 8 + length]
        if len(body) < 4 + length:
            break
        parts.append(data[start : start + 4] + body + struct.pack(">I", zlib.crc32(body)))
        start += 12 + length
    return b"".join(parts) + data[start:]


def _pixels(data: bytes, _: Path) -> object:
    return images.decode(data).pixels.tolist()


def _frames(name: str) -> Callable[[bytes, Path], object]:
    return lambda data, _: [frame.tolist() for frame in arrays.load(name, data).frames]


PNGS = [_encoded("png"), _palette()]
_STEP = "checkpoints/step-00000004"
_TIFFS = [_encoded("tiff"), _encoded("tiff", compression="tiff_lzw")]
READERS = (
    Reader("png", lambda: PNGS, _pixels, checked=True),
    Reader("png-behind-checksums", lambda: PNGS, _pixels, repair=checksums_of_png),
    Reader("jpeg", lambda: [_encoded("jpeg"), _encoded("jpeg", progressive=True), _turned()], _pixels),
    Reader("bmp", lambda: [_encoded("bmp")], _pixels),
    Reader("tiff", lambda: _TIFFS, _pixels),
    Reader("webp", lambda: [_encoded("webp", lossless=True), _encoded("webp")], _pixels),
    Reader("frame-of-a-walk", lambda: PNGS, _read_frame),
    Reader("pickle", _pickles, _frames("walk.pkl")),
    Reader("npy", _npy, _frames("walk.npy")),
    Reader("npz", _npz, _frames("walk.npz")),
    Reader(
        "gzip", lambda: [gzip.compress(one, mtime=0) for one in (*_pickles()[:2], _npy()[0])], _frames("walk.pkl.gz")
    ),
    Reader("joints", _joints, lambda data, _: joints.decode(data).tolist()),
    Reader("zipped-tree", _zipped_tree, _read_zip),
    Reader("spec-file", lambda: [json.dumps(SPEC).encode()], _read_spec),
    Reader("partition-file", lambda: [json.dumps(PARTITION).encode()], _read_partition),
    Reader("manifest", partial(_file_of_store, "manifest.json"), partial(_read_store, "manifest.json")),
    Reader("shard", partial(_file_of_store, ".parquet"), partial(_read_store, ".parquet"), checked=True),
    Reader("run", partial(_file_of_run, "run.json"), partial(_read_run, "run.json")),
    Reader("checkpoint", partial(_file_of_run, "state.json"), partial(_read_run, f"{_STEP}/state.json")),
    Reader("weights", partial(_file_of_run, MOMENTS), partial(_read_run, f"{_STEP}/{MOMENTS}"), checked=True),
)
