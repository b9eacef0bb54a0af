"""A walk in each modality: silhouettes, what a LiDAR sees, a map of the body parts, a skeleton.

All are made from one shot, so that one walk in two modalities shows the same steps.
"""

from collections.abc import Callable

import numpy as np

from datasets.random_streams import stream
from datasets.schema.rows import Modality
from datasets.synthetic import camera
from datasets.synthetic.film import Shot, Walk, outline, render, shot_of

LIDAR_EVERY = 3  # frames of the camera for one of the LiDAR: 10 and 30 a second
LIDAR_CELLS = 80  # rows of beams over the height of the picture: 4 cm apart at the person, as 0.2 degrees at 11 m
LIDAR_LOST = 0.08  # share of the beams without a return

# Number of a body part by the beginning of the names of its ellipsoids; the first that fits counts.
PARTS = {"head": 1, "hat": 1, "hood": 1, "neck": 1, "bag": 9, "elbow": 3, "hand": 3, "toe": 7, "knee": 5, "calf": 5}
TRUNK = 2  # everything else; of arms (3), legs (5) and feet (7) the right ones have the next number

JOINTS = ("nose", "eye", "ear", "shoulder", "elbow", "hand", "hip", "knee", "ankle")  # of COCO, the left one first
JITTER = 0.004  # standard deviation of a joint's coordinates, as a share of the picture's height
JOINTS_LOST = 0.015  # share of the joints that are anywhere in the picture, with low confidence


def see(walk: Walk, modality: Modality, *, num_frames: int, seed: int) -> np.ndarray:
    """A walk in one modality, a function of the arguments alone.

    Silhouettes and LiDAR: uint8 [T, *size] of 0 and 255. Parsing: uint8 [T, *size], the number of a part or 0.
    Skeletons: float32 [T, 17, 3], x, y and confidence. T is num_frames, for LiDAR one in LIDAR_EVERY of them. Where the
    person is not in view, frames are zero.
    """
    frames = _OBSERVED[modality](shot_of(walk, num_frames=num_frames, seed=seed))
    absent = -(-walk.absent // LIDAR_EVERY) if modality == "lidar" else walk.absent
    frames[:absent] = 0
    return frames


def _lidar(shot: Shot) -> np.ndarray:
    """A grid of beams; each beam that hits the body and returns fills its cell."""
    cell, outlines = max(shot.height // LIDAR_CELLS, 1), outline(shot)
    ellipses = {name: one[::LIDAR_EVERY] for name, one in outlines.ellipses.items()}
    body = camera.fill(ellipses, outlines.parts, shot.height, shot.width)
    hits = body[:, cell // 2 :: cell, cell // 2 :: cell]
    hits = hits * (stream(shot.occasion or 0, "lidar/lost").random(hits.shape) >= LIDAR_LOST)
    return hits.astype(np.uint8).repeat(cell, axis=1).repeat(cell, axis=2)[:, : shot.height, : shot.width]


def _parsing(shot: Shot) -> np.ndarray:
    """Parts drawn over each other, from the farthest to the nearest."""
    near, outlines = "left" if np.sin(np.deg2rad(shot.azimuth)) < 0 else "right", outline(shot)
    frames = np.zeros((shot.num_frames, shot.height, shot.width), np.uint8)
    for part in sorted(outlines.parts, key=lambda part: _nearness(part, near)):
        shape = camera.fill(outlines.ellipses, [part], shot.height, shot.width)
        frames[shape > 0] = part_number(part)
    return frames


def _skeleton(shot: Shot) -> np.ndarray:
    """Joints as a pose estimator gives them: with jitter, and some of them lost."""
    names = [JOINTS[0], *(f"{joint}_{side}" for joint in JOINTS[1:] for side in ("left", "right"))]
    ellipses, occasion = outline(shot).ellipses, shot.occasion or 0
    joints = np.stack([ellipses[name].mean(axis=1) for name in names], axis=1)
    joints += JITTER * shot.height * stream(occasion, "skeleton/jitter").standard_normal(joints.shape)
    confidence = stream(occasion, "skeleton/confidence").uniform(0.6, 0.98, joints.shape[:2])
    lost = stream(occasion, "skeleton/lost").random(confidence.shape) < JOINTS_LOST
    elsewhere = stream(occasion, "skeleton/elsewhere").uniform(0, (shot.width, shot.height), joints.shape)
    joints[lost] = elsewhere[lost]
    confidence[lost] = 0.1
    return np.concatenate([joints, confidence[..., None]], axis=2).astype(np.float32)


_OBSERVED: dict[Modality, Callable[[Shot], np.ndarray]] = {
    "silhouette": render,
    "lidar": _lidar,
    "parsing": _parsing,
    "skeleton": _skeleton,
}


def part_number(part: tuple[str, ...]) -> int:
    """The number of a body part in a parsing map, by the names of its ellipsoids."""
    number = next((number for start, number in PARTS.items() for name in part if name.startswith(start)), TRUNK)
    if any(name.startswith(("chest", "pelvis", "waist")) for name in part):
        number = TRUNK
    return number + (number in (3, 5, 7) and part[0].endswith("right"))


def _nearness(part: tuple[str, ...], near: str) -> int:
    """The order in which parts are drawn: far arm, far leg, near leg, bag, trunk, head, near arm."""
    number, side = part_number(part), part[0].endswith(near)
    if number in (3, 4):
        return 6 if side else 0
    if number in (5, 6, 7, 8):
        return 2 if side else 1
    return {9: 3, TRUNK: 4, 1: 5}[number]
