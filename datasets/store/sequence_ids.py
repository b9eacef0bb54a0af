"""The ids of sequences, and how those of one walk in several modalities differ.

SUSTech1K/0000/00-nm/000           its silhouettes: the collection, and how its entry names the walk
SUSTech1K/0000/00-nm/000@lidar     the same walk, by the same sensor platform at the same time, seen by LiDAR
"""

import hashlib
import re
from collections.abc import Sequence

import numpy as np

from datasets.schema.rows import MODALITIES, Modality

_OTHERS = [modality for modality in MODALITIES if modality != "silhouette"]
_MARKED = re.compile(rf"@({'|'.join(_OTHERS)})\Z")


def id_of(collection: str, walk: str, modality: Modality) -> str:
    """The id of a walk in one modality. walk: as its path names it, and not `is_marked`."""
    return f"{collection}/{walk}" if modality == "silhouette" else f"{collection}/{walk}@{modality}"


def is_marked(walk: str) -> bool:
    """Whether the name of a walk ends like the ids of another modality, and would be ambiguous."""
    return _MARKED.search(walk) is not None


def walk_of(sequence_id: str) -> str:
    """The id without its modality: that of the silhouettes of the same walk."""
    return _MARKED.sub("", sequence_id)


def keys_of(sequence_ids: Sequence[str]) -> np.ndarray:
    """64 bits for each id, uint64 [n]: millions of them fit into any memory, and two ids share one only by accident."""
    hashes = [hashlib.blake2b(one.encode(), digest_size=8).digest() for one in sequence_ids]
    return np.frombuffer(b"".join(hashes), dtype=np.uint64)
