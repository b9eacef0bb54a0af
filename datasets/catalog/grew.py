"""GREW: gait in the wild, whose test labels are kept by its owners."""

from datasets.catalog.official_lists import numbered
from datasets.schema.collection import CollectionSpec, FolderPath, Layout, Split
from datasets.schema.protocol import ProbeSet, Protocol

_GREW_WALK = r"(?P<view>[A-Za-z0-9]{8})"
_GREW_REARRANGED = (FolderPath(pattern=rf"(?P<subject>\d{{5}}(?:train)?|probe)/(?P<condition>0[0-3])/{_GREW_WALK}"),)
# Named as OpenGait rearranges them, with one difference: OpenGait numbers the two gallery walks of a subject, 01 and
# 02, as the file system happens to list them, here it is the order of their names. Numbers repeat between train and
# test for different people, hence the suffix.
_GREW_RELEASED = (
    FolderPath(pattern=rf"train/(?P<number>\d{{5}})/{_GREW_WALK}", subject="{number}train", condition="00"),
    FolderPath(pattern=rf"test/gallery/(?P<subject>\d{{5}})/{_GREW_WALK}", condition="{position:02d}"),
    FolderPath(pattern=rf"test/(?P<subject>probe)/{_GREW_WALK}", condition="03"),
    FolderPath(pattern=rf"distractors?/{_GREW_WALK}", subject="distractor", condition="distractor"),
)
GREW = CollectionSpec(
    name="GREW",
    title="GREW, 882 cameras in the wild",
    citation="Z. Zhu, X. Guo, T. Yang, J. Huang, J. Deng, G. Huang, D. Du, J. Lu, J. Zhou. Gait recognition in the "
    "wild: a benchmark. ICCV 2021.",
    access="non-commercial; password on request",
    layouts=(
        Layout(
            name="released",
            kind="images",
            paths=_GREW_RELEASED,
            file=r"(?P<frame>\d{5})\.png",
            example="train/00001/4XPn5Z28/00001.png",
            aligned=True,
        ),
        Layout(
            name="rearranged",
            kind="images",
            paths=_GREW_REARRANGED,
            file=r"(?P<frame>\d{5})\.png",
            example="00001train/00/4XPn5Z28/00001.png",
            aligned=True,
        ),
        Layout(
            name="opengait",
            kind="pickle",
            paths=_GREW_REARRANGED,
            file=r"[A-Za-z0-9]{8}\.pkl",
            example="00001train/00/4XPn5Z28/4XPn5Z28.pkl",
            aligned=True,
        ),
        *(
            Layout(
                name=f"{name} skeleton",
                kind="joints",  # as Gait3D's
                paths=paths,
                file=r"(?P<frame>\d{5})_2d_pose\.txt",
                example=f"{folder}/4XPn5Z28/00001_2d_pose.txt",
                aligned=False,
                modality="skeleton",
            )
            for name, paths, folder in (
                ("released", _GREW_RELEASED, "train/00001"),
                ("rearranged", _GREW_REARRANGED, "00001train/00"),
            )
        ),
    ),
    split=Split(
        train=frozenset(numbered(1, 20_000, 5, after="train")), test=frozenset([*numbered(1, 6_000, 5), "probe"])
    ),
    # Local: between the two gallery walks, which have names. The owners score the probes (condition 03) against both;
    # who the probes are is their secret.
    protocol=Protocol(
        kinds=("pooled",),
        probe_sets=(
            ProbeSet(name="local", probe=frozenset({"02"}), gallery=frozenset({"01"})),
            ProbeSet(name="server", probe=frozenset({"03"}), gallery=frozenset({"01", "02"}), kinds=("submission",)),
        ),
    ),
    published={"subjects": 26_345, "sequences": 128_671},  # quoted; 233,857 distractors beside them
    anonymous=r"probe|distractor",
)
