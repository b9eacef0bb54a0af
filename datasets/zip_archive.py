"""The members of a zip archive from untrusted bytes: a listing, and each inflated no further than it says.

`zipfile` reads the listing alone. Its own reading of a member shares one position in the file, which neither threads
nor forked processes may, and imports whatever decompressor a member names.
"""

import struct
import zipfile
import zlib
from collections.abc import Callable
from typing import BinaryIO, cast

from datasets.entries import check_size
from datasets.schema.errors import Unreadable

_LOCAL_HEADER = struct.Struct("<4s22xHH")
_GUESSED = 512  # bytes of the names and extra fields before a member, so that one read gets all of it
_IS_ENCRYPTED = 0x1
_METHODS = {9: "Deflate64", 12: "bzip2", 14: "LZMA", 93: "zstd", 95: "xz"}

ReadAt = Callable[[int, int], bytes]  # (start, count): the bytes there, fewer at the end of the file


class _Bounded:
    """A file of which no read may take more than `most` bytes: `zipfile` reads a listing at once."""

    def __init__(self, file: BinaryIO, most: int) -> None:
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable
        self._file, self._most = file, most

    def read(self, size: int = -1) -> bytes:
        if size > self._most:
            raise ValueError(f"a listing of {size:,} bytes, more than the {self._most:,} that are read")
        return self._file.read(size)


def list_members(file: BinaryIO, most: int) -> list[zipfile.ZipInfo]:
    """The members of an archive, in its order; `most`: bytes that the listing may have, 50 or more for a member.

    Names without a declared encoding are UTF-8 where all of them are, as macOS writes them, else code page 437. Raises
    Unreadable, `damaged zip archive`.
    """
    bounded = cast(BinaryIO, _Bounded(file, most))
    try:
        try:
            return zipfile.ZipFile(bounded, metadata_encoding="utf-8").infolist()
        except UnicodeDecodeError:
            return zipfile.ZipFile(bounded).infolist()
    except Exception as error:  # damaged bytes fail in many ways: struct.error, OverflowError, NotImplementedError
        raise Unreadable("damaged zip archive", " ".join(str(error).split())[:100] or type(error).__name__) from error


def read_member(read_at: ReadAt, member: zipfile.ZipInfo, limit: int) -> bytes:
    """The bytes of a member, inflated and checked.

    Raises Unreadable: `file too large` (by what the listing says, before anything is inflated), `encrypted file`,
    `unsupported compression`, or `damaged zip archive`.
    """
    check_size(member.file_size, limit)
    if member.flag_bits & _IS_ENCRYPTED:
        raise Unreadable("encrypted file", "unpack the archive with its password, or zip it without one")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        name = _METHODS.get(member.compress_type, f"method {member.compress_type}")
        raise Unreadable("unsupported compression", f"{name}: unpack the archive, or zip it with Deflate")
    if member.compress_size > member.file_size + member.file_size // 256 + 1024:
        raise Unreadable("damaged zip archive", f"{member.compress_size:,} bytes that inflate to {member.file_size:,}")
    packed = _packed(read_at, member)
    content = packed
    if member.compress_type == zipfile.ZIP_DEFLATED:
        try:
            content = zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, member.file_size + 1)
        except zlib.error as error:
            raise Unreadable("damaged zip archive", f"a member that cannot be inflated: {error}") from error
    if len(content) != member.file_size or zlib.crc32(content) != member.CRC:
        raise Unreadable("damaged zip archive", "a member whose length or checksum is wrong")
    return content


def _packed(read_at: ReadAt, member: zipfile.ZipInfo) -> bytes:
    """The bytes of a member as they lie in the archive."""
    found = read_at(member.header_offset, _GUESSED + member.compress_size)
    if len(found) < _LOCAL_HEADER.size:
        raise Unreadable("damaged zip archive", "a member behind the end")
    signature, name, extra = _LOCAL_HEADER.unpack_from(found)
    if signature != b"PK\x03\x04":
        raise Unreadable("damaged zip archive", "a member that does not begin as one")
    start = _LOCAL_HEADER.size + name + extra
    if start > _GUESSED:
        return read_at(member.header_offset + start, member.compress_size)
    return found[start : start + member.compress_size]
