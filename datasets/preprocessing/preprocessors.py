"""How frames of each modality become masks on the canonical grid, of which contours are taken.

- `silhouette`: the body in a camera's picture, segmented by the owners of the collection (silhouettes.py).
- `lidar`: the points of a LiDAR, projected to a picture by the owners; coarser and with holes (silhouettes.py).
- `parsing`: a map of the parts of the body, which becomes the body cut between its parts (parsing.py).
- `skeleton`: 17 joints, which are drawn as limbs (skeletons.py).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from datasets.preprocessing import parsing, silhouettes, skeletons
from datasets.preprocessing.silhouettes import Normalised
from datasets.schema.rows import Modality


@dataclass(frozen=True, kw_only=True)
class Preprocessor:
    """The functions that preprocess frames of one modality. Each may raise ValueError for frames of something else.

    - `normalise`: a raw frame, as it was read, to a mask [G, G], or to none with a reason and a detail;
    - `to_plane`: an aligned frame [H, W] or [H, W, C] to [H, W];
    - `align`: all aligned frames of a sequence, [T, H, W], to masks [T, G, G]; None for a modality that is normalised
      whether its owners aligned it or not.
    """

    name: str  # of a sequence, in reasons of rejects
    frame_name: str  # of a frame, in reasons of rejects
    action: str  # what is done to raw frames, for messages
    normalise: Callable[[np.ndarray], Normalised]
    to_plane: Callable[[np.ndarray], np.ndarray] = silhouettes.one_channel
    align: Callable[[np.ndarray], np.ndarray] | None = None
    may_be_raw: bool = False  # whether releases are aligned is not published: frames of other sizes are raw


PREPROCESSORS: dict[Modality, Preprocessor] = {
    "silhouette": Preprocessor(
        name="silhouette",
        frame_name="mask",
        action="normalised",
        normalise=silhouettes.normalise_frame,
        align=silhouettes.aligned_masks,
    ),
    "lidar": Preprocessor(
        name="LiDAR silhouette",
        frame_name="mask",
        action="normalised",
        normalise=silhouettes.normalise_frame,
        align=silhouettes.aligned_masks,
        may_be_raw=True,
    ),
    "parsing": Preprocessor(
        name="parsing map",
        frame_name="parsing map",
        action="normalised",
        normalise=parsing.normalise,
        to_plane=parsing.to_labels,
        align=parsing.aligned_masks,
    ),
    "skeleton": Preprocessor(
        name="skeleton", frame_name="skeleton", action="drawn as limbs", normalise=skeletons.normalise
    ),
}
