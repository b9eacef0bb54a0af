"""The collections, as data: every fact about a collection stands in its entry, and no other code branches on its name.

To add a collection, add an entry; to correct a fact, correct it here. This file reads nothing from disk.
"""

from datasets.schema import CollectionSpec, Layout, ProbeSet, Protocol, Split, UsageError


def numbered(first: int, last: int, width: int) -> frozenset[str]:
    """Subjects first..last as zero-padded strings."""
    return frozenset(f"{number:0{width}d}" for number in range(first, last + 1))


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
            sequence=r"(?P<subject>\d{3})/(?P<condition>(?:nm|bg|cl)-\d{2})/(?P<view>\d{3})",
            file=r"\d{3}-(?:nm|bg|cl)-\d{2}-\d{3}-(?P<frame>\d+)\.(?:png|jpe?g)",
            example="001/nm-01/090/001-nm-01-090-001.png",
            aligned=False,
        ),
        Layout(
            name="opengait",
            kind="pickle",
            sequence=r"(?P<subject>\d{3})/(?P<condition>(?:nm|bg|cl)-\d{2})/(?P<view>\d{3})",
            file=r"\d{3}\.pkl",
            example="001/nm-01/090/090.pkl",
            aligned=True,
        ),
    ),
    split=Split(train=numbered(1, 74, 3), test=numbered(75, 124, 3)),
    protocol=Protocol(
        probe_sets=tuple(
            ProbeSet(
                name=condition.upper(),
                probe=frozenset(f"{condition}-{number:02d}" for number in numbers),
                gallery=frozenset({"nm-01", "nm-02", "nm-03", "nm-04"}),
            )
            for condition, numbers in (("nm", (5, 6)), ("bg", (1, 2)), ("cl", (1, 2)))
        )
    ),
    published={"subjects": 124, "sequences": 13_640},
)

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
            sequence=r"(?P<subject>\d{3})/(?P<condition>\d{3})/(?P<view>\d{3})",
            file=r"(?:\d{3}_\d{3}_)?\d{3}\.pkl",
            example="000/000/000/000_000_000.pkl",
            aligned=True,
        ),
    ),
    split=Split(train=numbered(0, 99, 3), test=frozenset()),
    published={"sequences": 1_020_000, "frames": 92_000_000},
    sampling_discount=0.1,
)

CATALOG: dict[str, CollectionSpec] = {spec.name: spec for spec in (CASIA_B, GAITLU_1M)}


def find(name: str) -> CollectionSpec:
    """The entry of a collection; UsageError that lists the known names otherwise."""
    if name not in CATALOG:
        raise UsageError(f"unknown collection {name!r}: the known ones are {', '.join(sorted(CATALOG))}")
    return CATALOG[name]
