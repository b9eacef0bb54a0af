"""The joints of one body from an untrusted text file.

The text is JSON lists of numbers, or plain numbers between commas or spaces. datasets/preprocessing/skeletons.py draws
the joints.
"""

import json

import numpy as np

from datasets.formats.recognise import check_download
from datasets.schema.errors import Unreadable

JOINTS = 17  # in the order of COCO (Lin et al., Microsoft COCO, ECCV 2014): see datasets/preprocessing/skeletons.py
MAX_BYTES = 2**16  # of a file: 51 numbers take about 1,000


def decode(data: bytes) -> np.ndarray:
    """The joints in a file: float64 [17, 2] (x to the right and y down, in any unit) or [17, 3] (with a confidence).

    It reads JSON lists of the shapes that `as_joints` accepts, and text of as many numbers as these have. Raises
    Unreadable for anything else: `empty file`, `file too large`, `not joints`, `Git LFS
    pointer` or `HTML page`.
    """
    if not data.strip():
        raise Unreadable("empty file", f"{len(data)} bytes")
    check_download(data)
    if len(data) > MAX_BYTES:
        raise Unreadable("file too large", f"more than {MAX_BYTES} bytes")
    try:
        text = data.decode("ascii")
        if data.lstrip()[:1] in (b"[", b"{"):
            return as_joints(np.asarray(json.loads(text), dtype=np.float64))
        return as_joints(np.array([float(word) for word in text.replace(",", " ").split()]))
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise Unreadable(
            "not joints", f"{' '.join(str(error).split())[:80]}, in a file of {len(data)} bytes"
        ) from error


def as_joints(numbers: np.ndarray) -> np.ndarray:
    """Numbers of any plausible shape as joints, float64 [17, 2] or [17, 3].

    It accepts [17, 2] and [17, 3], the same behind axes of length 1, and a row of 34, 51 or 53 numbers; the first two
    of 53 are the size of the picture (Gait3D and GREW write them so). Raises Unreadable, `not joints`, for any other.
    """
    leading = next((axis for axis, side in enumerate(numbers.shape) if side > 1), 0)
    values: np.ndarray = numbers.reshape(numbers.shape[leading:])
    if values.shape == (2 + 3 * JOINTS,):
        values = values[2:]
    if values.shape in ((2 * JOINTS,), (3 * JOINTS,)):
        values = values.reshape(JOINTS, -1)
    if values.shape not in ((JOINTS, 2), (JOINTS, 3)):
        raise Unreadable("not joints", f"numbers of shape {list(numbers.shape)} instead of [17, 2] or [17, 3]")
    return values.astype(np.float64)
