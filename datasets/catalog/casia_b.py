"""CASIA-B: 124 subjects from eleven views, normal, with a bag and in a coat."""

from datasets.catalog.official_lists import numbered
from datasets.schema.collection import CollectionSpec, FolderPath, Layout, Split
from datasets.schema.protocol import ProbeSet, Protocol

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
