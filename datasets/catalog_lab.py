"""Entries of the catalog: collections filmed from many views at once, under conditions that were set.

CASIA-B, CASIA-E, CCGR, OU-MVLP. Data alone; it knows nothing of how a tree is read.
"""

from itertools import product

from datasets.partitions import numbered, tokens, words
from datasets.schema import CollectionSpec, FolderPath, Layout, ProbeSet, Protocol, Split

_CASIA_B_PATHS = (
    FolderPath(
        pattern=r"(?P<subject>\d{3})/(?P<condition>(?P<label_covariate>nm|bg|cl)-\d{2})/(?P<view>(?P<label_angle>\d{3}))"
    ),
)
CASIA_B = CollectionSpec(
    name="CASIA-B",
    title="CASIA Gait Database, dataset B",
    citation="S. Yu, D. Tan, T. Tan. A framework for evaluating the effect of view angle, clothing and carrying "
    "condition on gait recognition. ICPR 2006.",
    access="research use; from the Institute of Automation, Chinese Academy of Sciences (CBSR)",
    layouts=(
        Layout(
            name="released",
            kind="images",
            paths=_CASIA_B_PATHS,
            file=r"\d{3}-(?:nm|bg|cl)-\d{2}-\d{3}-(?P<frame>\d+)\.(?:png|jpe?g)",
            example="001/nm-01/090/001-nm-01-090-001.png",
            aligned=False,
        ),
        Layout(
            name="opengait",
            kind="pickle",
            paths=_CASIA_B_PATHS,
            file=r"\d{3}(?:-aligned-sils)?\.pkl",  # the longer name is that of CASIA-B*, the re-segmented version
            example="001/nm-01/090/090.pkl",
            aligned=True,
        ),
    ),
    split=Split(train=frozenset(numbered(1, 74, 3)), test=frozenset(numbered(75, 124, 3))),
    protocol=Protocol(
        probe_sets=tuple(
            ProbeSet(
                name=condition.upper(),
                probe=frozenset(f"{condition}-{number:02d}" for number in numbers),
                gallery=frozenset({"nm-01", "nm-02", "nm-03", "nm-04"}),
            )
            for condition, numbers in (("nm", (5, 6)), ("bg", (1, 2)), ("cl", (1, 2)))
        )
        + tuple(
            ProbeSet(
                name=f"{condition.upper()}-01",
                probe=frozenset({f"{condition}-01"}),
                gallery=frozenset({"nm-02", "bg-02", "cl-02"}),
                kinds=("cross-view-gallery",),
            )
            for condition in ("nm", "bg", "cl")
        )
    ),
    published={"subjects": 124, "sequences": 13_640},
    synchronised="{subject}/{condition}",  # eleven cameras around the walk
)


def _casia_e(scenes: tuple[str, ...], covariate: str) -> frozenset[str]:
    """Conditions of CASIA-E: both camera heights and both repeats of some scenes, with one covariate."""
    return frozenset("-".join(parts) for parts in product("HL", scenes, [covariate], "12"))


CASIA_E = CollectionSpec(
    name="CASIA-E",
    title="CASIA-E, 26 angles in three scenes",
    citation="C. Song, Y. Huang, W. Wang, L. Wang. CASIA-E: a large comprehensive dataset for gait recognition. TPAMI "
    "2022.",
    access="by application on scidb.cn",
    layouts=(
        Layout(
            name="released",
            kind="images",
            paths=(
                FolderPath(
                    pattern=r"(?:forTrain/)?(?P<subject>\d{3,4})/(?P<label_height>[HL])/(?P<label_scene>scene[12]|scene3(?:_s)?)"
                    r"/(?P<label_covariate>nm|bg|cl)/(?P<view>(?P<label_angle>\d{3}))/(?P<label_repeat>\d+)",
                    condition="{label_height}-{label_scene}-{label_covariate}-{label_repeat}",
                ),
            ),
            file=r".*?(?P<frame>\d{1,9})?\.jpe?g",
            example="forTrain/001/H/scene1/nm/000/1/001.jpg",
            aligned=True,  # OpenGait resizes these images and neither crops nor centres them
        ),
        Layout(
            name="opengait",
            kind="pickle",
            paths=(
                FolderPath(
                    pattern=r"(?P<subject>\d{3,4})/(?P<condition>(?P<label_height>[HL])-(?P<label_scene>scene[12]|scene3(?:_s)?)"
                    r"-(?P<label_covariate>nm|bg|cl)-(?P<label_repeat>\d+))/(?P<view>(?P<label_angle>\d{3}))",
                ),
            ),
            file=r"\d{3}\.pkl",
            example="001/H-scene1-nm-1/000/000.pkl",
            aligned=True,
        ),
    ),
    # OpenGait's own; the owners divide 1-500, 501-614 and 615-1014
    split=Split(train=frozenset(numbered(1, 200, 3)), test=frozenset(numbered(201, 1014, 3))),
    protocol=Protocol(
        probe_sets=tuple(
            ProbeSet(
                name=covariate.upper(),
                probe=_casia_e(("scene2", "scene3", "scene3_s"), covariate),
                gallery=_casia_e(("scene1",), "nm"),
            )
            for covariate in ("nm", "bg", "cl")
        ),
        excluded_views=frozenset({"270"}),
    ),
    # 768 sequences a subject must have been filmed by many cameras at once. Which of the views and heights are of one
    # walk, no source of ours says, so `synchronised` is left out.
    published={"subjects": 1_014, "sequences": 778_752},  # sequences: quoted
)


_CCGR_PATHS = (
    FolderPath(
        pattern=r"(?P<subject>\d{1,4})/(?P<condition>(?P<label_covariate>[A-Z]+)\d)/"
        r"(?P<view>(?:(?P<label_angle>\d{1,3}(?:_5)?)_(?=\d)|(?=over))(?P<label_pitch>[1-4]|over)\.avi)"
    ),
)
_CCGR_TYPES = frozenset({*words("ccgr-mini-types"), "CD1"})  # CD1 is in CCGR alone


def _ccgr_mini_gallery() -> frozenset[str]:
    """Two tokens for each subject from 601 on: an index of the types and one of the views, or dots for none."""
    types, views = words("ccgr-mini-types"), words("ccgr-mini-views")
    pairs = zip([subject for subject in range(601, 1001) for _ in "12"], tokens("ccgr-mini-gallery", 4), strict=True)
    return frozenset(
        f"{subject}/{types[int(token[:2])]}/{views[int(token[2:])]}.avi" for subject, token in pairs if token != "...."
    )


CCGR = CollectionSpec(
    name="CCGR",
    title="CCGR, 53 covariates in 33 views; also its selection CCGR-MINI, which has the same subjects",
    citation="S. Zou, C. Fan, J. Xiong, C. Shen, S. Yu, J. Tang. Cross-covariate gait recognition: a benchmark. AAAI "
    "2024.",
    access="silhouettes CC BY-NC-ND, direct download",
    layouts=(
        Layout(
            name="released",
            kind="pickle",
            paths=_CCGR_PATHS,
            file=r"[^/]*sil[^/]*\.pkl",
            example="1/NM1/45_2.avi/45_2sil-1-NM1.pkl",
            aligned=True,
        ),
        # The shapes of these two arrays are not published. Parsing maps go through the same cut of the sides as the
        # silhouettes in the owners' code, so they are taken to be aligned like them; skeletons, to be joints of COCO.
        Layout(
            name="released parsing",
            kind="pickle",
            paths=_CCGR_PATHS,
            file=r"[^/]*par[^/]*\.pkl",
            example="1/NM1/45_2.avi/45_2par-1-NM1.pkl",
            aligned=True,
            modality="parsing",
        ),
        Layout(
            name="released skeleton",
            kind="pickle",
            paths=_CCGR_PATHS,
            file=r"[^/]*pose[^/]*\.pkl",
            example="1/NM1/45_2.avi/45_2pose-1-NM1.pkl",
            aligned=True,
            modality="skeleton",
        ),
    ),
    split=Split(
        train=frozenset(numbered(1, 134, 0) + numbered(164, 600, 0)), test=frozenset(numbered(601, 1000, 0))
    ),  # 135..163 were never released
    # MINI is that of CCGR-MINI, for a tree of CCGR-MINI; the whole of CCGR is scored by pairs of its conditions.
    protocol=Protocol(
        kinds=("pooled",),
        probe_sets=(
            ProbeSet(name="MINI", probe=None, gallery=_ccgr_mini_gallery(), by="sequence"),
            ProbeSet(name="easy", probe=_CCGR_TYPES, gallery=frozenset({"NM1"}), kinds=("condition-pairs",)),
            ProbeSet(name="hard", probe=_CCGR_TYPES, gallery=_CCGR_TYPES, kinds=("condition-pairs",)),
        ),
    ),
    label_values={
        "angle": {"22_5": "22.5", "67_5": "67.5", "112_5": "112.5", "157_5": "157.5"},
        "pitch": {"3": "5", "2": "30", "1": "55", "4": "75", "over": "90"},  # degrees
    },
    # 1,630 sequences a subject in 33 views must have been filmed by many cameras at once. Whether all views of a type
    # are of one walk, no source of ours says, so `synchronised` is left out.
    published={"subjects": 970, "sequences": 1_580_617},  # sequences: quoted; 47,884 in CCGR-MINI
)

# Seven cameras on a quarter of a circle: on the way there they have the views 000-090, on the way back 180-270.
_OU_MVLP_VIEW = r"(?P<view>(?P<label_angle>(?P<label_way>\d)\d{2}))"
_OU_MVLP_PATHS = (FolderPath(pattern=rf"(?P<subject>\d{{5}})/(?P<condition>0[01])/{_OU_MVLP_VIEW}"),)
OU_MVLP = CollectionSpec(
    name="OU-MVLP",
    title="OU-ISIR Gait Database, Multi-View Large Population",
    citation="N. Takemura, Y. Makihara, D. Muramatsu, T. Echigo, Y. Yagi. Multi-view large population gait dataset and "
    "its performance evaluation for cross-view gait recognition. IPSJ TCVA 2018.",
    access="research only; agreement and password, from OU-ISIR",
    layouts=(
        Layout(
            name="released",
            kind="images",
            paths=(FolderPath(pattern=rf"Silhouette_{_OU_MVLP_VIEW}-(?P<condition>0[01])/(?P<subject>\d{{5}})"),),
            file=r"(?P<frame>\d{4})\.png",
            example="Silhouette_000-00/00001/0001.png",
            aligned=False,
        ),
        Layout(
            name="rearranged",
            kind="images",
            paths=_OU_MVLP_PATHS,
            file=r"(?P<frame>\d{4})\.png",
            example="00001/00/000/0001.png",
            aligned=False,
        ),
        Layout(
            name="opengait",
            kind="pickle",
            paths=_OU_MVLP_PATHS,
            file=r"\d{3}\.pkl",
            example="00001/00/000/000.pkl",
            aligned=True,
        ),
    ),
    # Odd subjects train, even ones test; the last one tests too.
    split=Split(train=frozenset(numbered(1, 10306, 5)[::2]), test=frozenset([*numbered(2, 10307, 5)[::2], "10307"])),
    protocol=Protocol(
        kinds=("view-pairs", "cross-view-gallery"),
        probe_sets=(ProbeSet(name="NM", probe=frozenset({"00"}), gallery=frozenset({"01"})),),
    ),
    label_values={"way": {"0": "there", "1": "back", "2": "back"}},
    published={"subjects": 10_307},
    synchronised="{subject}/{condition}/{way}",
)
