"""One walk of a synthetic walker as a collection has it: its names, whose body it is, and what the camera shows.

This file knows what a film depends on; it knows no collection (datasets/synthetic/casts.py) and no file
(datasets/synthetic/trees.py).
"""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from datasets.random_streams import stream
from datasets.synthetic.body import film_walk, make_walker, render_walk


@dataclass(frozen=True, kw_only=True)
class Walk:
    """One sequence to be filmed: its names, as the owners of the collection give them, and what is in the picture.

    Walks of one `person` show one body, whichever the collection. Walks of one person on one `occasion` show one walk,
    filmed from several sides at once; on another occasion the person walks a little differently.
    """

    collection: str
    subject: str
    condition: str
    view: str
    person: str
    occasion: str
    azimuth: float  # degrees: 0 towards the camera, 90 across the picture to the right, 180 away
    elevation: float = 0.0  # degrees above the horizon
    dress: str = "nm"  # nm, bg, cl or bg+cl: see `render_walk`
    changes: Mapping[str, float] = field(default_factory=dict)  # added to properties of the walker
    size: tuple[int, int] = (240, 320)  # rows, columns
    absent: int = 0  # frames at the start, before the person is in view
    names: Mapping[str, str] = field(default_factory=dict)  # further names that paths on disk are made of


@dataclass(frozen=True, eq=False)
class Filmed:
    """A walk before it is drawn: see `film_walk`. occasion: the seed of what is random about the drawing."""

    outlines: dict[str, np.ndarray]
    parts: list[tuple[str, ...]]
    occasion: int


def film(walk: Walk, *, num_frames: int, seed: int) -> np.ndarray:
    """The frames of a walk, uint8 [num_frames, *size] of 0 and 255; they depend on it and the seed alone."""
    frames = render_walk(**_scene(walk, num_frames, seed))
    frames[: walk.absent] = 0
    return frames


def film_body(walk: Walk, *, num_frames: int, seed: int) -> Filmed:
    """The same walk, step by step and from the same side, as its outlines."""
    scene = _scene(walk, num_frames, seed)
    return Filmed(*film_walk(**scene), scene["occasion"])


def _scene(walk: Walk, num_frames: int, seed: int) -> dict[str, object]:
    """Who walks, how and before which camera, as `render_walk` takes it."""
    person = make_walker(_seed_of(seed, walk.person))
    changed = {name: getattr(person, name) + by for name, by in walk.changes.items()}
    occasion = _seed_of(seed, walk.person, walk.occasion)
    return {
        "walker": replace(person, **changed),
        "condition": walk.dress,
        "azimuth": walk.azimuth,
        "elevation": walk.elevation,
        "num_frames": num_frames,
        "phase": stream(occasion, "walk/phase").uniform(0, 2 * np.pi),
        "height": walk.size[0],
        "width": walk.size[1],
        "occasion": occasion,
    }


def _seed_of(seed: int, *names: str) -> int:
    """A seed for what these names denote, whatever else is drawn beside it."""
    return zlib.crc32("/".join([str(seed), *names]).encode())
