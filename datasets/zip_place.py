"""A zip archive as a place: the tree inside it, read where it lies.

Names are looked up in the archive's listing and never reach the file system, so none leads out of it. A place holds
addresses alone; each process reads the listing of an archive once, and its files by position, from any thread.
"""

import errno
import os
import stat
import threading
import zipfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NoReturn

import pyarrow as pa
from pyarrow import fs

from datasets.entries import MAX_FILE, Entry, Kind
from datasets.schema.errors import Unreadable, UsageError
from datasets.zip_archive import list_members, read_member

OTHER_ARCHIVES = (".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst", ".7z", ".rar")
MAX_LISTING = 2**28  # bytes: 2 million files and more
MAX_DEPTH = 32  # folders below each other; no layout has more than 12
MAX_NAME = 2**12  # characters of a path, as on Linux
_UNIX = 3  # the system of an archive whose attributes have a file's mode
_listing = threading.Lock()


@dataclass(frozen=True)
class ZipPlace:
    """A file or folder in a zip archive; only to be read. path: below the top of the archive, with / between."""

    archive: str
    path: str = ""

    def __truediv__(self, below: str) -> "ZipPlace":
        return ZipPlace(self.archive, "/".join(part for part in (self.path, below) if part))

    def __str__(self) -> str:
        return f"{self.archive}/{self.path}" if self.path else self.archive

    @property
    def filesystem(self) -> fs.FileSystem:
        """None: UsageError."""
        self._refuse()

    @property
    def name(self) -> str:
        """The last part of the address."""
        return str(self).rpartition("/")[2]

    def exists(self) -> bool:
        """Whether there is a file or folder here."""
        tree = _tree(self.archive)
        return self.path in tree.folders or self.path in tree.files

    def entries(self) -> list[Entry]:
        """The entries of a folder, in order of name. OSError if there is none here, or the archive is damaged.

        At the top are also the members, of kind `other`, whose names lead out of the archive or are no paths.
        """
        tree = _tree(self.archive)
        if self.path not in tree.folders:
            code = errno.ENOTDIR if self.path in tree.files else errno.ENOENT
            raise OSError(code, os.strerror(code), str(self))
        return list(tree.folders[self.path])

    def read(self, limit: int = MAX_FILE) -> bytes:
        """The bytes of a file, inflated. Unreadable if it is not one, exceeds `limit` bytes or is damaged."""
        tree = _tree(self.archive)
        if self.path in tree.folders:
            raise Unreadable("not a file", "a folder in a zip archive")
        if self.path not in tree.files:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self))
        member = tree.files[self.path]
        if member is None:
            raise Unreadable("unreadable file", "the zip archive has several members of this name")
        if _is_link(member):
            raise Unreadable("not a file", "a link in a zip archive")
        return read_member(tree.read_at, member, limit)

    def open(self) -> pa.NativeFile:
        """A file for random reads by pyarrow, in memory."""
        return pa.BufferReader(self.read())

    def write(self, content: bytes | pa.Buffer) -> None:  # noqa: ARG002
        """UsageError."""
        self._refuse()

    def move_from(self, file: Path) -> None:  # noqa: ARG002
        """UsageError."""
        self._refuse()

    def remove(self) -> None:
        """UsageError."""
        self._refuse()

    def remove_folder(self) -> None:
        """UsageError."""
        self._refuse()

    def is_empty_folder(self) -> bool:
        """Whether this is an archive without content."""
        return self.exists() and not self.entries()

    def _refuse(self) -> NoReturn:
        raise UsageError(f"{self} lies in a zip archive, which is only read: give a folder to write to")


def open_archive(path: Path) -> ZipPlace | None:
    """The place of a path that is a zip archive or goes on below one; None for any other path.

    UsageError for an archive that is damaged, or of another kind.
    """
    for above in (path, *path.parents):
        if above.suffix.lower() == ".zip" and _is_file(above):
            return _open_zip(above, "/".join(path.parts[len(above.parts) :]))
    if path.name.lower().endswith(OTHER_ARCHIVES) and _is_file(path):
        raise UsageError(f"{path} is an archive that cannot be read in its place: unpack it, or make a .zip of it")
    return None


def _open_zip(archive: Path, below: str) -> ZipPlace:
    try:
        _tree(str(archive))
    except OSError as error:
        detail = error.strerror or error
        raise UsageError(f"{archive} cannot be read as a zip archive, {detail}: copy it again, or unpack it") from error
    return ZipPlace(str(archive), below)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # too long a name, or a folder that may not be entered: whoever opens it says so
        return False


class _Tree:
    """The folders and files of an archive, by their paths; None for a path that several members claim."""

    def __init__(self, archive: str, size: int) -> None:
        self._handle, self._size = os.open(archive, os.O_RDONLY | os.O_CLOEXEC), size
        self.files: dict[str, zipfile.ZipInfo | None] = {}
        self._kinds: dict[str, dict[str, Kind]] = {"": {}}
        strays = []
        with open(self._handle, "rb", closefd=False) as file:
            for member in list_members(file, MAX_LISTING):
                if _is_litter(member.filename):
                    continue
                parts = _parts(member.filename)
                if parts is None or not self._add(parts, member):
                    strays.append(member.filename[:MAX_NAME])
        top = self._kinds[""]
        if not strays and list(top.items()) == [(name := Path(archive).stem, "folder")]:
            self._enter(name)
        self.folders = {path: _entries(kinds) for path, kinds in self._kinds.items()}
        for name in strays:
            is_taken = not name or name in self.files or name in self.folders
            self.folders[""].append(Entry(f"{name} (a second one)" if is_taken else name, "other"))
        del self._kinds

    def __del__(self) -> None:
        if handle := getattr(self, "_handle", 0):  # none where it could not be opened
            os.close(handle)

    def read_at(self, start: int, count: int) -> bytes:
        """So many bytes of the archive, fewer at its end."""
        end, parts = min(start + count, self._size), []
        while 0 <= start < end and (part := os.pread(self._handle, end - start, start)):
            parts.append(part)
            start += len(part)
        return b"".join(parts)

    def _add(self, parts: list[str], member: zipfile.ZipInfo) -> bool:
        """Put a member into the tree; False where a file stands in the place of one of its folders, or is one."""
        path, folder = "/".join(parts), "/".join(parts[:-1])
        is_folder = member.filename.endswith(("/", "\\"))
        if not self._add_folder(parts if is_folder else parts[:-1]):
            return False
        if is_folder:
            return True
        if path in self.files:
            known = self.files[path]
            if known is None or (known.CRC, known.file_size) != (member.CRC, member.file_size):
                self.files[path] = None
            return True
        if path in self._kinds:
            return False
        self.files[path] = member
        self._kinds[folder][parts[-1]] = "other" if _is_link(member) else "file"
        return True

    def _add_folder(self, parts: list[str]) -> bool:
        path = "/".join(parts)
        if path in self._kinds:
            return True
        if path in self.files or not self._add_folder(parts[:-1]):
            return False
        self._kinds[path] = {}
        self._kinds["/".join(parts[:-1])][parts[-1]] = "folder"
        return True

    def _enter(self, top: str) -> None:
        """Make the one folder of the archive, which is named as it, the top of the tree."""
        start = f"{top}/"
        self.files = {path.removeprefix(start): member for path, member in self.files.items()}
        self._kinds = {path[len(start) :]: kinds for path, kinds in self._kinds.items() if path}


def _tree(archive: str) -> _Tree:
    """The tree of an archive as it is now. OSError where it is gone or damaged."""
    status = os.stat(archive)  # noqa: PTH116 (called for every frame)
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EIO, "not a file", archive)
    with _listing:  # of two threads one waits for the listing that the other reads
        return _read_tree(archive, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=8)
def _read_tree(archive: str, size: int, changed: int) -> _Tree:  # noqa: ARG001 (another archive under its name)
    try:
        return _Tree(archive, size)
    except Unreadable as error:
        raise OSError(errno.EIO, f"{error.reason}: {error.detail}", archive) from error


def _parts(name: str) -> list[str] | None:
    """The parts of a member's path; None for a name that is no path below the top.

    Windows wrote \\ between them for years; where there is no / that is meant.
    """
    if "/" not in name:
        name = name.replace("\\", "/")
    parts = [part for part in name.removesuffix("/").split("/") if part != "."]
    if len(name) > MAX_NAME or len(parts) > MAX_DEPTH or not parts or any(part in ("", "..") for part in parts):
        return None
    return parts


def _is_litter(name: str) -> bool:
    """Whether a member is what macOS adds to an archive."""
    return name.startswith("__MACOSX/") or name.rpartition("/")[2] == ".DS_Store"


def _entries(kinds: dict[str, Kind]) -> list[Entry]:
    return [Entry(name, kinds[name]) for name in sorted(kinds)]


def _is_link(member: zipfile.ZipInfo) -> bool:
    return member.create_system == _UNIX and stat.S_ISLNK(member.external_attr >> 16)
