"""What a trained encoder has to beat: embeddings that need no training, straight from the silhouettes.

They have the shape that `evaluation/retrieval.py` scores. This file does not know how masks are stored, aligned or cut.
"""

import numpy as np
from numpy.typing import NDArray


def gei(masks: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Gait energy image as an embedding of one part: the mean silhouette (Han and Bhanu, TPAMI 2006).

    All frames count alike; there is no search for whole gait cycles, so a walk of a few steps is slightly biased to the
    poses with which it begins and ends.

    Args:
        masks: [T, H, W] of 0 and 1, aligned silhouettes of one sequence.

    Returns:
        float32 [H * W, 1] in 0..1, row by row.

    Raises:
        ValueError: another shape, no frames, or values other than 0 and 1.
    """
    return _mean_silhouette(masks).reshape(-1, 1)


def gei_strips(masks: NDArray[np.uint8], parts: int = 16) -> NDArray[np.float32]:
    """Gait energy image cut into horizontal strips of equal height, each a part of the embedding.

    With the distance averaged over parts, every strip has the same weight, as the strips of horizontal pyramid pooling
    have (Fu et al., AAAI 2019); in the whole image the legs outweigh the head.

    Args:
        masks: [T, H, W] of 0 and 1, aligned silhouettes of one sequence.
        parts: number of strips; divides H.

    Returns:
        float32 [H / parts * W, parts] in 0..1; part 0 is the top strip.

    Raises:
        ValueError: as `gei`, or H is not a multiple of `parts`.
    """
    image = _mean_silhouette(masks)
    if parts < 1 or len(image) % parts:
        raise ValueError(f"cannot cut {len(image)} rows into {parts} strips of equal height")
    return np.ascontiguousarray(image.reshape(parts, -1).T)


def _mean_silhouette(masks: NDArray[np.uint8]) -> NDArray[np.float32]:
    """[T, H, W] -> float32 [H, W]."""
    if masks.ndim != 3 or 0 in masks.shape:
        raise ValueError(f"expected masks [T, H, W] with at least one frame, got {masks.shape}")
    if masks.max() > 1:
        raise ValueError(f"expected masks of 0 and 1, got values up to {masks.max()}")
    return masks.mean(axis=0, dtype=np.float32)
