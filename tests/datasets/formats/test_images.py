"""Untrusted PNGs and JPEGs: which are read, which are refused, and that bombs take neither time nor memory."""

import struct
import subprocess
import sys
import zlib

import cv2
import numpy as np
import pytest

from datasets.formats import images
from datasets.formats.pictures import jpeg
from datasets.formats.pictures import png as png_format
from datasets.preprocessing import binary
from datasets.schema.errors import Unreadable
from orchestration.cluster.session import ROOT

GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6
END = (b"IEND", b"")


def walker_mask(height: int = 120, width: int = 160) -> np.ndarray:
    mask = np.zeros((height, width), np.uint8)
    cv2.ellipse(mask, (70, 60), (14, 45), 10, 0, 360, 255, -1)
    return mask


MASK = walker_mask()


def encoded(kind: str, image: np.ndarray = MASK, *settings: int) -> bytes:
    return cv2.imencode(kind, image, settings)[1].tobytes()


def join_png(*chunks: tuple[bytes, bytes]) -> bytes:
    whole = [struct.pack(">I", len(b)) + name + b + struct.pack(">I", zlib.crc32(name + b)) for name, b in chunks]
    return png_format.SIGNATURE + b"".join(whole)


def header(width: int, height: int, depth: int = 8, colour: int = GREY, interlaced: int = 0) -> tuple[bytes, bytes]:
    return b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)


def png(values: np.ndarray, depth: int, colour: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG that stores these values [H, W] or [H, W, C] as they are, in `depth` bits each."""
    height, width = values.shape[:2]
    flat = values.reshape(height, -1)
    if depth == 16:
        rows = [row.astype(">u2").tobytes() for row in flat]
    else:
        bits = np.unpackbits(flat.astype(np.uint8)[..., None], axis=-1)[..., 8 - depth :]
        rows = [np.packbits(row).tobytes() for row in bits.reshape(height, -1)]
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    return join_png(header(width, height, depth, colour), *chunks, (b"IDAT", pixels), END)


def segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def reason(data: bytes) -> str:
    with pytest.raises(Unreadable) as caught:
        images.decode(data)
    return caught.value.reason


def pixels(data: bytes) -> np.ndarray:
    return images.decode(data).pixels


COLOURED = np.dstack([MASK, MASK // 2, 255 - MASK])
NOISE = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    "data",
    [
        encoded(".png"),
        encoded(".png", COLOURED),
        encoded(".png", NOISE),  # several chunks, and more than is inflated without a check
        encoded(".png", MASK.astype(np.uint16) * 257),
        encoded(".png", np.dstack([COLOURED, MASK])),
        png(MASK[:1, :1], 8, GREY),
        encoded(".jpg"),
        encoded(".jpg", COLOURED),
        encoded(".jpg", NOISE, cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
        encoded(".jpg", NOISE, cv2.IMWRITE_JPEG_RST_INTERVAL, 3),
        encoded(".jpg")[:-2] + b"\xff\xff\xff\xd9",  # markers may be filled up
    ],
)
def test_whole_pictures_are_read_as_opencv_reads_them(data: bytes) -> None:
    expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    for padded in (data, data + b"\n"):
        got = pixels(padded)
        np.testing.assert_array_equal(got, expected)
        assert got.dtype == expected.dtype


def test_parts_without_pixels_are_left_out_and_the_picture_is_the_same() -> None:
    whole = encoded(".png")
    texts = join_png((b"tEXt", b"a\0b"), (b"iCCP", b"x\0\0junk"), (b"acTL", bytes(8)), (b"zzZz", b""))[8:]
    np.testing.assert_array_equal(pixels(whole[:33] + texts + whole[33:-12] + texts + whole[-12:]), MASK)
    jpeg = encoded(".jpg")
    notes = segment(0xE1, b"Exif\0\0II*\0junk") + segment(0xFE, b"made by hand") + segment(0xE2, b"ICC_PROFILE\0junk")
    np.testing.assert_array_equal(pixels(jpeg[:2] + notes + jpeg[2:]), pixels(jpeg))


@pytest.mark.parametrize("kind", [".png", ".jpg"])
def test_a_truncated_picture_is_damaged_wherever_it_is_cut(kind: str, capfd) -> None:
    for data in (encoded(kind), encoded(kind, COLOURED)):
        assert {reason(data[:cut]) for cut in range(4, len(data))} == {"damaged image"}
    assert capfd.readouterr().err == ""  # a folder of them would flood the terminal


def test_a_png_without_all_of_its_parts_is_damaged() -> None:
    pixels = zlib.compress(bytes((1 + 160) * 120))
    half = zlib.compress(bytes((1 + 160) * 60))
    for chunks in (
        [header(160, 120), END],
        [header(160, 120), (b"IDAT", pixels[:-20]), END],
        [header(160, 120), (b"IDAT", half), END],
        [(b"IDAT", pixels), END],
        [header(160, 120), header(160, 120), (b"IDAT", pixels), END],
        [header(160, 120), (b"ABCD", b""), (b"IDAT", pixels), END],
        [header(160, 120, 255), (b"IDAT", pixels), END],
        [header(160, 120, colour=5), (b"IDAT", pixels), END],
        [header(0, 120), (b"IDAT", pixels), END],
        [(b"IHDR", b""), (b"IDAT", pixels), END],
        [END],
    ):
        assert reason(join_png(*chunks)) == "damaged image"


def test_one_altered_byte_anywhere_in_a_png_is_noticed() -> None:
    data = encoded(".png")
    for position in range(4, len(data)):
        altered = bytearray(data)
        altered[position] ^= 0x10
        assert reason(bytes(altered)) == "damaged image"


@pytest.mark.parametrize(
    ("data", "looks_like"),
    [
        (b"RIFF\x04\0\0\0WAVE", "a RIFF"),
        (b"GIF89a\x01\x00\x01\x00\x00\x00\x00;", "a GIF"),
        (encoded(".hdr", COLOURED.astype(np.float32)), "a Radiance HDR"),
        (encoded(".jp2"), "a JPEG 2000"),
        (encoded(".pgm"), "nothing known: 50 35"),
        (b"<?xml version='1.0'?><Error>", "HTML"),
        (b"PK\x03\x04", "a zip"),
        (bytes(5000), "zeros"),
        (b"\x80\x04\x95", "a pickle"),
        (b"\xff", "nothing known: ff"),
    ],
)
def test_other_types_are_refused_by_what_they_are(data: bytes, looks_like: str) -> None:
    with pytest.raises(Unreadable) as caught:
        pixels(data)
    assert caught.value.reason == "not a picture"
    assert looks_like in caught.value.detail and "PNG, JPEG, BMP, TIFF and WebP are read" in caught.value.detail


def test_empty_and_endless_files_have_reasons_of_their_own() -> None:
    assert reason(b"") == "empty file"
    assert reason(encoded(".png") + bytes(images.MAX_BYTES)) == "file too large"


@pytest.mark.parametrize(("width", "height"), [(4097, 4096), (2**31 - 1, 2**31 - 1), (65_536, 1), (1, 2**24)])
def test_size_is_judged_by_the_header_before_anything_else(width: int, height: int) -> None:
    assert reason(join_png(header(width, height))) == "picture too large"  # although nothing follows the header


def test_size_of_a_jpeg_is_judged_by_its_header() -> None:
    frame = struct.pack(">BHHB", 8, 65_535, 65_535, 1) + b"\x01\x11\x00"
    for marker in jpeg.FRAMES:
        assert reason(b"\xff\xd8" + segment(marker, frame)) == "picture too large"
    data = encoded(".jpg")
    at = data.index(b"\xff\xc0")
    assert reason(data[:at] + segment(0xC0, frame) + data[at:]) == "picture too large"
    assert reason(data[:at] + data[at : at + 13] + data[at:]) == "damaged image"  # two of them


@pytest.mark.parametrize(
    "segments",
    [
        b"",
        b"\xff",
        b"\xff\xd9",
        b"\xff\xe0\x00\x00",
        b"\xff\xe0\x00\x01",
        b"\xff\xe0\xff\xff",
        b"\xff\xc0\x00\x02\xff\xd9",
        b"\xff\xda\x00\x02\xff\xd9",
        b"\xff\x01\xff\xd9",
        b"\xff" * 100_000,
        b"\xff\xda\x00\x02" + b"\xff\x00" * 100_000,
        b"\xff\xfe\x00\x02" * 100_000,
    ],
)
def test_malformed_jpegs_are_refused(segments: bytes) -> None:
    assert reason(b"\xff\xd8" + segments) == "damaged image"


def deflated_zeros(gigabytes: int) -> bytes:
    """A zlib stream of zeros: one block of a megabyte, again and again."""
    packer = zlib.compressobj(9)
    start = packer.compress(bytes(2**20)) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(bytes(2**20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return start + block * (1024 * gigabytes)


def text_bomb() -> bytes:
    text = b"a\0\0" + zlib.compress(bytes(7 * 2**20), 9)
    return png(MASK, 8, GREY, *[(b"zTXt", text), (b"iTXt", b"a\0\1\0\0\0" + text[3:])] * 2000)


def pixel_bomb() -> bytes:
    return join_png(header(160, 120), (b"IDAT", deflated_zeros(50)), END)


def scan_bomb() -> bytes:
    tables = segment(0xDB, b"\0" + bytes([1] * 64)) + segment(0xC4, b"\x00\x01" + bytes(15) + b"\0")
    components = b"\x01\x11\x00\x02\x11\x00\x03\x11\x00"
    first, refining = (segment(0xDA, b"\x03\x01\x00\x02\x00\x03\x00\x00\x00" + bits) for bits in (b"\x01", b"\x10"))
    frame = segment(0xC2, struct.pack(">BHHB", 8, 4096, 4096, 3) + components)
    return b"\xff\xd8" + tables + frame + first + bytes(16) + (refining + b"\0\0") * 30_000 + b"\xff\xd9"


@pytest.mark.parametrize(
    ("bomb", "outcome"),
    [(text_bomb, "(120, 160)"), (pixel_bomb, "damaged image"), (scan_bomb, "damaged image")],
)
def test_bombs_take_neither_minutes_nor_gigabytes(bomb, outcome: str) -> None:
    script = """
import resource, sys
from datasets.formats import images
from datasets.schema.errors import Unreadable
data = sys.stdin.buffer.read()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    print(images.decode(data).pixels.shape)
except Unreadable as error:
    print(error.reason)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    done = subprocess.run([sys.executable, "-c", script], input=bomb(), capture_output=True, cwd=ROOT, timeout=30)
    seen, grown = done.stdout.decode().splitlines()
    assert seen == outcome
    assert int(grown) < 2**17, "more than 128 MB (of 1 kB each, on Linux)"


def test_a_large_picture_of_one_colour_is_not_a_bomb() -> None:
    assert not pixels(encoded(".png", np.zeros((4096, 4096), np.uint8))).any()
    assert not pixels(join_png(header(4096, 4096, 1), (b"IDAT", deflated(4096 * 513)), END)).any()
    assert reason(join_png(header(4096, 1), (b"IDAT", deflated(2**24)), END)) == "damaged image"


def deflated(count: int) -> bytes:
    """Zeros in a zlib stream, as many bytes as without it."""
    return zlib.compress(bytes(count), 0)


def test_an_interlaced_picture_is_whole_although_it_unpacks_to_more() -> None:
    values = NOISE[..., 0]
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    rows = [row for y, x, down, across in passes for row in values[y::down, x::across]]
    packed = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows), 0)
    got = pixels(join_png(header(400, 300, interlaced=1), (b"IDAT", packed), END))
    np.testing.assert_array_equal(got, values)


ON = MASK > 0
DARK_RED, WHITE, BLACK = (128, 0, 0), (255, 255, 255), (0, 0, 0)


def palette(*colours: tuple[int, int, int]) -> tuple[bytes, bytes]:
    return b"PLTE", bytes(value for colour in colours for value in colour)


@pytest.mark.parametrize(
    "data",
    [
        *(png(ON * (2**depth - 1), depth, GREY) for depth in (1, 2, 4, 8, 16)),
        *(png(ON * 1, depth, GREY) for depth in (1, 2, 4, 8, 16)),
        png(ON * 255, 16, GREY),
        *(png(ON * 1, depth, PALETTE, palette(BLACK, WHITE)) for depth in (1, 2, 4, 8)),
        png(1 - ON, 1, PALETTE, palette(WHITE, BLACK)),
        png(ON * 1, 8, PALETTE, palette(BLACK, (1, 1, 1))),
        *(png(ON * 1, 4, PALETTE, palette(BLACK, colour)) for colour in (DARK_RED, DARK_RED[::-1], (0, 200, 0))),
        png(ON * 1, 1, PALETTE, palette(BLACK, BLACK), (b"tRNS", b"\x00\xff")),
        png(np.repeat(ON[..., None] * 255, 3, axis=2), 8, RGB),
        png(np.repeat(ON[..., None] * 65535, 3, axis=2), 16, RGB),
        png(ON[..., None] * DARK_RED, 8, RGB),
        png(np.dstack([ON * 0, ON * 255]), 8, GREY_ALPHA),
        png(np.dstack([ON * 0 + 255, ON * 255]), 8, GREY_ALPHA),
        png(np.dstack([ON * 255, ON * 0 + 255]), 8, GREY_ALPHA),
        png(np.dstack([ON[..., None] * WHITE, ON * 0]), 8, RGBA),
        png(np.dstack([NOISE[:120, :160], ON * 255]), 8, RGBA),
        png(np.dstack([NOISE[:120, :160], ON * 255]) * 257, 16, RGBA),
    ],
)
def test_every_way_to_store_a_mask_in_a_png_gives_the_same_mask(data: bytes) -> None:
    np.testing.assert_array_equal(binary.from_image(pixels(data)).mask > 0, ON)


def test_grey_values_of_two_and_four_bits_are_spread() -> None:
    for depth in (2, 4):
        steps = np.arange(2**depth)[None]
        assert pixels(png(steps, depth, GREY)).tolist() == [np.linspace(0, 255, 2**depth).tolist()]


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """The data with a few bytes changed, doubled or missing; the checksums of a PNG are corrected."""
    data = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        at, length = int(rng.integers(2, len(data))), int(rng.integers(1, 9))
        kind = rng.integers(3)
        if kind == 0:
            data[at] = rng.integers(256)
        elif kind == 1:
            data[at:at] = data[at : at + length]
        else:
            del data[at : at + length]
    at = len(png_format.SIGNATURE)
    while data.startswith(b"\x89PNG") and at + 12 <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        data[end : end + 4] = zlib.crc32(data[at + 4 : end]).to_bytes(4, "big") if end + 4 <= len(data) else b""
        at = end + 4
    return bytes(data)


def test_altered_pictures_are_decoded_or_refused_with_a_reason(capfd) -> None:
    rng = np.random.default_rng(0)
    small = MASK[::4, ::4]
    seeds = [
        encoded(".png", small),
        encoded(".png", COLOURED[::4, ::4]),
        png((small > 0) * 1, 4, PALETTE, palette(BLACK, DARK_RED)),
        encoded(".jpg", small),
        encoded(".jpg", COLOURED[::4, ::4], cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
    ]
    outcomes = {"picture": 0, "reason": 0}
    for _ in range(800):
        for seed in seeds:
            try:
                image = pixels(mutated(seed, rng))
            except Unreadable:
                outcomes["reason"] += 1
                continue
            outcomes["picture"] += 1
            assert image.size and image.dtype in (np.uint8, np.uint16) and image.ndim in (2, 3)
    capfd.readouterr()  # libjpeg prints a warning for each
    assert min(outcomes.values()) > 100, outcomes
