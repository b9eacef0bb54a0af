"""Gait3D: 4,000 subjects before 39 cameras of a supermarket."""

from datasets.catalog.official_lists import marked, numbered, tokens
from datasets.schema.collection import CollectionSpec, FolderPath, Layout, Split
from datasets.schema.protocol import ProbeSet, Protocol

_GAIT3D_PATHS = (
    FolderPath(pattern=r"(?P<subject>\d{4})/(?P<condition>camid(?P<label_camera>\d+)_videoid\d+)/(?P<view>seq\d+)"),
)
_GAIT3D_SUBJECTS = numbered(0, 3999, 4)


def _gait3d_probes(test: frozenset[str]) -> frozenset[str]:
    """One probe for each test subject: two decimal digits of its camera, one hexadecimal of its video, its sequence."""
    return frozenset(
        f"{subject}/camid{int(token[:2])}_videoid{int(token[2], 16)}/seq{token[3]}"
        for subject, token in zip(sorted(test), tokens("gait3d-probes", 4), strict=True)
    )


_GAIT3D_TEST = marked("gait3d", _GAIT3D_SUBJECTS)
GAIT3D = CollectionSpec(
    name="Gait3D",
    title="Gait3D, a supermarket with 39 cameras",
    citation="J. Zheng, X. Liu, W. Liu, L. He, C. Yan, T. Mei. Gait recognition in the wild with dense 3D "
    "representations and a benchmark. CVPR 2022.",
    access="non-commercial; signed agreement",
    layouts=(
        Layout(
            name="released",
            kind="images",
            paths=_GAIT3D_PATHS,
            file=r"human_crop_f(?P<frame>\d+)\.(?:png|jpg)",
            example="0000/camid0_videoid2/seq0/human_crop_f11627.png",
            aligned=False,
        ),
        Layout(
            name="opengait",
            kind="pickle",
            paths=_GAIT3D_PATHS,
            file=r"(?:sils-)?seq\d+\.pkl",  # beside pars- and smpls- in the merged trees
            example="0000/camid0_videoid2/seq0/seq0.pkl",
            aligned=True,
        ),
        # 2D_Parsings and 2D_Poses of the release are trees like that of the silhouettes, with files of the same names.
        Layout(
            name="released parsing",
            kind="images",
            paths=_GAIT3D_PATHS,
            file=r"human_crop_f(?P<frame>\d+)\.png",
            example="0000/camid0_videoid2/seq0/human_crop_f11627.png",
            aligned=False,
            modality="parsing",
        ),
        Layout(
            name="opengait parsing",
            kind="pickle",
            paths=_GAIT3D_PATHS,
            file=r"(?:pars-)?seq\d+\.pkl",
            example="0000/camid0_videoid2/seq0/pars-seq0.pkl",
            aligned=True,
            modality="parsing",
        ),
        Layout(
            name="released skeleton",
            kind="joints",  # the size of the picture, then x, y and confidence of each joint
            paths=_GAIT3D_PATHS,
            file=r"human_crop_f(?P<frame>\d+)\.txt",
            example="0000/camid0_videoid2/seq0/human_crop_f11627.txt",
            aligned=False,
            modality="skeleton",
        ),
    ),
    split=Split(train=frozenset(_GAIT3D_SUBJECTS) - _GAIT3D_TEST, test=_GAIT3D_TEST),
    protocol=Protocol(
        kinds=("pooled",),
        probe_sets=(ProbeSet(name="all", probe=_gait3d_probes(_GAIT3D_TEST), gallery=None, by="sequence"),),
    ),
    published={"subjects": 4_000, "sequences": 25_309, "frames": 3_279_239},  # sequences and frames: quoted
)
