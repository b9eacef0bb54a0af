"""OU-MVLP: ten thousand subjects from fourteen views."""

from datasets.catalog.official_lists import numbered
from datasets.schema.collection import CollectionSpec, FolderPath, Layout, Split
from datasets.schema.protocol import ProbeSet, Protocol

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
