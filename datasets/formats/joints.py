"""The joints of one body from a text file that nobody should trust, or the reason why there are none.

Two kinds of file are read: JSON, as lists of numbers, and plain numbers between commas or spaces. Bytes in, an array
out: nothing here knows files or collections, and what is drawn of joints is said in
datasets/preprocessing/skeletons.py.
"""

import json

import numpy as np

from datasets.schema.errors import Unreadable

JOINTS = 17  # in the order of COCO (Lin et al., Microsoft COCO, ECCV 2014): see datasets/preprocessing/skeletons.py
MAX_BYTES = 2**16  # of a file: 51 numbers take about 1,000


def decode(data: bytes) -> np.ndarray:
    """The joints in a file: float64 [17, 2] (x to the right and y down, in any unit) or [17, 3] (with a confidence).

    Read are JSON lists of the shapes that `as_joints` knows, and text of as many numbers as they have. Unreadable
    otherwise: `empty file`, `file too large`, `not joints`.
    """
    if not data.strip():
        raise Unreadable("empty file", f"{len(data)} bytes")
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
    """Numbers of any plausible shape as joints [17, 2] or [17, 3]; Unreadable with `not joints` for others.

    Shapes are [17, 2] and [17, 3], the same with axes of length 1 before them, and a row of 34, of 51, or of 53
    numbers, of which the first two are the size of the picture (Gait3D and GREW write them so).
    """
    values = numbers.reshape(numbers.shape[next((i for i, side in enumerate(numbers.shape) if side > 1), 0) :])
    if values.shape == (2 + 3 * JOINTS,):
        values = values[2:]
    if values.shape in ((2 * JOINTS,), (3 * JOINTS,)):
        values = values.reshape(JOINTS, -1)
    if values.shape not in ((JOINTS, 2), (JOINTS, 3)):
        raise Unreadable("not joints", f"numbers of shape {list(numbers.shape)} instead of [17, 2] or [17, 3]")
    return values.astype(np.float64)
