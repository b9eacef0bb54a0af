"""D-Gait: walks with a screening result for depression."""

from datasets.catalog.official_lists import marked, numbered, split
from datasets.schema.collection import CollectionSpec, FolderPath, Layout, Split

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
            file=r"(?P<stem>.*)\.(?:png|jpe?g|bmp)",
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
