"""What the names of a sequence mean in each collection: who walks, in which clothes, and where the camera stands.

One function a collection, from released names to a walk. It follows the owners' description; what they do not describe
is plausible, and no more. Collections without a function here get their walks from datasets/synthetic/generic_cast.py.
"""

import zlib
from typing import TypedDict

from datasets.synthetic.film import Walk


def casia_b(subject: str, condition: str, view: str) -> Walk:
    """Eleven cameras a little above the waist film at once; in some sequences the person is not in view at first."""
    return Walk(
        **_names("CASIA-B", subject, condition, view),
        person=subject,  # the people of docs/measurements.md
        occasion=condition,
        dress=condition[:2],
        azimuth=int(view),
        elevation=5,
        absent=(0, 0, 0, 0, 0, 0, 0, 1, 1, 2)[_number_of(subject, condition, view) % 10],
    )


def casia_e(subject: str, condition: str, view: str) -> Walk:
    """Cameras at two heights, H and L, film at once."""
    height, scene, covariate, repeat = condition.split("-")
    return Walk(
        **_names("CASIA-E", subject, condition, view),
        person=f"CASIA-E {subject}",
        occasion=f"{scene}-{covariate}-{repeat}",
        dress=covariate,
        azimuth=int(view),
        elevation=30 if height == "H" else 5,
        names={"height": height, "scene": scene, "covariate": covariate, "repeat": repeat},
    )


def ccgr(subject: str, condition: str, view: str) -> Walk:
    """33 cameras at five heights film at once; the condition, such as UBBGCL1, lists what is carried and worn."""
    stem = view.removesuffix(".avi")
    angle, _, layer = stem.rpartition("_")
    bag = any(code in condition for code in ("BG", "BX", "BK", "CR", "UB"))
    return Walk(
        **_names("CCGR", subject, condition, view),
        person=f"CCGR {subject}",
        occasion=condition,
        dress=_dress(bag, "CL" in condition),
        azimuth=float(angle.replace("_", ".") or 90),
        elevation={"3": 5, "2": 30, "1": 55, "4": 75, "over": 90}[layer],
        names={"stem": stem},
    )


def ou_mvlp(subject: str, condition: str, view: str) -> Walk:
    """Seven cameras of high resolution film the way there, and the way back as the views from 180 on."""
    return Walk(
        **_names("OU-MVLP", subject, condition, view),
        person=f"OU-MVLP {subject}",
        occasion=f"{condition} {'there' if int(view) < 180 else 'back'}",
        azimuth=int(view),
        size=(980, 1280),
    )


def ccpg(subject: str, condition: str, view: str) -> Walk:
    """Cameras along a route; the condition names one of four upper garments, one of four lower ones, and a bag."""
    upper, lower = int(condition[1]), int(condition[4])
    return Walk(
        **_names("CCPG", subject, condition, view),
        person=f"CCPG {subject}",
        occasion=f"{condition} {view}",
        dress=_dress(condition.endswith("BG"), upper > 1),
        azimuth=36 * int(view[:2]),
        elevation=15,
        changes={"girth": (0, 0.12, 0, 0.1)[upper], "limb_thickness": (0, 0.1, 0.2, -0.1)[lower]},
    )


def gait3d(subject: str, condition: str, view: str) -> Walk:
    """One of 39 cameras of a supermarket, above the people."""
    camera = int(condition.split("_")[0].removeprefix("camid"))
    return Walk(
        **_names("Gait3D", subject, condition, view),
        person=f"Gait3D {subject}",
        occasion=f"{condition} {view}",
        azimuth=40 * camera % 360,
        elevation=15 + camera % 4 * 5,
    )


def gaitlu_1m(number: int) -> Walk:
    """An anonymous person from any direction; the folders number the sequences."""
    parts = [f"{digits:03d}" for digits in (number // 1_000_000, number // 1_000 % 1_000, number % 1_000)]
    chance = _number_of("GaitLU-1M", *parts)
    return Walk(
        **_names("GaitLU-1M", *parts),
        person=f"GaitLU-1M {number}",
        occasion="",
        dress=("nm", "bg", "cl")[chance % 3],
        azimuth=chance // 3 % 360,
        elevation=chance // 1080 % 40,
    )


def grew(subject: str, condition: str, number: str, person: str, released_in: str) -> Walk:
    """A walk before one of 882 cameras; `released_in` is its folder in the release."""
    chance = _number_of(person, condition, number)
    return Walk(
        **_names("GREW", subject, condition, f"{number}x{chance % 1_000_000:06d}"),
        person=person,
        occasion=f"{condition} {number}",
        dress=("nm", "bg", "cl")[chance % 3],
        azimuth=chance // 3 % 360,
        elevation=chance // 1080 % 40,
        names={"released_in": released_in},
    )


def sustech1k(subject: str, condition: str, view: str) -> Walk:
    """One camera; each direction and distance is another walk."""
    dresses = {"bg": "bg", "cr": "bg", "ub": "bg", "cl": "cl", "uf": "cl"}
    return Walk(
        **_names("SUSTech1K", subject, condition, view),
        person=f"SUSTech1K {subject}",
        occasion=f"{condition} {view}",
        dress=dresses.get(condition[3:5], "nm"),
        azimuth=int(view[:3]),
        elevation=3,
    )


def d_gait(subject: str, condition: str, view: str) -> Walk:
    """Cameras A to H film passages 1 and 2, to and fro. Depressed people walk slowly, bent forward and stiffly."""
    back = view.endswith("back")
    low = {"stride": -0.2, "cadence": -0.1, "arm_swing": -6.0, "trunk_lean": 7.0, "head_posture": 12.0}
    return Walk(
        **_names("D-Gait", subject, condition, view),
        person=f"D-Gait {subject}",
        occasion=f"{condition} {view[1:]}",
        dress=condition.replace("-", "+"),
        azimuth=15 * "ABCDEFGH".index(view[0]) + 180 * back,
        elevation=3,
        changes=low if subject.startswith("D") else {},
    )


def ragar(subject: str, condition: str, view: str) -> Walk:
    """The condition is a number and then attributes: here a bag, the build and a coat."""
    _, bag, build, coat = (int(part) for part in condition.split("_"))
    return Walk(
        **_names("RAGAR", subject, condition, view),
        person=f"RAGAR {subject}",
        occasion=f"{condition} {view}",
        dress=_dress(bag == 1, coat == 1),
        azimuth=int(view),
        changes={"girth": 0.15 * (build - 1)},
    )


def scoliosis1k(subject: str) -> Walk:
    """A walk towards the camera; folders are ordered by class.

    People with scoliosis lean to the left or the right with one shoulder higher, and walk asymmetrically; so do the
    others, a little.
    """
    kind = "positive" if subject < "00493" else "negative" if subject < "01293" else "neutral"
    side = 1 if int(subject) % 2 else -1
    ill = {"positive": 1.0, "neutral": 0.5, "negative": 0.0}[kind]
    own = _number_of("Scoliosis1K", subject) % 101 / 50 - 1  # -1 to 1
    return Walk(
        **_names("Scoliosis1K", subject, kind, "000_180"),
        person=f"Scoliosis1K {subject}",
        occasion="",
        azimuth=0,
        changes={
            "asymmetry": 0.4 * ill * side,
            "trunk_tilt": 7.0 * ill * side + 1.5 * own,
            "shoulder_tilt": 10.0 * ill * side + 2.0 * own,
        },
    )


class _Names(TypedDict):
    collection: str
    subject: str
    condition: str
    view: str


def _names(collection: str, subject: str, condition: str, view: str) -> _Names:
    return {"collection": collection, "subject": subject, "condition": condition, "view": view}


def _dress(bag: bool, coat: bool) -> str:
    return {(0, 0): "nm", (1, 0): "bg", (0, 1): "cl", (1, 1): "bg+cl"}[bag, coat]


def _number_of(*names: str) -> int:
    """A number that looks random, and is always the same for these names."""
    return zlib.crc32("/".join(names).encode())
