"""GaitLU-1M: unlabelled walks from the web, for pretraining alone."""

from datasets.catalog.official_lists import numbered
from datasets.schema.collection import CollectionSpec, FolderPath, Layout, Split

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
