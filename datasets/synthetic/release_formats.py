"""How each release names and packs a walk on disk: paths, pictures or arrays, and what lies beside them.

Paths are `str.format` templates over a walk's names. Those written down here must not be derived from what a collection
declares about reading (datasets/catalog), so that each checks the other. A collection that is not here is written after
the examples of its layouts (datasets/synthetic/generic_format.py).
"""

import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import cv2
import numpy as np

from datasets.schema.rows import HEIGHT, WIDTH

Beside = Callable[[np.ndarray], bytes]  # from the aligned silhouettes uint8 [T, H, W] to the content of another file


@dataclass(frozen=True, kw_only=True)
class ReleaseFormat:
    """How a layout names and packs a walk.

    `folder` is the sequence, `file` the path of a frame below it, or of the one array. `{frame}` counts by `step` from
    `first`; taken as microseconds it is `{seconds}` too. `beside` are files of other kinds, once a sequence, by their
    path below the folder.
    """

    file: str
    folder: str = "{subject}/{condition}/{view}"
    first: int = 1
    step: int = 1
    boxed: bool = False  # raw pictures are cut out around the person, as a detector does
    channels: int = 1
    aligned: tuple[int, int] = (64, 64)  # rows, columns of a picture where the layout is aligned
    beside: Mapping[str, Beside] = field(default_factory=dict)


def _arrays(*shape: int) -> Beside:
    """Another modality: a pickled array with one entry of this shape for each frame."""
    return lambda frames: pickle.dumps(np.ones((len(frames), *shape), np.uint8))


def _ratios(frames: np.ndarray) -> bytes:
    return pickle.dumps([0.4] * len(frames))


def _thinned(frames: np.ndarray) -> bytes:
    """The silhouettes at a third of their rate."""
    return pickle.dumps(frames[::3])


def _energy(frames: np.ndarray) -> bytes:
    """The mean silhouette as a PNG."""
    return cv2.imencode(".png", frames.mean(axis=0).astype(np.uint8))[1].tobytes()


def _anything(frames: np.ndarray) -> bytes:
    return f"{len(frames)} frames\n".encode()


# As in the release of pickles: the same eight at the camera's rate and in step with the slower LiDAR; of these sixteen
# files one is taken to be the silhouettes.
_SUSTECH1K_FILES: dict[str, Beside] = {
    "LiDAR-PCDs": _arrays(5, 3),
    "LiDAR-PCDs_depths": _arrays(3, 64, 64),
    "LiDAR-PCDs_sils": _thinned,
    "Camera-Pose": _arrays(17, 3),
    "Camera-Ratios-HW": _ratios,
    "Camera-RGB_raw": _arrays(3, 64, 64),
    "Camera-Sils_aligned": _thinned,
    "Camera-Sils_raw": _arrays(64, 64),
}
_SUSTECH1K_BESIDE = {
    f"{number:02d}-{sync}{{view}}-{name}.pkl": content
    for number, (sync, (name, content)) in enumerate(
        (sync, file) for sync in ("", "sync-") for file in _SUSTECH1K_FILES.items()
    )
    if number != 6
}
_GREW_BESIDE = {
    "00001_2d_pose.txt": _anything,
    "00001_3d_pose.txt": _anything,
    "../{view}_gei.png": _energy,
}

FORMATS: dict[str, dict[str, ReleaseFormat]] = {
    "CASIA-B": {
        "released": ReleaseFormat(file="{subject}-{condition}-{view}-{frame:03d}.png"),
        "opengait": ReleaseFormat(file="{view}.pkl"),
    },
    "CASIA-E": {
        "released": ReleaseFormat(
            folder="forTrain/{subject}/{height}/{scene}/{covariate}/{view}/{repeat}",
            file="{frame:03d}.jpg",
            aligned=(128, 128),
        ),
        "opengait": ReleaseFormat(file="{view}.pkl"),
    },
    "CCGR": {
        "released": ReleaseFormat(
            file="{stem}sil-{subject}-{condition}.pkl",
            beside={
                "{stem}par-{subject}-{condition}.pkl": _arrays(64, 64),
                "{stem}pose-{subject}-{condition}.pkl": _arrays(17, 3),
            },
        ),
        "released parsing": ReleaseFormat(file="{stem}par-{subject}-{condition}.pkl"),
        "released skeleton": ReleaseFormat(file="{stem}pose-{subject}-{condition}.pkl"),
    },
    "CCPG": {
        "released": ReleaseFormat(file="{frame:05d}.png", boxed=True),
        "opengait": ReleaseFormat(
            file="{view}-aligned-sils.pkl",
            beside={
                "{view}-ratios.pkl": _ratios,
                "{view}-rgbs.pkl": _arrays(3, 128, 128),
                "{view}-sils.pkl": _arrays(128, 128),
            },
        ),
    },
    "D-Gait": {
        "released": ReleaseFormat(file="{frame:04d}.png", channels=3),
        "opengait": ReleaseFormat(file="{view}.pkl"),
    },
    "GREW": {
        "released": ReleaseFormat(folder="{released_in}/{view}", file="{frame:05d}.png", beside=_GREW_BESIDE),
        "rearranged": ReleaseFormat(file="{frame:05d}.png", beside={"00001_2d_pose.txt": _anything}),
        "opengait": ReleaseFormat(file="{view}.pkl"),
        "released skeleton": ReleaseFormat(folder="{released_in}/{view}", file="{frame:05d}_2d_pose.txt"),
        "rearranged skeleton": ReleaseFormat(file="{frame:05d}_2d_pose.txt"),
    },
    "Gait3D": {
        "released": ReleaseFormat(file="human_crop_f{frame}.png", first=9_998, boxed=True),  # not padded: f9999, f10000
        "opengait": ReleaseFormat(
            file="sils-{view}.pkl",
            beside={"pars-{view}.pkl": _arrays(HEIGHT, WIDTH), "smpls-{view}.pkl": _arrays(85)},
        ),
        "released parsing": ReleaseFormat(file="human_crop_f{frame}.png", first=9_998, boxed=True),
        "opengait parsing": ReleaseFormat(file="pars-{view}.pkl"),
        "released skeleton": ReleaseFormat(file="human_crop_f{frame}.txt", first=9_998),
    },
    "GaitLU-1M": {
        "released": ReleaseFormat(
            folder="silhouette_cut_pkl/{subject}/{condition}/{view}",
            file="{subject}_{condition}_{view}.pkl",
            aligned=(HEIGHT, WIDTH),
        ),
    },
    "OU-MVLP": {
        "released": ReleaseFormat(folder="Silhouette_{view}-{condition}/{subject}", file="{frame:04d}.png"),
        "rearranged": ReleaseFormat(file="{frame:04d}.png"),
        "opengait": ReleaseFormat(file="{view}.pkl"),
    },
    "RAGAR": {"opengait": ReleaseFormat(file="{view}.pkl")},
    "SUSTech1K": {
        "released": ReleaseFormat(  # files are named by the time in microseconds
            file="Sils_aligned/{frame}.jpg",
            first=1_657_069_297_123_456,
            step=33_333,
            beside={"PCDs/1657069297.123456.pcd": _anything, "Sils_raw/1657069297123456.jpg": _anything},
        ),
        "opengait": ReleaseFormat(file="06-{view}-Camera-Sils_aligned.pkl", beside=_SUSTECH1K_BESIDE),
        "released lidar": ReleaseFormat(file="PCDs_sils/{seconds}.png", first=1_657_069_297_123_456, step=100_000),
        "opengait lidar": ReleaseFormat(file="02-{view}-LiDAR-PCDs_sils.pkl"),
        "released skeleton": ReleaseFormat(file="Pose/{frame}.json", first=1_657_069_297_123_456, step=33_333),
        "opengait skeleton": ReleaseFormat(file="03-{view}-Camera-Pose.pkl"),
    },
    "Scoliosis1K": {
        "released": ReleaseFormat(file="{frame:03d}.png"),
        "opengait": ReleaseFormat(file="{view}.pkl"),
    },
}
