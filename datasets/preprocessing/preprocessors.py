"""How frames of each modality become masks on the canonical grid, of which contours are taken.

- `silhouette`: the body in a camera's picture, segmented by the owners of the collection (silhouettes.py).
- `lidar`: the points of a LiDAR, projected to a picture by the owners; coarser and with holes (silhouettes.py).
- `parsing`: a map of the parts of the body, which becomes the body cut between its parts (parsing.py).
- `skeleton`: 17 joints, which are drawn as limbs (skeletons.py).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from datasets.preprocessing import parsing, silhouettes, skeletons
from datasets.preprocessing.silhouettes import Aligned, Normalised
from datasets.schema.rows import Modality


@dataclass(frozen=True, kw_only=True)
class Preprocessor:
    """The functions that preprocess frames of one modality. Each may raise ValueError for frames of something else.

    - `normalise`: a raw frame, as it was read, to a mask [G, G], or to none with a reason and a detail;
    - `align`: all aligned frames of a sequence, of one size, to masks [T, G, G]; None for a modality that is normalised
      whether its owners aligned it or not.
    """

    name: str  # of a sequence, in reasons of rejects
    frame_name: str  # of a frame, in reasons of rejects
    action: str  # what is done to raw frames, for messages
    normalise: Callable[[np.ndarray], Normalised]
    align: Callable[[Sequence[np.ndarray]], Aligned] | None = None
    inverse: "Preprocessor | None" = None  # of frames whose body is darker than the background


def _of_masks(name: str, inverted: bool) -> Preprocessor:
    return Preprocessor(
        name=name,
        frame_name="mask",
        action="normalised",
        normalise=partial(silhouettes.normalise_frame, inverted=inverted),
        align=partial(silhouettes.aligned_masks, inverted=inverted),
        inverse=None if inverted else _of_masks(name, inverted=True),
    )


PREPROCESSORS: dict[Modality, Preprocessor] = {
    "silhouette": _of_masks("silhouette", inverted=False),
    "lidar": _of_masks("LiDAR silhouette", inverted=False),
    "parsing": Preprocessor(
        name="parsing map",
        frame_name="parsing map",
        action="normalised",
        normalise=parsing.normalise,
        align=parsing.aligned_masks,
    ),
    "skeleton": Preprocessor(
        name="skeleton", frame_name="skeleton", action="drawn as limbs", normalise=skeletons.normalise
    ),
}


def preprocessor_of(modality: Modality, inverted: bool = False) -> Preprocessor:
    """The preprocessor of a modality. inverted: bodies are darker than the background, of silhouettes."""
    usual = PREPROCESSORS[modality]
    if not inverted:
        return usual
    assert usual.inverse is not None, f"{usual.name} has no background that could be bright"
    return usual.inverse
