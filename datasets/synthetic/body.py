"""The bodies of synthetic walkers: how people are built, how they walk, and what they wear, in three dimensions.

Everything is a pure function of settings and seeds; each random property has a stream of its own, so that a new one
changes nobody (datasets/random_streams.py).

Frame of reference, in metres: x points where the person walks, y to their left, z up; the origin is on the floor.
"""

from dataclasses import dataclass, field, fields, replace
from functools import lru_cache
from itertools import pairwise

import numpy as np

from datasets.random_streams import stream

# Standard deviation between two walks of one person, as a share of the population's range. Chosen so that gait energy
# images recognise people about as well as on CASIA-B (docs/measurements.md); larger values make recognition harder.
DAY_TO_DAY = 0.10

# Flexion of the right leg over one gait cycle from heel strike, in degrees: the mean, then (cos, sin) of each harmonic.
# Fourier terms of the curves of level walking in Winter, Biomechanics and Motor Control of Human Movement.
Curve = tuple[float, *tuple[tuple[float, float], ...]]
HIP: Curve = (13.4, (19.5, -3.0), (-3.0, -2.7))
KNEE: Curve = (23.3, (-2.8, -20.2), (-13.3, 6.2), (-1.2, 3.7))
ANKLE: Curve = (-0.3, (-0.3, 5.8), (0.2, -6.9), (-1.8, 1.6))
SIDES = (("right", -1.0, 0.0), ("left", 1.0, np.pi))  # name, sign of y, lead in the gait cycle in radians


@dataclass
class Body:
    """A posed body as ellipsoids with axes along x, y, z; each part is the convex hull of some of them."""

    centres: dict[str, np.ndarray] = field(default_factory=dict)  # [T, 3] metres
    radii: dict[str, tuple[float, float, float]] = field(default_factory=dict)  # metres along x, y, z
    parts: list[tuple[str, ...]] = field(default_factory=list)

    def add(self, name: str, centre: np.ndarray, *radii: float) -> None:
        """Put an ellipsoid at `centre` [T, 3]; one radius makes a sphere."""
        self.centres[name] = centre
        along_x, along_y, along_z = radii if len(radii) == 3 else 3 * radii
        self.radii[name] = (along_x, along_y, along_z)


def _drawn(low: float, high: float) -> float:
    """A dataclass field, uniform between `low` and `high` over the population."""
    return field(metadata={"range": (low, high)})


@dataclass(frozen=True, kw_only=True)
class Walker:
    """One person: proportions and manner of walking."""

    height: float = _drawn(1.52, 1.92)  # metres
    leg_ratio: float = _drawn(0.485, 0.545)  # height of the hip joint / height
    shoulder_width: float = _drawn(0.195, 0.255)  # distance of the shoulder joints / height
    hip_width: float = _drawn(0.09, 0.125)  # distance of the hip joints / height
    girth: float = _drawn(0.85, 1.35)  # factor on the depth and width of the trunk
    head_size: float = _drawn(0.9, 1.15)  # factor
    limb_thickness: float = _drawn(0.9, 1.3)  # factor, clothes included
    stride: float = _drawn(0.75, 1.15)  # factor on the swing of the hips
    cadence: float = _drawn(0.78, 1.05)  # gait cycles (two steps) a second
    knee_flexion: float = _drawn(0.8, 1.2)  # factor on the bending of the knees
    arm_swing: float = _drawn(8, 32)  # degrees to either side
    elbow_flexion: float = _drawn(5, 40)  # degrees, mean
    trunk_lean: float = _drawn(-2, 9)  # degrees forward
    head_posture: float = _drawn(-5, 35)  # degrees forward, relative to the trunk
    asymmetry: float = _drawn(-0.15, 0.15)  # the right side moves by 1 + this, the left by 1 - this
    toe_out: float = _drawn(0, 20)  # degrees
    # Not drawn: signs of illness, for tests that plant them.
    trunk_tilt: float = 0.0  # degrees to the left
    shoulder_tilt: float = 0.0  # degrees, the left shoulder higher

    @property
    def speed(self) -> float:
        """Metres a second."""
        return 1.5 * self.height * self.leg_ratio * self.stride * self.cadence


DRAWN = tuple(prop for prop in fields(Walker) if prop.metadata)


@lru_cache(maxsize=1024)  # a collection has many walks of a person
def make_walker(subject_seed: int) -> Walker:
    """Draw a person from the population."""
    drawn = {prop.name: stream(subject_seed, f"walker/{prop.name}").uniform(*prop.metadata["range"]) for prop in DRAWN}
    return Walker(**drawn)


@lru_cache(maxsize=1024)  # several cameras see a walk
def on_another_day(walker: Walker, occasion: int) -> Walker:
    """The same person on one occasion: every property varies a little from walk to walk."""
    changed = {}
    for prop in DRAWN:
        low, high = prop.metadata["range"]
        off = stream(occasion, f"walk/{prop.name}").standard_normal()
        changed[prop.name] = getattr(walker, prop.name) + DAY_TO_DAY * (high - low) * off
    return replace(walker, **changed)


def _curve(terms: Curve, phase: np.ndarray) -> np.ndarray:
    """The deviation of a joint angle from its mean [T], radians."""
    harmonics = enumerate(terms[1:], start=1)
    return np.deg2rad(sum(c * np.cos(k * phase) + s * np.sin(k * phase) for k, (c, s) in harmonics))


def _reach(length: float, angle: np.ndarray, outward: float = 0.0) -> np.ndarray:
    """A limb of `length` swung forward by `angle` [T] from hanging; `outward` is its slope to the left: [T, 3]."""
    return length * np.stack([np.sin(angle), np.full_like(angle, outward), -np.cos(angle)], axis=-1)


def pose(walker: Walker, phase: np.ndarray) -> Body:
    """The body at each phase [T] of the gait cycle, its lower foot on the floor."""
    body, h = Body(), walker.height
    sway = 0.012 * h * np.sin(phase)
    pelvis = np.stack([np.zeros_like(phase), -sway, np.zeros_like(phase)], axis=-1)
    for side, sign, offset in SIDES:
        _pose_leg(body, walker, side, sign, pelvis, phase + offset)
    lean = np.deg2rad(walker.trunk_lean + 1.5 * np.cos(2 * phase))
    neck = pelvis + (0.825 - walker.leg_ratio) * h * _reach(-1.0, -lean, -np.tan(np.deg2rad(walker.trunk_tilt)))
    for side, sign, offset in SIDES:
        _pose_arm(body, walker, side, sign, neck, phase + offset)
    g, up = walker.girth * h, np.array([0.0, 0.0, h])
    body.add("pelvis", pelvis + 0.025 * up, 0.060 * g, 0.5 * walker.hip_width * h + 0.038 * g, 0.07 * h)
    body.add("waist", pelvis + 0.4 * (neck - pelvis), 0.056 * g, 0.078 * g, 0.08 * h)
    body.add("chest", pelvis + 0.72 * (neck - pelvis), 0.066 * g, 0.35 * walker.shoulder_width * h + 0.02 * g, 0.09 * h)
    size, nod = walker.head_size * h, lean + np.deg2rad(walker.head_posture)
    head = neck + 0.105 * h * _reach(-1.0, -nod)
    body.add("neck", neck + 0.01 * up, 0.033 * h)
    body.add("head", head, 0.058 * size, 0.048 * size, 0.068 * size)
    _mark_face(body, head, nod, size)
    body.parts += [("pelvis", "waist"), ("waist", "chest"), ("neck", "head")]
    body.parts += [("chest", "shoulder_left", "shoulder_right", "neck")]
    soles = [name + side for name in ("heel_", "toe_") for side in ("left", "right")]
    floor = np.min([body.centres[name][:, 2] - body.radii[name][2] for name in soles], axis=0)
    for centre in body.centres.values():
        centre[:, 2] -= floor
    return body


def _mark_face(body: Body, head: np.ndarray, nod: np.ndarray, size: float) -> None:
    """Add points of the face in the head [T, 3], for skeletons; they belong to no part, so they are not drawn."""
    ahead, up = _reach(-1.0, -nod - np.pi / 2), _reach(-1.0, -nod)
    aside = np.array([0.0, 1.0, 0.0])
    body.add("nose", head + 0.050 * size * ahead, 0.001 * size)
    for side, sign, _ in SIDES:
        body.add("eye_" + side, head + size * (0.042 * ahead + 0.018 * sign * aside + 0.014 * up), 0.001 * size)
        body.add("ear_" + side, head + 0.044 * size * sign * aside, 0.001 * size)


def _pose_leg(body: Body, walker: Walker, side: str, sign: float, pelvis: np.ndarray, phase: np.ndarray) -> None:
    """Add a leg. phase: [T], of this leg. pelvis: [T, 3], the middle between the hip joints."""
    h, thick = walker.height, walker.limb_thickness * walker.height
    effort = walker.stride * (1 - sign * walker.asymmetry)
    hip_angle = np.deg2rad(HIP[0] - 3.0) + effort * _curve(HIP, phase)
    knee_angle = np.deg2rad(KNEE[0]) + walker.knee_flexion * (1 - sign * walker.asymmetry) * _curve(KNEE, phase)
    shank_angle = hip_angle - np.maximum(knee_angle, 0.03)
    leg = (walker.leg_ratio - 0.04) * h
    half = 0.5 * walker.hip_width * h
    turn = np.deg2rad(5.0) * np.cos(phase)  # the pelvis follows the leg that is in front
    hip = pelvis + np.stack([half * np.sin(turn), sign * half * np.cos(turn), np.zeros_like(phase)], axis=-1)
    knee = hip + _reach(0.5 * leg, hip_angle, -0.035 * sign)
    ankle = knee + _reach(0.5 * leg, shank_angle, -0.035 * sign)
    pitch = shank_angle + np.deg2rad(ANKLE[0]) + _curve(ANKLE, phase)
    out = sign * np.deg2rad(walker.toe_out)
    ahead = np.stack([np.cos(pitch) * np.cos(out), np.cos(pitch) * np.sin(out), np.sin(pitch)], axis=-1)
    below = np.stack([np.sin(pitch), np.zeros_like(pitch), -np.cos(pitch)], axis=-1)
    body.add("hip_" + side, hip, 0.052 * thick)
    body.add("knee_" + side, knee, 0.033 * thick)
    body.add("calf_" + side, knee + 0.3 * (ankle - knee), 0.033 * thick)
    body.add("ankle_" + side, ankle, 0.023 * thick)
    body.add("heel_" + side, ankle - 0.025 * h * ahead + 0.022 * h * below, 0.018 * h)
    body.add("toe_" + side, ankle + 0.105 * h * ahead + 0.027 * h * below, 0.013 * h)
    joints = ("hip_", "knee_", "calf_", "ankle_", "heel_")
    body.parts += [(a + side, b + side) for a, b in pairwise(joints)]
    body.parts += [("ankle_" + side, "heel_" + side, "toe_" + side)]


def _pose_arm(body: Body, walker: Walker, side: str, sign: float, neck: np.ndarray, phase: np.ndarray) -> None:
    """Add an arm. phase: [T], of the leg of the same side. neck: [T, 3], the top of the trunk."""
    h, thick = walker.height, walker.limb_thickness * walker.height
    effort = 1 - 2 * sign * walker.asymmetry
    swing = np.deg2rad(-walker.arm_swing) * effort * np.cos(phase)  # against the leg of the same side
    bend = np.deg2rad(walker.elbow_flexion) * (1 - 0.5 * np.cos(phase))
    turn, half = -0.35 * np.deg2rad(walker.arm_swing) * np.cos(phase), 0.5 * walker.shoulder_width * h
    drop = -0.045 * h + sign * half * np.sin(np.deg2rad(walker.shoulder_tilt))
    joint = np.stack([half * np.sin(turn), sign * half * np.cos(turn), np.full_like(turn, drop)], axis=-1)
    shoulder = neck + joint
    elbow = shoulder + _reach(0.175 * h, swing - 0.05, 0.10 * sign)
    hand = elbow + _reach(0.205 * h, swing - 0.05 + bend, 0.02 * sign)
    body.add("shoulder_" + side, shoulder, 0.031 * thick)
    body.add("elbow_" + side, elbow, 0.025 * thick)
    body.add("hand_" + side, hand, 0.019 * thick)
    body.parts += [("shoulder_" + side, "elbow_" + side), ("elbow_" + side, "hand_" + side)]


def carry_bag(body: Body, walker: Walker, occasion: int) -> None:
    """Add a backpack, a shoulder bag at the hip or a handbag; kind, side and size depend on the occasion."""
    h, size = walker.height, stream(occasion, "bag/size").uniform(0.06, 0.105)
    kind = stream(occasion, "bag/kind").choice(["backpack", "shoulder bag", "handbag"])
    side = stream(occasion, "bag/side").choice(["left", "right"])
    sign = 1.0 if side == "left" else -1.0
    if kind == "backpack":
        centre = body.centres["chest"] - [0.066 * walker.girth * h + 0.5 * size * h, 0.0, 0.03 * h]
        shape = (0.7 * size, 1.1 * size, 0.9 * size)
    elif kind == "shoulder bag":
        lift = stream(occasion, "bag/lift").uniform(-0.02, 0.08)
        centre = body.centres["pelvis"] + h * np.array([-0.02, sign * 0.1, lift])
        shape = (1.3 * size, 0.5 * size, 0.8 * size)
    else:
        centre = body.centres["hand_" + side] - [0.0, 0.0, (0.02 + size) * h]
        shape = (1.2 * size, 0.4 * size, 0.8 * size)
    depth = shape[2] * h
    for name, lift in (("bag_top", 0.5), ("bag_bottom", -0.5)):  # two ellipsoids make a soft box
        body.add(name, centre + np.array([0.0, 0.0, lift * depth]), shape[0] * h, shape[1] * h, 0.8 * depth)
    body.parts += [("bag_top", "bag_bottom")]


def wear_coat(body: Body, walker: Walker, occasion: int) -> None:
    """Add a coat down to about mid-thigh, and on some occasions a hood or a hat; its cut depends on the occasion."""
    h, padding = walker.height, stream(occasion, "coat/padding").uniform(0.01, 0.04) * walker.height
    padded = ("pelvis", "waist", "chest", "shoulder_left", "shoulder_right", "elbow_left", "elbow_right")
    for name in padded:
        share = 0.6 if name.startswith(("shoulder", "elbow")) else 1.0
        along_x, along_y, along_z = (radius + share * padding for radius in body.radii[name])
        body.radii[name] = (along_x, along_y, along_z)
    reach, flare = stream(occasion, "coat/reach").uniform(0.4, 0.8), stream(occasion, "coat/flare").uniform(1.0, 1.25)
    for side in ("left", "right"):
        hip, knee = body.centres["hip_" + side], body.centres["knee_" + side]
        body.add("hem_" + side, hip + reach * (knee - hip), flare * (0.045 * walker.limb_thickness * h + padding))
    body.parts += [("pelvis", "hem_left", "hem_right")]
    head, size = body.centres["head"], walker.head_size * h
    headwear = stream(occasion, "coat/headwear").choice(["none", "none", "hood", "hat"])
    if headwear == "hood":
        body.add("hood", head - [0.012 * h, 0.0, 0.01 * h], 0.066 * size, 0.058 * size, 0.078 * size)
        body.parts += [("neck", "hood")]
    elif headwear == "hat":
        body.add("hat", head + np.array([0.01 * h, 0.0, 0.045 * h]), 0.072 * size, 0.06 * size, 0.035 * size)
        body.parts += [("hat",)]
