"""Storage locations: local folders, zip archives and object storage behind one small interface, `Place`.

Local folders are read with the operating system's own calls, because pyarrow's local file system handles neither links
nor names that are not UTF-8; whatever has a scheme (`s3://`, `gs://`) goes through pyarrow, and a zip archive through
datasets/zip_place.py. A place holds its address alone: it travels to any task, which finds its credentials in its own
environment.
"""

import os
import shutil
import stat
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from itertools import islice
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
from pyarrow import fs

from datasets.entries import MAX_FILE, Entry, Kind, check_size
from datasets.schema import strict_json
from datasets.schema.errors import Damaged, Unreadable, UsageError
from datasets.zip_place import ZipPlace, open_archive

_SCHEMES = ("s3", "gs", "gcs")
_THREADS = 16  # for requests to object storage, which mostly wait for the network
IN_FLIGHT = 24  # files of a folder that are fetched together: pyarrow's client opens 25 connections

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class LocalPlace:
    """A file or folder of a local or mounted file system."""

    path: str

    def __truediv__(self, below: str) -> "LocalPlace":
        return LocalPlace(f"{self.path}/{below}") if below else self

    def __str__(self) -> str:
        return self.path

    @property
    def filesystem(self) -> fs.FileSystem:
        """The pyarrow file system in which `path` lies."""
        return fs.LocalFileSystem()

    @property
    def name(self) -> str:
        """The last part of the address."""
        return os.path.basename(self.path)  # noqa: PTH119 (a Path for every frame would cost more than its opening)

    def exists(self) -> bool:
        """Whether there is a file or folder here."""
        return Path(self.path).exists()

    def entries(self) -> list[Entry]:
        """The entries of a folder, in order of name. OSError if it is not a folder or not readable."""
        with os.scandir(self.path) as found:
            return sorted((Entry(one.name, self._kind(one)) for one in found), key=lambda one: one.name)

    def _kind(self, entry: os.DirEntry) -> Kind:
        try:
            if entry.is_dir():
                here = Path(self.path)
                leads_up = entry.is_symlink() and here.resolve().is_relative_to((here / entry.name).resolve())
                return "loop" if leads_up else "folder"
            return "file" if entry.is_file() else "other"
        except OSError:  # a link to itself
            return "other"

    def read(self, limit: int = MAX_FILE) -> bytes:
        """The bytes of a file; does not block on pipes. Unreadable if it is not a file or exceeds `limit` bytes."""
        handle = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode):
                raise Unreadable("not a file", "a folder, a pipe or a device")
            check_size(status.st_size, limit)
            data = os.read(handle, status.st_size)
            while len(data) < status.st_size and (more := os.read(handle, status.st_size - len(data))):
                data += more
            return data
        finally:
            os.close(handle)

    def open(self) -> pa.NativeFile:
        """A file for random reads by pyarrow."""
        return pa.OSFile(self.path, "rb")

    def write(self, content: bytes | pa.Buffer) -> None:
        """Write a file atomically: beside its place under another name, then renamed."""
        path = Path(self.path)
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
        with _naming(path):
            try:
                beside.write_bytes(content)
                beside.replace(path)
            finally:
                beside.unlink(missing_ok=True)

    def move_from(self, file: Path) -> None:
        """Move a local file here, atomically."""
        path = Path(self.path)
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
        try:
            shutil.move(file, beside)
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)

    def remove(self) -> None:
        """Delete a file, if it exists."""
        Path(self.path).unlink(missing_ok=True)

    def remove_folder(self) -> None:
        """Delete a folder and all its content, if it exists."""
        shutil.rmtree(self.path, ignore_errors=True)

    def is_empty_folder(self) -> bool:
        """Whether this is a folder without content; hidden files, as of leases and file browsers, are none."""
        return Path(self.path).is_dir() and all(one.name.startswith(".") for one in Path(self.path).iterdir())


@dataclass(frozen=True)
class ObjectPlace:
    """An object, or a prefix of objects as a folder: `s3://bucket/key?endpoint_override=...`, `gs://...`."""

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
        """The pyarrow file system in which `path` lies."""
        return _object_storage(*self.scheme_and_options, self.path.partition("/")[0])

    def exists(self) -> bool:
        """Whether there is a file or folder here."""
        return self.filesystem.get_file_info(self.path).type != fs.FileType.NotFound

    def entries(self) -> list[Entry]:
        """The entries of a prefix, in order of name. OSError where there are none, or they may not be read."""
        found = self.filesystem.get_file_info(fs.FileSelector(self.path))
        kinds: dict[fs.FileType, Kind] = {fs.FileType.Directory: "folder", fs.FileType.File: "file"}
        return sorted((Entry(one.base_name, kinds[one.type]) for one in found), key=lambda one: one.name)

    def read(self, limit: int = MAX_FILE) -> bytes:
        """The bytes of an object. Unreadable where it has more than `limit` bytes."""
        with self.filesystem.open_input_file(self.path) as file:
            check_size(file.size(), limit)
            return file.read()

    def open(self) -> pa.NativeFile:
        """An object for random reads by pyarrow."""
        return self.filesystem.open_input_file(self.path)

    def write(self, content: bytes | pa.Buffer) -> None:
        """Write an object atomically: object storage shows it once it is complete."""
        with self.filesystem.open_output_stream(self.path) as stream:
            stream.write(content)

    def move_from(self, file: Path) -> None:
        """Move a local file here, atomically."""
        with pa.OSFile(str(file), "rb") as source, self.filesystem.open_output_stream(self.path) as target:
            target.upload(source)
        file.unlink()

    def remove(self) -> None:
        """Delete an object, if it exists."""
        if self.exists():
            self.filesystem.delete_file(self.path)

    def remove_folder(self) -> None:
        """Delete all objects of a prefix, if there are any."""
        if self.exists():
            self.filesystem.delete_dir(self.path)

    def is_empty_folder(self) -> bool:
        """Whether all objects of this prefix are hidden files, as of leases."""
        return all(one.name.startswith(".") for one in self.entries())


Place = LocalPlace | ObjectPlace | ZipPlace


def open_place(where: str | Path) -> Place:
    """The place of an address: a path, which is made absolute, or a URI.

    A zip archive is the tree inside it; so is a path that goes on below one. UsageError for an unsupported scheme, a
    damaged archive, or an archive of another kind.
    """
    scheme, colon, rest = str(where).partition("://")
    if not colon:
        resolved = Path(where).resolve()
        return open_archive(resolved) or LocalPlace(str(resolved))
    if scheme == "file":
        return open_place(rest)
    path, _, options = rest.partition("?")
    if scheme not in _SCHEMES or not path.strip("/"):
        raise UsageError(f"{where} cannot be read or written: give a folder, or one of s3://<bucket>/... and gs://...")
    if "@" in path:  # addresses are written into stores and logs
        raise UsageError(f"{scheme}://...@...: keep credentials out of addresses, in AWS_ACCESS_KEY_ID or its like")
    return ObjectPlace((scheme, options), path.strip("/"))


def local_path(where: str | Path, what: str) -> Path:
    """The path of a local address. UsageError for another, which names `what` is to be stored there."""
    place = open_place(where)
    if not isinstance(place, LocalPlace):
        where_it_is = "in a zip archive" if isinstance(place, ZipPlace) else "in object storage"
        raise UsageError(f"{what} must lie on a local or shared file system: {where} is {where_it_is}")
    return Path(place.path)


def read_json(kind: type[Result], place: Place, mend: str) -> Result:
    """A value of a type from a JSON file that this program wrote; see `strict_json.read_ours`. Else OSError."""
    try:
        content = place.read()
    except Unreadable as error:
        raise Damaged(f"{place} is damaged ({error}): {mend}") from error
    return strict_json.read_ours(kind, content, str(place), mend)


def thread_map(function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
    """The function's results in order of the items, several threads at a time: for reads that wait for the network."""
    with ThreadPoolExecutor(_THREADS) as pool:
        yield from pool.map(function, items)


def read_each(folder: Place, names: Sequence[str], limit: int) -> Iterator[Callable[[], bytes]]:
    """For each name below a folder, in order, a function that returns the bytes of its file, or raises as `read` does.

    In object storage, where one small file takes as long as many, the next IN_FLIGHT are fetched meanwhile; no more, so
    that few are in memory at a time.
    """
    if not isinstance(folder, ObjectPlace):
        for name in names:
            yield partial((folder / name).read, limit)
        return
    left = iter(names)
    with ThreadPoolExecutor(IN_FLIGHT, thread_name_prefix="files") as pool:
        fetched = deque(pool.submit((folder / name).read, limit) for name in islice(left, IN_FLIGHT))
        while fetched:
            yield fetched.popleft().result
            fetched.extend(pool.submit((folder / name).read, limit) for name in islice(left, 1))


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Errors of a file that is written say its name: the system names none where a disk is full."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


@cache
def _object_storage(scheme: str, options: str, bucket: str) -> fs.FileSystem:
    system, _ = fs.FileSystem.from_uri(f"{scheme}://{bucket}{options and '?'}{options}")
    return system
