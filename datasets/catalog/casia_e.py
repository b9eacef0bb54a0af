"""CASIA-E: a thousand subjects in several scenes."""

from itertools import product

from datasets.catalog.official_lists import numbered
from datasets.schema.collection import CollectionSpec, FolderPath, Layout, Split
from datasets.schema.protocol import ProbeSet, Protocol


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
            file=r"(?P<stem>.*)\.jpe?g",
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
