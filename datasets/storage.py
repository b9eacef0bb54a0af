"""Where files lie: a folder of this machine or a place in object storage, behind the few verbs that we need.

Local folders are read with the operating system's own calls, because pyarrow's local file system knows neither links
nor names that are not UTF-8; whatever has a scheme (`s3://`, `gs://`) goes through pyarrow. A place is its address
alone: it travels to any task, which finds its credentials in its own environment. Nothing here knows what is in a file.
"""

import os
import shutil
import stat
import uuid
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, TypeVar

import pyarrow as pa
from pyarrow import fs

from datasets.schema.errors import Unreadable, UsageError

MAX_FILE = 1 << 30  # bytes: more than any walk takes, as pictures or as one array
_SCHEMES = ("s3", "gs", "gcs")
_AT_ONCE = 16  # requests to object storage, each of which waits for the network

One, Result = TypeVar("One"), TypeVar("Result")


@dataclass(frozen=True)
class Entry:
    """What a folder holds under a name; `circle` is a link to a folder that it lies in itself."""

    name: str
    kind: Literal["folder", "file", "circle", "other"]


@dataclass(frozen=True)
class LocalPlace:
    """A file or folder of this machine, or of a file system that is mounted."""

    path: str

    def __truediv__(self, below: str) -> "LocalPlace":
        return LocalPlace(f"{self.path}/{below}") if below else self

    def __str__(self) -> str:
        return self.path

    @property
    def filesystem(self) -> fs.FileSystem:
        """What pyarrow reads `path` with."""
        return fs.LocalFileSystem()

    @property
    def name(self) -> str:
        """The last part of the address."""
        return os.path.basename(self.path)  # noqa: PTH119 (a Path for every frame would cost more than its opening)

    def exists(self) -> bool:
        """Whether anything is there."""
        return Path(self.path).exists()

    def entries(self) -> list[Entry]:
        """What a folder holds, in order of name. OSError where it is none, or may not be read."""
        with os.scandir(self.path) as found:
            return sorted((Entry(one.name, self._kind(one)) for one in found), key=lambda one: one.name)

    def _kind(self, entry: os.DirEntry) -> Literal["folder", "file", "circle", "other"]:
        try:
            if entry.is_dir():
                here = Path(self.path)
                leads_up = entry.is_symlink() and here.resolve().is_relative_to((here / entry.name).resolve())
                return "circle" if leads_up else "folder"
            return "file" if entry.is_file() else "other"
        except OSError:  # a link to itself
            return "other"

    def read(self, limit: int = MAX_FILE) -> bytes:
        """A whole file. Unreadable for what is no file or has more than `limit` bytes; it never waits for a pipe."""
        handle = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode):
                raise Unreadable("not a file", "a folder, a pipe or a device")
            _check_size(status.st_size, limit)
            data = os.read(handle, status.st_size)
            while len(data) < status.st_size and (more := os.read(handle, status.st_size - len(data))):
                data += more
            return data
        finally:
            os.close(handle)

    def open(self) -> pa.NativeFile:
        """A file to read at random, as pyarrow likes it."""
        return pa.OSFile(self.path, "rb")

    def write(self, content: bytes | pa.Buffer) -> None:
        """A file with this content or none: written beside it and renamed."""
        path = Path(self.path)
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
        try:
            beside.write_bytes(content)
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)

    def adopt(self, file: Path) -> None:
        """Take in a local file, which is gone from where it was; whole or not at all."""
        path = Path(self.path)
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
        try:
            shutil.move(file, beside)
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)

    def remove(self) -> None:
        """Take a file away, if it is there."""
        Path(self.path).unlink(missing_ok=True)

    def remove_folder(self) -> None:
        """Take a folder and all that is in it away, if it is there."""
        shutil.rmtree(self.path, ignore_errors=True)

    def is_empty_folder(self) -> bool:
        """Whether it is a folder with nothing in it."""
        return Path(self.path).is_dir() and not any(Path(self.path).iterdir())


@dataclass(frozen=True)
class ObjectPlace:
    """An object, or a prefix of objects that plays the folder: `s3://bucket/key?endpoint_override=...`, `gs://...`."""

    scheme_and_options: tuple[str, str]
    path: str  # bucket/key

    def __truediv__(self, below: str) -> "ObjectPlace":
        return ObjectPlace(self.scheme_and_options, f"{self.path}/{below}") if below else self

    def __str__(self) -> str:
        scheme, options = self.scheme_and_options
        return f"{scheme}://{self.path}{options and '?'}{options}"

    @property
    def name(self) -> str:
        """The last part of the address."""
        return self.path.rpartition("/")[2]

    @property
    def filesystem(self) -> fs.FileSystem:
        """What pyarrow reads `path` with."""
        return _object_storage(*self.scheme_and_options, self.path.partition("/")[0])

    def exists(self) -> bool:
        """Whether anything is there."""
        return self.filesystem.get_file_info(self.path).type != fs.FileType.NotFound

    def entries(self) -> list[Entry]:
        """What a prefix holds, in order of name. OSError where there is nothing, or it may not be read."""
        found = self.filesystem.get_file_info(fs.FileSelector(self.path))
        kinds = {fs.FileType.Directory: "folder", fs.FileType.File: "file"}
        return sorted((Entry(one.base_name, kinds[one.type]) for one in found), key=lambda one: one.name)

    def read(self, limit: int = MAX_FILE) -> bytes:
        """A whole object. Unreadable where it has more than `limit` bytes."""
        with self.filesystem.open_input_file(self.path) as file:
            _check_size(file.size(), limit)
            return file.read()

    def open(self) -> pa.NativeFile:
        """An object to read at random, as pyarrow likes it."""
        return self.filesystem.open_input_file(self.path)

    def write(self, content: bytes | pa.Buffer) -> None:
        """An object with this content or none: storage shows it once it is whole."""
        with self.filesystem.open_output_stream(self.path) as stream:
            stream.write(content)

    def adopt(self, file: Path) -> None:
        """Take in a local file, which is gone from where it was; whole or not at all."""
        with pa.OSFile(str(file), "rb") as source, self.filesystem.open_output_stream(self.path) as target:
            target.upload(source)
        file.unlink()

    def remove(self) -> None:
        """Take an object away, if it is there."""
        if self.exists():
            self.filesystem.delete_file(self.path)

    def remove_folder(self) -> None:
        """Take all objects of a prefix away, if there are any."""
        if self.exists():
            self.filesystem.delete_dir(self.path)

    def is_empty_folder(self) -> bool:
        """Never: a prefix is there as long as there is something in it."""
        return False


Place = LocalPlace | ObjectPlace


def open_place(where: str | Path) -> Place:
    """The place with an address: a path, made absolute, or a URI. UsageError for a scheme that we cannot read."""
    scheme, colon, rest = str(where).partition("://")
    if not colon:
        return LocalPlace(str(Path(where).resolve()))
    if scheme == "file":
        return open_place(rest)
    path, _, options = rest.partition("?")
    if scheme not in _SCHEMES or not path.strip("/"):
        raise UsageError(
            f"{where} is no place to read or write: give a folder, or one of s3://<bucket>/... and gs://..."
        )
    if "@" in path:  # addresses are written into stores and logs
        raise UsageError(f"{scheme}://...@...: keep credentials out of addresses, in AWS_ACCESS_KEY_ID or its like")
    return ObjectPlace((scheme, options), path.strip("/"))


def local(where: str | Path, what: str) -> Path:
    """A local path. UsageError for an address in object storage, where `what` cannot lie."""
    place = open_place(where)
    if not isinstance(place, LocalPlace):
        raise UsageError(f"{what} must lie on a local or shared file system: {where} is in object storage")
    return Path(place.path)


def at_once(work: Callable[[One], Result], many: Sequence[One]) -> Iterable[Result]:
    """The results of small reads, in order, several under way at a time: over a network each of them waits."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        yield from pool.map(work, many)


@cache
def _object_storage(scheme: str, options: str, bucket: str) -> fs.FileSystem:
    system, _ = fs.FileSystem.from_uri(f"{scheme}://{bucket}{options and '?'}{options}")
    return system


def _check_size(size: int, limit: int) -> None:
    if size > limit:
        raise Unreadable("file too large", f"{size:,} bytes, more than the {limit:,} that are read")
