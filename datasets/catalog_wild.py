"""Entries of the catalog: collections filmed out of the laboratory, or cut from public videos.

CCPG, Gait3D, GaitLU-1M, GREW, SUSTech1K. Data alone; it knows nothing of how a tree is read.
"""

from datasets.partitions import marked, numbered, split, tokens
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
            # Named as OpenGait rearranges them, with one difference: OpenGait numbers the two gallery walks of a
            # subject, 01 and 02, as the file system happens to list them, here it is the order of their names.
            # Numbers repeat between train and test for different people, hence the suffix.
            paths=(
                FolderPath(pattern=rf"train/(?P<number>\d{{5}})/{_GREW_WALK}", subject="{number}train", condition="00"),
                FolderPath(pattern=rf"test/gallery/(?P<subject>\d{{5}})/{_GREW_WALK}", condition="{position:02d}"),
                FolderPath(pattern=rf"test/(?P<subject>probe)/{_GREW_WALK}", condition="03"),
                FolderPath(pattern=rf"distractors?/{_GREW_WALK}", subject="distractor", condition="distractor"),
            ),
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

_SUSTECH1K_PATHS = (
    FolderPath(
        pattern=r"(?P<subject>\d{4})/(?P<condition>\d{2}-(?P<label_covariate>[a-z-]+))/"
        r"(?P<view>(?P<label_angle>\d{3})(?:-(?P<label_distance>far|near))?)"
    ),
)
_SUSTECH1K_UNUSED = frozenset({"0352", "1047", "1048", *numbered(1050, 1054, 4)})


def _sustech1k_split() -> Split:
    subjects = numbered(0, 1057, 4)
    return split(frozenset(subjects) - _SUSTECH1K_UNUSED, marked("sustech1k", subjects))


SUSTECH1K = CollectionSpec(
    name="SUSTech1K",
    title="SUSTech1K, camera and LiDAR out of doors",
    citation="C. Shen, C. Fan, W. Wu, R. Wang, G. Q. Huang, S. Yu. LidarGait: benchmarking 3D gait recognition with "
    "point clouds. CVPR 2023.",
    access="agreement and password, from the OpenGait team",
    layouts=(
        Layout(
            name="released",
            kind="images",
            paths=_SUSTECH1K_PATHS,
            inside="Sils_aligned",
            file=r"\d+\.(?:jpg|png)",  # times in seconds without their point: the order of names is that of time
            example="0000/00-nm/000/Sils_aligned/1657069297123456.jpg",
            aligned=True,
        ),
        Layout(
            name="opengait",
            kind="pickle",
            paths=_SUSTECH1K_PATHS,
            file=r"\d{2}-\d{3}(?:-(?:far|near))?-Camera-Sils_aligned\.pkl",  # the sync- file beside it is thinned
            example="0000/00-nm/000/06-000-Camera-Sils_aligned.pkl",
            aligned=True,
        ),
    ),
    split=_sustech1k_split(),
    protocol=Protocol(
        probe_sets=tuple(
            ProbeSet(name=name, probe=frozenset(parts.split()), gallery=frozenset({"00-nm"}), by="part")
            for name, parts in (
                ("Normal", "01-nm"),
                ("Bag", "bg"),
                ("Clothing", "cl"),
                ("Carrying", "cr"),
                ("Umberalla", "ub"),  # spelt as in the evaluator of OpenGait
                ("Uniform", "uf"),
                ("Occlusion", "oc"),
                ("Night", "nt"),
                ("Overall", "01 02 03 04"),
            )
        )
    ),
    published={"subjects": 1_050, "sequences": 25_239},
)
