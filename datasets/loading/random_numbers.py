"""The random numbers of training clips, counted and not drawn one after the other.

Each clip has a row of numbers, uniform in [0, 1), with a place for each decision that is made about it. A number is a
function of the seed, the step, the place in the global batch and the column alone (Philox, Salmon et al., 2011), so
that any part of a step can be had without the rest, and a setting changes no decision but its own.
"""

import numpy as np

# Columns: one number that is compared with a probability or scaled to a range, or several.
START, PARTNER, AFFINE, PERSPECTIVE, FLIP, DILATE, BLUR, ERASE, COAT, BAG = range(10)
CORNERS = slice(10, 22)
QUAD = slice(22, 26)
DILATED = slice(26, 29)
BLURRED = slice(29, 31)
ERASED = slice(31, 32)
WORN = slice(32, 36)
CARRIED = slice(36, 40)
WINDOW = slice(40, None)  # one for each frame that a clip is chosen from
BRANCHES = 2  # query and key

_CLIPS = 2  # what this stream is for; datasets/loading/sampler.py uses 0, 1 and 3
_BLOCK = 4  # numbers that Philox draws at a time


def of_pairs(seed: int, step: int, first: int, count: int, window: int) -> np.ndarray:
    """The numbers of places first..first+count-1 of a step, for clips out of `window` frames: [count, 2, columns]."""
    columns = WINDOW.start + window + window % 2  # so that a pair takes whole blocks
    begin = first * BRANCHES * columns // _BLOCK
    stream = np.random.Philox(key=np.array([seed, _CLIPS], np.uint64), counter=np.array([begin, step, 0, 0], np.uint64))
    return np.random.Generator(stream).random((count, BRANCHES, columns))
