"""CCGR: 33 views and 53 covariates, with its mini gallery."""

from datasets.catalog.official_lists import numbered, tokens, words
from datasets.schema.collection import CollectionSpec, FolderPath, Layout, Split
from datasets.schema.protocol import ProbeSet, Protocol

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
