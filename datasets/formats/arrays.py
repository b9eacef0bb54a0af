"""The frames of one sequence from an untrusted file of arrays: a pickle, an .npy or an .npz, or one of them as .gz."""

import zlib

from datasets.formats import numpy_files, unpickler
from datasets.formats.recognise import check_download, guess
from datasets.formats.sequences import MAX_BYTES, LoadedArray, sequence_in
from datasets.schema.errors import Unreadable

GZIP, ZIP, PICKLE = b"\x1f\x8b", (b"PK\x03\x04", b"PK\x05\x06"), b"\x80"
ENDINGS = (".pkl", ".pickle", ".npy", ".npz")  # each may have a further .gz
_MAX_STREAMS = 64  # of a gzip file: each call of `gzip -c >>` makes one


def load(name: str, data: bytes) -> LoadedArray:
    """The frames in a file of this name.

    It reads a pickle of protocol 0 to 5, written by any NumPy since 2006 in Python 2 or 3; an .npy or an .npz; and gzip
    of one. A file is read as what it is, which may be another than its ending says; what has no beginning of its own is
    a pickle, or damaged where it ends on .npy or .npz. `sequence_in` says which values are frames. Raises Unreadable:
    `empty file`, `file too large`, `Git LFS pointer`, `HTML page`, `unreadable pickle`, `unreadable array`, `damaged
    zip archive`, `damaged gzip file`, `encrypted file`, `unsupported compression`, and what `sequence_in` raises.
    """
    if not data:
        raise Unreadable("empty file", "0 bytes")
    if len(data) > MAX_BYTES:
        raise Unreadable("file too large", f"more than {MAX_BYTES} bytes")
    check_download(data)
    if data.startswith(GZIP):
        data = _inflated(data)
    if data.startswith(numpy_files.MAGIC):
        return sequence_in(numpy_files.load_npy(data))
    if data.startswith(ZIP):
        return sequence_in(numpy_files.load_npz(data, MAX_BYTES))
    if name.lower().removesuffix(".gz").endswith((".npy", ".npz")) and not data.startswith(PICKLE):
        raise Unreadable("unreadable array", f"{len(data)} bytes that look like {guess(data)}")
    return sequence_in(unpickler.load(data))


def _inflated(data: bytes) -> bytes:
    """The bytes in a gzip file, of one stream or several. Unreadable where they are too many, or cut off."""
    parts, left = [], MAX_BYTES + 1
    try:
        for _ in range(_MAX_STREAMS):
            inflater = zlib.decompressobj(zlib.MAX_WBITS | 16)
            parts.append(inflater.decompress(data, left))
            left -= len(parts[-1])
            if left <= 0:
                raise Unreadable("file too large", f"it inflates to more than {MAX_BYTES} bytes")
            if not inflater.eof:
                raise Unreadable("damaged gzip file", f"it ends after {len(data)} bytes, before its end")
            data = inflater.unused_data.lstrip(b"\0")
            if not data:
                return b"".join(parts)
    except zlib.error as error:
        raise Unreadable("damaged gzip file", str(error)) from error
    raise Unreadable("damaged gzip file", f"more than {_MAX_STREAMS} streams in one file")
