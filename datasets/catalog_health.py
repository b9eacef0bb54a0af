"""Entries of the catalog: collections with labels of health and of looks beside identity.

D-Gait (depression), RAGAR (attributes), Scoliosis1K. Data alone; it knows nothing of how a tree is read. They are
scored by classification, so they have no retrieval protocol.
"""

from datasets.partitions import marked, numbered, split
from datasets.schema import CollectionSpec, FolderPath, Layout, Split

_D_GAIT_PATHS = (
    FolderPath(
        pattern=r"(?P<subject>(?P<label_depression>[DN])_\d{3})/(?P<condition>(?P<label_covariate>bg-cl|cl|nm))/"
        r"(?P<view>[A-H][12]-(?P<label_direction>back|front))"
    ),
)


def _d_gait_split() -> Split:
    depressed, normal = numbered(0, 91, 3, before="D_"), numbered(0, 199, 3, before="N_")
    return split(depressed + normal, marked("d-gait-d", depressed) | marked("d-gait-n", normal))


D_GAIT = CollectionSpec(
    name="D-Gait",
    title="D-Gait, a benchmark of depression risk",
    citation="Liu et al. Depression risk recognition based on gait: a benchmark. Neurocomputing 2024.",
    access="from the authors; the terms are not known to us",
    layouts=(
        Layout(
            name="released",
            kind="images",
            paths=_D_GAIT_PATHS,
            file=r".*?(?P<frame>\d{1,9})?\.(?:png|jpe?g|bmp)",
            example="D_000/nm/A1-front/001.png",
            aligned=False,
        ),
        Layout(
            name="opengait",
            kind="pickle",
            paths=_D_GAIT_PATHS,
            file=r"[A-H][12]-(?:back|front)\.pkl",
            example="D_000/nm/A1-front/A1-front.pkl",
            aligned=True,
        ),
    ),
    split=_d_gait_split(),
    label_values={"depression": {"d": "depressed", "n": "normal"}},
    published={"subjects": 292},
)


def _ragar_split() -> Split:
    subjects = numbered(1, 533, 3)
    return split(subjects, marked("ragar", subjects))


RAGAR = CollectionSpec(
    name="RAGAR",
    title="RA-GAR, richly annotated attributes",
    citation="Wang et al. RA-GAR: a richly annotated benchmark for gait attribute recognition. AAAI 2025.",
    access="from the authors; the terms are not known to us",
    layouts=(
        Layout(  # the owners' own layout is not known to us
            name="opengait",
            kind="pickle",
            # The condition is a number and then one class index for each attribute, in an order that is not published.
            paths=(
                FolderPath(
                    pattern=r"(?P<subject>\d{3})/(?P<condition>\d+(?P<labels_attribute>(?:_\d+)+))/(?P<view>[^/]+)"
                ),
            ),
            file=r"[^/]+\.pkl",
            example="001/0_1_0_2/000/000.pkl",
            aligned=True,
        ),
    ),
    split=_ragar_split(),
    published={"subjects": 533},
)

# The folder number counts sequences, not people, and the case and the separator vary between releases; so the walk is
# named by the number, the class and the one view.
_SCOLIOSIS1K_PATHS = (
    FolderPath(
        pattern=r"(?P<subject>\d{5})/(?P<condition>(?P<label_scoliosis>(?i:positive|neutral|negative)))/"
        r"(?P<view>000[_-]180)",
        walk="{subject}/{scoliosis}/000_180",
    ),
)


def _scoliosis1k_split(name: str) -> Split:
    sequences = numbered(0, 1492, 5)
    return split(sequences, marked(f"scoliosis1k-{name}", sequences))


SCOLIOSIS1K = CollectionSpec(
    name="Scoliosis1K",
    title="Scoliosis1K, screening of adolescents",
    citation="Z. Zhou, J. Liang, Z. Peng, C. Fan, F. An, S. Yu. Gait patterns as biomarkers: a video-based approach "
    "for classifying scoliosis. MICCAI 2024.",
    access="academic use; agreement and password, from the OpenGait team",
    layouts=(
        Layout(
            name="released",
            kind="images",
            paths=_SCOLIOSIS1K_PATHS,
            file=r".*?(?P<frame>\d{1,9})?\.png",
            example="00000/positive/000_180/001.png",
            aligned=False,
        ),
        Layout(
            name="opengait",
            kind="pickle",
            paths=_SCOLIOSIS1K_PATHS,
            file=r"[^/]+\.pkl",
            example="00000/positive/000_180/000_180.pkl",
            aligned=True,
        ),
    ),
    # Named by positive : neutral : negative in training, 1:1:2 to 1:1:16. The test sets differ in their classes too, so
    # results on one do not compare with results on another.
    split=_scoliosis1k_split("112"),
    other_splits={name: _scoliosis1k_split(name) for name in ("114", "118", "1116")},
    label_values={"scoliosis": {name: name for name in ("positive", "neutral", "negative")}},
    published={"subjects": 1_050, "sequences": 1_493, "frames": 447_900},
    anonymous=r".*",  # which folders show the same person is not published
)
