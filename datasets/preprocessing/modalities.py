"""What a frame of each modality becomes before its contours are taken: a mask on the canonical grid.

- `silhouette`: the body as a camera sees it, segmented by the collection's owners
(datasets/preprocessing/silhouettes.py).
- `lidar`: the points of a LiDAR, projected to a picture by the owners. Coarser and with holes, and otherwise a mask.
- `parsing`: a map of the parts of the body, which becomes the body cut between them
(datasets/preprocessing/parsing.py).
- `skeleton`: 17 joints, which become limbs (datasets/preprocessing/skeletons.py).

This file joins the three; it knows nothing of files or of collections.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from datasets.preprocessing import parsing, silhouettes, skeletons
from datasets.preprocessing.silhouettes import Normalised
from datasets.schema.rows import Modality


@dataclass(frozen=True, kw_only=True)
class Forms:
    """How one modality is read. Each function may raise ValueError for what is nothing of its kind.

    normalise: a raw frame as it was read to a mask [G, G], or None with a reason and a detail. one: an aligned frame
    [H, W] or [H, W, C] to [H, W], and aligned: all of them, [T, H, W], to masks [T, G, G].
    """

    name: str  # in the reasons of rejects
    frame: str  # the same, of one frame
    how: str  # what is done to raw frames, for messages
    normalise: Callable[[np.ndarray], Normalised]
    one: Callable[[np.ndarray], np.ndarray] = silhouettes.one_channel
    aligned: Callable[[np.ndarray], np.ndarray] | None = None  # None where aligned or not makes no difference
    perhaps_raw: bool = False  # what is not of an aligned size is taken as raw, since nobody says how it was released


FORMS: dict[Modality, Forms] = {
    "silhouette": Forms(
        name="silhouette",
        frame="mask",
        how="normalised",
        normalise=silhouettes.normalise_frame,
        aligned=silhouettes.aligned_masks,
    ),
    "lidar": Forms(
        name="LiDAR silhouette",
        frame="mask",
        how="normalised",
        normalise=silhouettes.normalise_frame,
        aligned=silhouettes.aligned_masks,
        perhaps_raw=True,
    ),
    "parsing": Forms(
        name="parsing map",
        frame="parsing map",
        how="normalised",
        normalise=parsing.normalise,
        one=parsing.one_label,
        aligned=parsing.aligned,
    ),
    "skeleton": Forms(name="skeleton", frame="skeleton", how="drawn as limbs", normalise=skeletons.normalise),
}
