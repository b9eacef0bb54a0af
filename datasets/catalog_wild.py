"""Entries of the catalog: collections filmed out of the laboratory, or cut from public videos.

CCPG, Gait3D, GaitLU-1M, GREW. Data alone; it knows nothing of how a tree is read.
"""

from datasets.partitions import marked, numbered, tokens
from datasets.schema import CollectionSpec, FolderPath, Layout, ProbeSet, Protocol, Split

_CCPG_PATHS = (
    FolderPath(
        pattern=r"(?P<subject>\d{3})/(?P<condition>U(?P<label_upper>\d)_D(?P<label_lower>\d)(?P<label_bag>(?:_BG)?))/"
        r"(?P<view>(?P<label_camera>\d{2})(?:_\d+)?)"
    ),
)
CCPG = CollectionSpec(
    name="CCPG",
    title="CCPG, changes of clothes in and out of doors",
    citation="W. Li, S. Hou, C. Zhang, C. Cao, X. Liu, Y. Huang, Y. Zhao. An in-depth exploration of person "
    "re-identification and gait recognition in cloth-changing conditions. CVPR 2023.",
    access="academic use; agreement by e-mail from an address of one's organisation",
    layouts=(
        Layout(
            name="released",
            kind="images",
            paths=_CCPG_PATHS,
            file=r".*?(?P<frame>\d{1,9})?\.png",
            example="000/U0_D0/01_0/001.png",
            aligned=False,
        ),
        Layout(
            name="opengait",
            kind="pickle",
            paths=_CCPG_PATHS,
            file=r"\d{2}(?:_\d+)?-aligned-sils\.pkl",
            example="000/U0_D0/01_0/01_0-aligned-sils.pkl",
            aligned=True,
        ),
    ),
    split=Split(train=frozenset(numbered(0, 99, 3)), test=frozenset(numbered(100, 199, 3))),
    protocol=Protocol(
        kinds=("view-pairs", "pooled-other-views"),
        probe_sets=(
            ProbeSet(name="CL", probe=frozenset({"U0_D0_BG", "U0_D0"}), gallery=frozenset({"U1_D1", "U2_D2", "U3_D3"})),
            ProbeSet(name="UP", probe=frozenset({"U3_D3"}), gallery=frozenset({"U0_D3"})),
            ProbeSet(name="DN", probe=frozenset({"U1_D0"}), gallery=frozenset({"U1_D1"})),
            ProbeSet(name="BG", probe=frozenset({"U0_D0_BG"}), gallery=frozenset({"U0_D0"})),
        ),
        view_until="_",  # a view is a camera; what follows counts its recordings
    ),
    label_values={"bag": {"": "no", "_bg": "yes"}},
    published={"subjects": 200, "sequences": 16_566},  # sequences: quoted
)

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

GAITLU_1M = CollectionSpec(
    name="GaitLU-1M",
    title="GaitLU-1M, walks from public videos, unlabelled",
    citation="C. Fan, S. Hou, J. Wang, Y. Huang, S. Yu. Learning gait representation from massive unlabelled walking "
    "videos: a benchmark. TPAMI 2023.",
    access="release agreement and ethical requirement; from the OpenGait team",
    layouts=(
        Layout(
            name="released",
            kind="pickle",
            # The archive unpacks into a folder whose name varies: any folders above the last three are passed over.
            paths=(FolderPath(pattern=r"(?:[^/]+/)*(?P<subject>\d{3})/(?P<condition>\d{3})/(?P<view>\d{3})"),),
            file=r"(?:\d{3}_\d{3}_)?\d{3}\.pkl",
            example="000/000/000/000_000_000.pkl",
            aligned=True,
        ),
    ),
    split=Split(train=frozenset(numbered(0, 99, 3)), test=frozenset()),
    published={"sequences": 1_020_000, "frames": 92_000_000},
    anonymous=r".*",  # folder numbers are random: no two sequences are known to show the same person
    sampling_discount=0.1,
)

_GREW_WALK = r"(?P<view>[A-Za-z0-9]{8})"
_GREW_REARRANGED = (FolderPath(pattern=rf"(?P<subject>\d{{5}}(?:train)?|probe)/(?P<condition>0[0-3])/{_GREW_WALK}"),)
# Named as OpenGait rearranges them, with one difference: OpenGait numbers the two gallery walks of a subject, 01 and
# 02, as the file system happens to list them, here it is the order of their names. Numbers repeat between train and
# test for different people, hence the suffix.
_GREW_RELEASED = (
    FolderPath(pattern=rf"train/(?P<number>\d{{5}})/{_GREW_WALK}", subject="{number}train", condition="00"),
    FolderPath(pattern=rf"test/gallery/(?P<subject>\d{{5}})/{_GREW_WALK}", condition="{position:02d}"),
    FolderPath(pattern=rf"test/(?P<subject>probe)/{_GREW_WALK}", condition="03"),
    FolderPath(pattern=rf"distractors?/{_GREW_WALK}", subject="distractor", condition="distractor"),
)
GREW = CollectionSpec(
    name="GREW",
    title="GREW, 882 cameras in the wild",
    citation="Z. Zhu, X. Guo, T. Yang, J. Huang, J. Deng, G. Huang, D. Du, J. Lu, J. Zhou. Gait recognition in the "
    "wild: a benchmark. ICCV 2021.",
    access="non-commercial; password on request",
    layouts=(
        Layout(
            name="released",
            kind="images",
            paths=_GREW_RELEASED,
            file=r"(?P<frame>\d{5})\.png",
            example="train/00001/4XPn5Z28/00001.png",
            aligned=True,
        ),
        Layout(
            name="rearranged",
            kind="images",
            paths=_GREW_REARRANGED,
            file=r"(?P<frame>\d{5})\.png",
            example="00001train/00/4XPn5Z28/00001.png",
            aligned=True,
        ),
        Layout(
            name="opengait",
            kind="pickle",
            paths=_GREW_REARRANGED,
            file=r"[A-Za-z0-9]{8}\.pkl",
            example="00001train/00/4XPn5Z28/4XPn5Z28.pkl",
            aligned=True,
        ),
        *(
            Layout(
                name=f"{name} skeleton",
                kind="joints",  # as Gait3D's
                paths=paths,
                file=r"(?P<frame>\d{5})_2d_pose\.txt",
                example=f"{folder}/4XPn5Z28/00001_2d_pose.txt",
                aligned=False,
                modality="skeleton",
            )
            for name, paths, folder in (
                ("released", _GREW_RELEASED, "train/00001"),
                ("rearranged", _GREW_REARRANGED, "00001train/00"),
            )
        ),
    ),
    split=Split(
        train=frozenset(numbered(1, 20_000, 5, after="train")), test=frozenset([*numbered(1, 6_000, 5), "probe"])
    ),
    # Local: between the two gallery walks, which have names. The owners score the probes (condition 03) against both;
    # who the probes are is their secret.
    protocol=Protocol(
        kinds=("pooled",),
        probe_sets=(
            ProbeSet(name="local", probe=frozenset({"02"}), gallery=frozenset({"01"})),
            ProbeSet(name="server", probe=frozenset({"03"}), gallery=frozenset({"01", "02"}), kinds=("submission",)),
        ),
    ),
    published={"subjects": 26_345, "sequences": 128_671},  # quoted; 233,857 distractors beside them
    anonymous=r"probe|distractor",
)
