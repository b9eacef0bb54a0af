"""Scoliosis1K: walks with a screening result for scoliosis, scored by classification."""

from datasets.catalog.official_lists import marked, numbered, split
from datasets.schema.collection import CollectionSpec, FolderPath, Layout, Split

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
            file=r"(?P<stem>.*)\.png",
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
