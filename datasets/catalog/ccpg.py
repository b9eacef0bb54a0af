"""CCPG: clothes-changing people; retrieval by pairs of clothing conditions."""

from datasets.catalog.official_lists import numbered
from datasets.schema.collection import CollectionSpec, FolderPath, Layout, Split
from datasets.schema.protocol import ProbeSet, Protocol

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
            file=r"(?P<stem>.*)\.png",
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
