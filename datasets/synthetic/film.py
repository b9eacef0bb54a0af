"""A walk as one fixed camera films it: who walks and how, to outlines in the picture and to silhouettes."""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from datasets.random_streams import stream
from datasets.synthetic import body, camera
from datasets.synthetic.body import Walker, make_walker

DRESSES = ("nm", "bg", "cl")  # normal, with a bag, in a coat
HEADING_SPREAD = 2.5  # degrees by which a walk misses the marked line (standard deviation)


@dataclass(frozen=True, kw_only=True)
class Shot:
    """One walk before one fixed camera, as far as the picture depends on it.

    Equal occasions give the same walk from every direction, as several cameras see it.
    """

    walker: Walker
    dress: str = "nm"  # nm, bg (a bag), cl (a coat) or bg+cl (both)
    azimuth: float = 90.0  # degrees as in CASIA-B: 0 towards the camera, 90 across the picture to the right, 180 away
    elevation: float = 0.0  # degrees of the camera above the horizon
    num_frames: int = 30
    fps: float = 25.0
    phase: float = 0.0  # radians of the gait cycle in the first frame; 0 is the right heel strike
    height: int = 240
    width: int = 320
    # The seed of all that differs between two walks of a person. None: no day-to-day variation, no segmentation noise.
    occasion: int | None = None

    def __post_init__(self) -> None:
        if not set(self.dress.split("+")) <= set(DRESSES):
            raise ValueError(f"dress {self.dress!r} is unknown: use one of {', '.join(DRESSES)}, or bg+cl")


@dataclass(frozen=True, eq=False)
class Outlines:
    """A filmed body before it is drawn.

    ellipses: the outline of each ellipsoid of the body in picture coordinates, float [T, corners, 2]. parts: of the
    body, each the convex hull of some of the ellipses.
    """

    ellipses: dict[str, np.ndarray]
    parts: list[tuple[str, ...]]


def outline(shot: Shot) -> Outlines:
    """Pose and dress the walker in each frame, and project the body into the picture."""
    walker, azimuth = shot.walker, shot.azimuth
    if shot.occasion is not None:
        walker = body.on_another_day(walker, shot.occasion)
        azimuth += HEADING_SPREAD * stream(shot.occasion, "walk/heading").standard_normal()
    posed = body.pose(walker, shot.phase + 2 * np.pi * walker.cadence / shot.fps * np.arange(shot.num_frames))
    worn = shot.dress.split("+")
    if "bg" in worn:
        body.carry_bag(posed, walker, shot.occasion or 0)
    if "cl" in worn:
        body.wear_coat(posed, walker, shot.occasion or 0)
    path = walker.speed * shot.num_frames / shot.fps
    view = np.deg2rad(azimuth), np.deg2rad(shot.elevation)
    return Outlines(camera.project(posed, path, *view, shot.height, shot.width), posed.parts)


def render(shot: Shot) -> np.ndarray:
    """The silhouettes of a shot: uint8 [num_frames, height, width] of 0 and 255."""
    outlines = outline(shot)
    frames = camera.fill(outlines.ellipses, outlines.parts, shot.height, shot.width)
    if shot.occasion is not None:
        camera.subtract_background(frames, outlines.ellipses, shot.occasion)
    return frames


@dataclass(frozen=True, kw_only=True)
class Walk:
    """One sequence: its names as in the release of its collection, and what its shot depends on.

    Walks of one `person` show one body, in any collection. Walks of one person on one `occasion` show one walk, filmed
    from several directions at once; on another occasion the person walks a little differently.
    """

    collection: str
    subject: str
    condition: str
    view: str
    person: str
    occasion: str
    azimuth: float  # degrees: 0 towards the camera, 90 across the picture to the right, 180 away
    elevation: float = 0.0  # degrees above the horizon
    dress: str = "nm"  # see `Shot`
    changes: Mapping[str, float] = field(default_factory=dict)  # added to properties of the walker
    size: tuple[int, int] = (240, 320)  # rows, columns
    absent: int = 0  # frames at the start, before the person is in view
    names: Mapping[str, str] = field(default_factory=dict)  # further fields of the paths of its release format


def shot_of(walk: Walk, *, num_frames: int, seed: int) -> Shot:
    """The shot of a walk: a function of its person, its occasion, its camera and the seed alone."""
    person = make_walker(_seed_of(seed, walk.person))
    occasion = _seed_of(seed, walk.person, walk.occasion)
    return Shot(
        walker=replace(person, **{name: getattr(person, name) + by for name, by in walk.changes.items()}),
        dress=walk.dress,
        azimuth=walk.azimuth,
        elevation=walk.elevation,
        num_frames=num_frames,
        phase=stream(occasion, "walk/phase").uniform(0, 2 * np.pi),
        height=walk.size[0],
        width=walk.size[1],
        occasion=occasion,
    )


def _seed_of(seed: int, *names: str) -> int:
    """A seed for what these names denote."""
    return zlib.crc32("/".join([str(seed), *names]).encode())
