"""Untrusted BMPs, TIFFs and WebPs: right pixels, reasons for the rest, and bounded time and memory."""

import io
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable

import cv2
import numpy as np
import pytest
from PIL import Image

from datasets.formats import images
from datasets.schema.errors import Unreadable
from orchestration.cluster.session import ROOT

GREY = np.zeros((45, 61), np.uint8)
cv2.ellipse(GREY, (25, 20), (8, 17), 10, 0, 360, 255, -1)
GREY[30:32, 40:50] = 90
COLOUR = np.dstack([GREY, GREY // 2, 255 - GREY])  # BGR
ALPHA = np.dstack([COLOUR, GREY])
WITH_ANOTHER = {"save_all": True, "append_images": [Image.fromarray(255 - GREY)]}
TIFFS = (None, "tiff_lzw", "tiff_adobe_deflate", "tiff_deflate", "packbits")


def reason(data: bytes) -> str:
    with pytest.raises(Unreadable) as caught:
        images.decode(data)
    return caught.value.reason


def saved(image: Image.Image, kind: str, **settings: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **settings)
    return file.getvalue()


def tiff(*entries: tuple[int, int, int, int], body: bytes = b"", order: str = "<") -> bytes:
    """A TIFF with these entries (tag, type, count, value), its body behind them."""
    packed = b"".join(struct.pack(f"{order}HHII", *one) for one in sorted(entries))
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, len(entries))
    return head + packed + bytes(4) + body


def plain(width: int, height: int, compression: int = 1, bits: int = 8, photometric: int = 1) -> list:
    fields = {256: width, 257: height, 258: bits, 259: compression, 262: photometric}
    return [(tag, 4, 1, value) for tag, value in fields.items()]


def palette_image() -> Image.Image:
    image = Image.fromarray((GREY > 0).astype(np.uint8), "P")
    image.putpalette([0, 0, 0, 10, 20, 200])
    return image


def bmp(bits: int, rows: np.ndarray, colours: bytes = b"", masks: bytes = b"", down: bool = False, size: int = 40):
    """A BMP of these packed rows [H, bytes], from the top."""
    height, width = rows.shape[0], rows.shape[1] * 8 // bits
    padded = np.pad(rows, ((0, 0), (0, -rows.shape[1] % 4)))
    body = (padded if down else padded[::-1]).tobytes()
    start = 14 + size + (len(masks) if size == 40 else 0) + len(colours)
    info = struct.pack("<iiHHIIiiII", width, -height if down else height, 1, bits, 3 * bool(masks), 0, 0, 0, 0, 0)
    info = struct.pack("<I", size) + info[:28] + struct.pack("<II", len(colours) // 4, 0) + masks
    info = info.ljust(size, b"\0")
    return b"BM" + struct.pack("<IHHI", start + len(body), 0, 0, start) + info + colours + body


BLACK_WHITE = bytes([0, 0, 0, 0, 255, 255, 255, 0])
ONES = (GREY[:, :56] > 0).astype(np.uint8)
BGRA_MASKS = struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
RGBA_MASKS = struct.pack("<IIII", 0xFF, 0xFF00, 0xFF0000, 0xFF000000)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (bmp(8, ONES, BLACK_WHITE), ONES * 255),  # Pillow 13 takes it for 1 bit a pixel
        (bmp(8, ONES, BLACK_WHITE, down=True), ONES * 255),
        (bmp(1, np.packbits(ONES, axis=1), BLACK_WHITE), ONES * 255),
        (bmp(1, np.packbits(1 - ONES, axis=1), bytes([255, 255, 255, 0, 0, 0, 0, 0])), ONES * 255),
        (bmp(4, ONES[:, ::2] << 4 | ONES[:, 1::2], BLACK_WHITE), ONES * 255),
        (bmp(8, ONES, bytes([0, 0, 0, 0, 9, 20, 200, 0])), ONES[..., None] * np.uint8([9, 20, 200])),
        (bmp(24, COLOUR.reshape(45, -1)[:, : 56 * 3]), COLOUR[:, :56]),
        (bmp(32, ALPHA.reshape(45, -1)), COLOUR),
        (bmp(32, ALPHA.reshape(45, -1), masks=BGRA_MASKS, size=108), ALPHA),
        (bmp(32, ALPHA[..., [2, 1, 0, 3]].reshape(45, -1), masks=RGBA_MASKS, size=124), ALPHA),
        (saved(Image.fromarray(GREY), "BMP"), GREY),
        (saved(Image.fromarray(GREY > 0), "BMP"), np.where(GREY > 0, 255, 0)),
        (saved(palette_image(), "BMP"), (GREY > 0)[..., None] * np.uint8([200, 20, 10])),
        (cv2.imencode(".bmp", COLOUR)[1].tobytes(), COLOUR),
    ],
)
def test_bmps_of_every_depth(data: bytes, expected: np.ndarray) -> None:
    for padded in (data, data + b"\n"):
        np.testing.assert_array_equal(images.decode(padded).pixels, expected)


@pytest.mark.parametrize("compression", TIFFS)
@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (Image.fromarray(GREY), GREY),
        (Image.fromarray(GREY > 0), np.where(GREY > 0, 255, 0)),
        (palette_image(), (GREY > 0)[..., None] * np.uint8([200, 20, 10])),
        (Image.fromarray(COLOUR[..., ::-1].copy()), COLOUR),
        (Image.fromarray(ALPHA[..., [2, 1, 0, 3]].copy()), ALPHA),
        (Image.fromarray(np.dstack([GREY, 255 - GREY]), "LA"), np.dstack([GREY, GREY, GREY, 255 - GREY])),
        (Image.fromarray(GREY.astype(np.uint16) * 257), GREY.astype(np.uint16) * 257),
        (Image.fromarray(GREY.astype(np.int32) * 1000), GREY.astype(np.int32) * 1000),
        (Image.fromarray(GREY.astype(np.float32) / 255), GREY.astype(np.float32) / 255),
    ],
    ids=["L", "1", "P", "RGB", "RGBA", "LA", "I;16", "I", "F"],
)
def test_tiffs_of_every_mode_and_compression(image: Image.Image, expected: np.ndarray, compression: str) -> None:
    got = images.decode(saved(image, "TIFF", compression=compression)).pixels
    np.testing.assert_array_equal(got, expected)
    assert got.dtype == expected.dtype or expected.dtype == np.int64


def test_tiffs_of_other_writers() -> None:
    for image in (GREY, COLOUR, ALPHA, GREY.astype(np.uint16) * 257):  # OpenCV: LZW with differences
        np.testing.assert_array_equal(images.decode(cv2.imencode(".tiff", image)[1].tobytes()).pixels, image)
    noise = np.random.default_rng(0).integers(0, 256, (300, 200), dtype=np.uint8)  # fills the table of LZW
    np.testing.assert_array_equal(images.decode(cv2.imencode(".tiff", noise)[1].tobytes()).pixels, noise)
    inverted = tiff(*plain(61, 45, photometric=0), (273, 4, 1, 200), (279, 4, 1, GREY.size), body=bytes(200))
    inverted = inverted[:200] + (255 - GREY).tobytes()  # white is 0
    np.testing.assert_array_equal(images.decode(inverted).pixels, GREY)


@pytest.mark.parametrize("order", "<>")
def test_a_tiff_in_tiles(order: str) -> None:
    wide = GREY.astype(np.uint16) * 257
    padded = np.pad(wide, ((0, 3), (0, 3)))
    tiles = [padded[y : y + 16, x : x + 32] for y in (0, 16, 32) for x in (0, 32)]
    steps = [np.diff(one, axis=1, prepend=np.zeros((16, 1), one.dtype)) for one in tiles]
    packed = [zlib.compress(one.astype(f"{order}u2").tobytes()) for one in steps]
    entries = [*plain(61, 45, 8, bits=16), (317, 4, 1, 2), (322, 4, 1, 32), (323, 4, 1, 16)]
    entries += [(324, 4, 6, 0), (325, 4, 6, 0)]
    at = len(tiff(*entries))
    starts = np.cumsum([at + 48] + [len(one) for one in packed])[:6]
    lists = struct.pack(f"{order}12I", *starts, *map(len, packed))
    entries[-2:] = [(324, 4, 6, at), (325, 4, 6, at + 24)]
    data = tiff(*entries, body=lists + b"".join(packed), order=order)
    np.testing.assert_array_equal(images.decode(data).pixels, wide)


@pytest.mark.parametrize("image", [GREY, COLOUR, ALPHA])
def test_webps_with_and_without_loss(image: np.ndarray) -> None:
    lossless = cv2.imencode(".webp", image, [cv2.IMWRITE_WEBP_QUALITY, 101])[1].tobytes()
    expected = np.dstack([image] * 3) if image.ndim == 2 else image
    seen = images.decode(lossless).pixels
    shown = np.ones(GREY.shape, bool) if image.ndim == 2 or image.shape[2] == 3 else GREY > 0
    np.testing.assert_array_equal(seen[shown], expected[shown])
    lossy = images.decode(cv2.imencode(".webp", image, [cv2.IMWRITE_WEBP_QUALITY, 90])[1].tobytes()).pixels
    assert lossy.shape == expected.shape


def test_what_a_webp_carries_beside_its_pixels_is_left_out() -> None:
    data = saved(Image.fromarray(GREY), "WEBP", lossless=True, icc_profile=b"junk" * 100, xmp=b"<x/>")
    np.testing.assert_array_equal(images.decode(data).pixels[..., 0], GREY)


@pytest.mark.parametrize(
    "data",
    [
        saved(Image.fromarray(GREY), "BMP"),
        *(saved(Image.fromarray(GREY), "TIFF", compression=compression) for compression in TIFFS),
        saved(Image.fromarray(GREY), "WEBP", lossless=True),
        saved(Image.fromarray(GREY), "WEBP"),
        saved(Image.fromarray(GREY), "WEBP", exif=b"Exif\0\0II*\0junk"),
    ],
)
def test_a_truncated_picture_is_damaged_wherever_it_is_cut(data: bytes, capfd) -> None:
    assert {reason(data[:cut]) for cut in range(12, len(data))} == {"damaged image"}
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("data", "detail"),
    [
        (saved(Image.fromarray(GREY), "WEBP", **WITH_ANOTHER), "animation"),
        (
            saved(Image.fromarray(GREY), "TIFF", save_all=True, append_images=[Image.fromarray(GREY)]),
            "several pictures",
        ),
        (saved(Image.fromarray(COLOUR).convert("CMYK"), "TIFF"), "colours of the kind CMYK"),
        (saved(Image.fromarray(COLOUR), "TIFF", compression="jpeg"), "compressed by JPEG"),
        (saved(Image.fromarray(GREY > 0), "TIFF", compression="group4"), "compressed by CCITT"),
        (saved(Image.fromarray(GREY), "TIFF", big_tiff=True), "BigTIFF"),
        (cv2.imencode(".tiff", GREY.astype(np.float64))[1].tobytes(), "64 bits"),
        (b"BM" + bytes(8) + struct.pack("<IIiiHHI", 54, 40, 4, 4, 1, 8, 1) + bytes(99), "run lengths"),
        (b"BM" + bytes(8) + struct.pack("<IIiiHHI", 54, 40, 4, 4, 1, 16, 0) + bytes(99), "16 bits"),
    ],
)
def test_kinds_that_are_not_read_are_named(data: bytes, detail: str) -> None:
    with pytest.raises(Unreadable) as caught:
        images.decode(data)
    assert caught.value.reason == "unsupported picture" and detail in caught.value.detail


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12\n", "Git LFS pointer"),
        (b"<!DOCTYPE html><html>404</html>", "HTML page"),
        (b"\xef\xbb\xbf \n<HTML lang=en>", "HTML page"),
    ],
)
def test_downloads_that_failed_are_called_that(data: bytes, expected: str) -> None:
    assert reason(data) == expected


@pytest.mark.parametrize(
    "header",
    [
        lambda w, h: tiff(*plain(w, h), (273, 4, 1, 8), (279, 4, 1, 1)),
        lambda w, h: b"BM" + bytes(8) + struct.pack("<IIiiHHI", 54, 40, w, h, 1, 8, 0) + bytes(99),
        lambda w, h: b"BM" + bytes(8) + struct.pack("<IIiiHHI", 54, 40, w, -h, 1, 8, 0) + bytes(99),
    ],
)
def test_size_is_judged_by_the_header(header: Callable[[int, int], bytes]) -> None:
    for width, height in ((4097, 4096), (65_536, 1), (2**31 - 1, 2**31 - 1)):
        assert reason(header(width, height)) == "picture too large"
    assert reason(header(0, 4)) == "damaged image"


def test_size_of_a_webp_is_judged_by_each_of_its_headers() -> None:
    small = saved(Image.fromarray(GREY), "WEBP", lossless=True)
    large = small[:21] + struct.pack("<I", 16_382 | 16_382 << 14) + small[25:]
    assert reason(large) == "picture too large"
    extended = b"VP8X" + struct.pack("<I", 10) + bytes(4) + b"\xff\xff\xff\xff\xff\xff"
    assert reason(b"RIFF" + struct.pack("<I", 22) + b"WEBP" + extended) == "picture too large"
    lossy = saved(Image.fromarray(GREY), "WEBP")
    assert reason(lossy[:26] + b"\xff\x3f\xff\x3f" + lossy[30:]) == "picture too large"


def tag_bomb() -> bytes:
    """65,000 tags that each point to all of a file of 1 MB: 65 GB, if they are loaded."""
    others = [(tag, 7, 2**18, 8) for tag in range(1000, 65_500)]
    return tiff(*plain(8, 8), (273, 4, 1, 8), (279, 4, 1, 64), *others, body=bytes(2**18))


def strip_bomb() -> bytes:
    """65,000 strips that each are the same 200 kB of deflated blocks without content."""
    empty = b"\x78\x9c" + b"\x00\x00\x00\xff\xff" * 40_000
    entries = [*plain(8, 65_000, 8), (278, 4, 1, 1), (273, 4, 65_000, 0), (279, 4, 65_000, 0)]
    at = len(tiff(*entries))
    lists = struct.pack("<I", at + 520_000) * 65_000 + struct.pack("<I", len(empty)) * 65_000
    placed = [*entries[:-2], (273, 4, 65_000, at), (279, 4, 65_000, at + 260_000)]
    return tiff(*placed, body=lists + empty)


def tile_bomb() -> bytes:
    entries = [*plain(8, 8, 5), (322, 4, 1, 40_000), (323, 4, 1, 40_000), (324, 4, 1, 8), (325, 4, 1, 100)]
    return tiff(*entries, body=bytes(1000))


@pytest.mark.parametrize(
    ("bomb", "outcome"), [(tag_bomb, "(8, 8)"), (strip_bomb, "damaged image"), (tile_bomb, "unsupported picture")]
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


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    data = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        at, length = int(rng.integers(2, min(len(data), 4000))), int(rng.integers(1, 9))
        kind = rng.integers(3)
        if kind == 0:
            data[at] = rng.integers(256)
        elif kind == 1:
            data[at:at] = data[at : at + length]
        else:
            del data[at : at + length]
    if data.startswith(b"RIFF"):
        data[4:8] = struct.pack("<I", len(data) - 8)
    return bytes(data)


def test_altered_pictures_are_decoded_or_refused_with_a_reason(capfd) -> None:
    rng = np.random.default_rng(0)
    small, colour = Image.fromarray(GREY[::3, ::3].copy()), Image.fromarray(COLOUR[::3, ::3].copy())
    seeds = [
        *(saved(image, kind) for image in (small, colour, small.convert("1")) for kind in ("BMP", "WEBP")),
        *(saved(image, "TIFF", compression=one) for image in (small, colour) for one in TIFFS),
        saved(colour, "WEBP", lossless=True),
        saved(palette_image(), "BMP"),
        saved(palette_image(), "TIFF"),
    ]
    outcomes = {"picture": 0, "reason": 0}
    for _ in range(150):
        for seed in seeds:
            try:
                pixels = images.decode(mutated(seed, rng)).pixels
            except Unreadable:
                outcomes["reason"] += 1
                continue
            outcomes["picture"] += 1
            assert pixels.size and pixels.ndim in (2, 3) and pixels.dtype.kind in "uif"
    assert capfd.readouterr() == ("", "")
    assert min(outcomes.values()) > 100, outcomes
