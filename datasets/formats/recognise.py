"""What untrusted bytes look like by their beginning: for messages, and for downloads that failed."""

from datasets.schema.errors import Unreadable

_BEGINNINGS = (  # Pillow knows no pages, archives or arrays, and would parse the file to name its type
    (b"\x89PNG", "a PNG"),
    (b"\xff\xd8", "a JPEG"),
    (b"GIF8", "a GIF"),
    (b"BM", "a BMP"),
    (b"II*\0", "a TIFF"),
    (b"MM\0*", "a TIFF"),
    (b"II+\0", "a BigTIFF"),
    (b"MM\0+", "a BigTIFF"),
    (b"RIFF", "a RIFF file"),
    (b"#?R", "a Radiance HDR"),
    (b"v/1\x01", "an OpenEXR"),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000"),
    (b"\xffO\xffQ", "a JPEG 2000"),
    (b"%PDF", "a PDF"),
    (b"PK\x03\x04", "a zip archive"),
    (b"\x1f\x8b", "a gzip file"),
    (b"\x28\xb5\x2f\xfd", "a zstd file"),
    (b"\xfd7zXZ\0", "an xz file"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"Rar!", "a rar archive"),
    (b"\x89HDF", "an HDF5 file"),
    (b"MATLAB 5.0", "a MATLAB file"),
    (b"\x93NUMPY", "a numpy file"),
    (b"\x80", "a pickle"),
    (b"<", "HTML or XML"),
    (bytes(8), "nothing known: they begin with zeros"),
)
_LFS = b"version https://git-lfs.github.com/spec/"
_PAGES = (b"<!doctype html", b"<html")


def check_download(data: bytes) -> None:
    """Raises Unreadable for what a failed download leaves: `Git LFS pointer` or `HTML page`."""
    if data.startswith(_LFS):
        raise Unreadable("Git LFS pointer", "the file itself was not downloaded: `git lfs pull` fetches it")
    if data[:512].removeprefix(b"\xef\xbb\xbf").lstrip().lower().startswith(_PAGES):
        raise Unreadable("HTML page", "a page in the place of the file: its download failed")


def guess(data: bytes) -> str:
    """What the bytes look like, as a message says it."""
    for beginning, name in _BEGINNINGS:
        if data.startswith(beginning):
            return name
    if data[4:8] == b"ftyp":
        return "an AVIF, a HEIC or a video"
    if data[:64].isascii() and all(byte >= 0x20 or byte in b"\t\n\r" for byte in data[:64]):
        return "text"
    return f"nothing known: {data[:8].hex(' ')}"
