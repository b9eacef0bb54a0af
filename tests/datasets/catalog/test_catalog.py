"""Facts of the collections: what their paths say, and the splits and protocols that the field uses."""

import hashlib
import json
import re
from collections import Counter

import pytest

from datasets.catalog.registry import CATALOG
from datasets.schema.collection import CollectionSpec, Layout, Split
from tests.fixtures.probes import role

NAMES = """Gait3D CCPG CASIA-B CASIA-E CCGR D-Gait GREW OU-MVLP RAGAR Scoliosis1K SUSTech1K GaitLU-1M"""
LAYOUTS = [(spec, layout) for spec in CATALOG.values() for layout in spec.layouts]

# Collection, layout, file -> id within the collection (subject/condition/view) and labels.
PATHS = [
    ("CASIA-B", "released", "005/bg-01/162/005-bg-01-162-001.png", "005/bg-01/162", "covariate=bg angle=162"),
    ("CASIA-B", "opengait", "005/bg-01/162/162.pkl", "005/bg-01/162", "covariate=bg angle=162"),
    ("CASIA-B", "opengait", "005/bg-01/162/162-aligned-sils.pkl", "005/bg-01/162", "covariate=bg angle=162"),
    (
        *("CASIA-E", "released", "forTrain/1014/L/scene3_s/cl/000/2/x_12.jpg", "1014/L-scene3_s-cl-2/000"),
        "height=L scene=scene3_s covariate=cl angle=000 repeat=2",
    ),
    (
        *("CASIA-E", "opengait", "1014/L-scene3_s-cl-2/000/000.pkl", "1014/L-scene3_s-cl-2/000"),
        "height=L scene=scene3_s covariate=cl angle=000 repeat=2",
    ),
    ("OU-MVLP", "released", "Silhouette_270-01/00001/0001.png", "00001/01/270", "angle=270 way=back"),
    ("OU-MVLP", "rearranged", "00001/01/090/0001.png", "00001/01/090", "angle=090 way=there"),
    ("OU-MVLP", "opengait", "00001/01/270/270.pkl", "00001/01/270", "angle=270 way=back"),
    ("CCGR", "released", "1/BG1/45_2.avi/45_2sil-1-BG1.pkl", "1/BG1/45_2.avi", "covariate=BG angle=45 pitch=30"),
    ("CCGR", "released", "991/PK1/22_5_1.avi/002-sil.pkl", "991/PK1/22_5_1.avi", "covariate=PK angle=22.5 pitch=55"),
    (
        *("CCGR", "released", "601/BGCRCLCVUB1/over.avi/over.avisil_f-601-BGCRCLCVUB1.pkl"),
        *("601/BGCRCLCVUB1/over.avi", "covariate=BGCRCLCVUB pitch=90"),
    ),
    ("CCPG", "released", "000/U0_D0_BG/01_1/a-7.png", "000/U0_D0_BG/01_1", "upper=0 lower=0 bag=yes camera=01"),
    ("CCPG", "opengait", "199/U3_D3/10/10-aligned-sils.pkl", "199/U3_D3/10", "upper=3 lower=3 bag=no camera=10"),
    (
        *("Gait3D", "released", "0000/camid0_videoid12/seq3/human_crop_f9.jpg", "0000/camid0_videoid12/seq3"),
        "camera=0",
    ),
    ("Gait3D", "opengait", "0000/camid38_videoid2/seq0/seq0.pkl", "0000/camid38_videoid2/seq0", "camera=38"),
    ("Gait3D", "opengait", "0000/camid38_videoid2/seq0/sils-seq0.pkl", "0000/camid38_videoid2/seq0", "camera=38"),
    ("GaitLU-1M", "released", "000/030/001/000_030_001.pkl", "000/030/001", ""),
    ("GaitLU-1M", "released", "silhouette_cut_pkl/000/030/001/001.pkl", "000/030/001", ""),
    ("GREW", "released", "train/00001/4XPn5Z28/00001.png", "00001train/00/4XPn5Z28", ""),
    ("GREW", "released", "test/gallery/00001/79XJefi8/00001.png", "00001/01/79XJefi8", ""),
    ("GREW", "released", "test/probe/01DdvEHX/00001.png", "probe/03/01DdvEHX", ""),
    ("GREW", "released", "distractor/edXJefi8/00001.png", "distractor/distractor/edXJefi8", ""),
    ("GREW", "released", "distractors/edXJefi8/00001.png", "distractor/distractor/edXJefi8", ""),
    ("GREW", "rearranged", "00001train/00/4XPn5Z28/00001.png", "00001train/00/4XPn5Z28", ""),
    ("GREW", "rearranged", "00001/01/79XJefi8/00001.png", "00001/01/79XJefi8", ""),
    ("GREW", "opengait", "probe/03/01DdvEHX/01DdvEHX.pkl", "probe/03/01DdvEHX", ""),
    (
        *("SUSTech1K", "released", "0000/01-ub/000-far/Sils_aligned/1657069297123.jpg", "0000/01-ub/000-far"),
        "covariate=ub angle=000 distance=far",
    ),
    (
        *("SUSTech1K", "opengait", "0000/02-bg-cl/090/06-090-Camera-Sils_aligned.pkl", "0000/02-bg-cl/090"),
        "covariate=bg-cl angle=090",
    ),
    (
        *("D-Gait", "released", "D_000/bg-cl/A1-front/f 1.bmp", "D_000/bg-cl/A1-front"),
        "depression=depressed covariate=bg-cl direction=front",
    ),
    (
        *("D-Gait", "opengait", "N_199/cl/H2-back/H2-back.pkl", "N_199/cl/H2-back"),
        "depression=normal covariate=cl direction=back",
    ),
    ("RAGAR", "opengait", "001/7_0_2_1/v/v.pkl", "001/7_0_2_1/v", "attribute_1=0 attribute_2=2 attribute_3=1"),
    ("Scoliosis1K", "released", "00000/positive/000_180/1.png", "00000/positive/000_180", "scoliosis=positive"),
    ("Scoliosis1K", "opengait", "01292/Negative/000-180/000.pkl", "01292/negative/000_180", "scoliosis=negative"),
    ("Scoliosis1K", "opengait", "01492/NEUTRAL/000_180/000_180.pkl", "01492/neutral/000_180", "scoliosis=neutral"),
]

# Files beside the silhouettes, and folders that no release has.
OTHERS = [
    ("CASIA-B", "opengait", "001/nm-01/000/000-ratios.pkl"),
    ("CASIA-B", "opengait", "001/nm-01/000/000-sils.pkl"),
    ("CASIA-E", "opengait", "001/H_scene1_nm_1/000/000.pkl"),
    ("CCGR", "released", "1/NM1/0_1.avi/003-par.pkl"),
    ("CCGR", "released", "1/NM1/0_1.avi/004-pose.pkl"),
    ("CCGR", "released", "1/NM1/0_1/002-sil.pkl"),
    ("CCPG", "opengait", "000/U0_D0/01_0/01_0-ratios.pkl"),
    ("CCPG", "opengait", "000/U0_D0/01_0/01_0-sils.pkl"),
    ("Gait3D", "released", "0000/camid0_videoid2/seq0/human_crop_f11627.txt"),
    ("Gait3D", "opengait", "0000/camid0_videoid2/seq0/pars-seq0.pkl"),
    ("Gait3D", "opengait", "0000/camid0_videoid2/seq0/smpls-seq0.pkl"),
    ("GREW", "released", "train/00001/4XPn5Z28/00001_2d_pose.txt"),
    ("GREW", "released", "train/00001/4XPn5Z28_gei.png"),
    ("GREW", "rearranged", "probe/4XPn5Z28/00001.png"),
    ("RAGAR", "opengait", "001/7_0_x_1/v/v.pkl"),
    ("RAGAR", "opengait", "001/7/v/v.pkl"),
    ("Scoliosis1K", "opengait", "00000/healthy/000_180/000_180.pkl"),
    ("SUSTech1K", "released", "0000/00-nm/000/Sils_raw/1657069297123.jpg"),
    ("SUSTech1K", "opengait", "0000/00-nm/000/07-000-Camera-Sils_raw.pkl"),
    ("SUSTech1K", "opengait", "0000/00-nm/000/14-sync-000-Camera-Sils_aligned.pkl"),
    ("SUSTech1K", "opengait", "0000/00-nm/000/02-000-LiDAR-PCDs_sils.pkl"),
]

# Of the sorted names, joined by line breaks. The counts were checked against the published ones when these were made.
SPLIT_HASHES = {
    "CASIA-B": ("7f24ca61ce6b247e", "f56d0ca5f0751a6c"),
    "CASIA-E": ("030f53028f5df3cc", "2dc121ba2b1e0baa"),
    "CCGR": ("5739433dda9a38de", "65d61e313b93a13b"),
    "CCPG": ("f0fdc530b8588b00", "31dd9f326f75a30d"),
    "D-Gait": ("8c02bd60b17d30df", "13d04a3d20029c18"),
    "GREW": ("a6427325e7380c73", "359deda45404aa35"),
    "Gait3D": ("f07c839056db7428", "0aa6b87d59feac79"),
    "GaitLU-1M": ("f0fdc530b8588b00", "e3b0c44298fc1c14"),
    "OU-MVLP": ("3341bf81b4e97230", "2bf9b0af0c4bc8f9"),
    "RAGAR": ("190fc65902b97d2c", "cfef2f5651295613"),
    "SUSTech1K": ("300dd428442e2c7e", "d14feea37218b31d"),
    "Scoliosis1K": ("60266306bfda1497", "ed2a93320c6a7928"),
    "Scoliosis1K 1116": ("1108e6590a8a6ab0", "195f8210006bc5d9"),
    "Scoliosis1K 114": ("25dc8ef1ca294cde", "5a8ceeb9e274344f"),
    "Scoliosis1K 118": ("5994b2d4a13902a4", "9537308b03030b0e"),
}
PROBE_HASHES = {"Gait3D": "b71a97e4536fff37", "CCGR": "389a9007ee554b40"}


def layout_of(collection: str, name: str) -> tuple[CollectionSpec, Layout]:
    spec = CATALOG[collection]
    (layout,) = (one for one in spec.layouts if one.name == name)
    return spec, layout


def split_path(layout: Layout, path: str) -> tuple[str, str]:
    """The folder of the sequence and the file in it."""
    folder, _, file = path.rpartition("/")
    return folder.removesuffix(f"/{layout.inside}") if layout.inside else folder, file


def digest(names: frozenset[str]) -> str:
    return hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()[:16]


def test_the_twelve_are_here() -> None:
    assert set(CATALOG) >= set(NAMES.split())
    assert all(spec.name == name for name, spec in CATALOG.items())


@pytest.mark.parametrize(("spec", "layout"), LAYOUTS, ids=lambda one: one.name)
def test_a_layout_fits_its_own_example(spec: CollectionSpec, layout: Layout) -> None:
    folder, file = split_path(layout, layout.example)
    parts = spec.read_path(layout, folder)
    assert parts.subject and parts.condition and parts.view
    assert re.fullmatch(layout.file, file)
    assert layout.aligned or layout.kind != "pickle"  # no tree of pickles is raw


@pytest.mark.parametrize(("collection", "name", "path", "walk", "labels"), PATHS, ids=lambda text: text[:60])
def test_what_a_path_says(collection: str, name: str, path: str, walk: str, labels: str) -> None:
    spec, layout = layout_of(collection, name)
    folder, file = split_path(layout, path)
    assert re.fullmatch(layout.file, file)
    parts = spec.read_path(layout, folder)
    assert (parts.walk, parts.labels) == (walk, dict(one.split("=") for one in labels.split()))
    released = f"{parts.subject}/{parts.condition}/{parts.view}"
    assert released.lower().replace("000-180", "000_180") == walk.lower()
    assert released == walk or collection == "Scoliosis1K"


@pytest.mark.parametrize(("collection", "name", "path"), OTHERS, ids=lambda text: text[:60])
def test_what_is_not_a_silhouette_of_the_collection(collection: str, name: str, path: str) -> None:
    spec, layout = layout_of(collection, name)
    folder, file = path.rsplit("/", 1)
    inside = folder.endswith(layout.inside)
    sequence = folder.removesuffix(f"/{layout.inside}") if layout.inside else folder
    assert not (inside and spec.read_path(layout, sequence) and re.fullmatch(layout.file, file))


COUNTS = {
    "CASIA-B": (74, 50),
    "CASIA-E": (200, 814),
    "CCGR": (571, 400),
    "CCPG": (100, 100),
    "D-Gait": (194, 98),
    "GREW": (20_000, 6_001),
    "Gait3D": (3_000, 1_000),
    "GaitLU-1M": (100, 0),
    "OU-MVLP": (5_153, 5_154),
    "RAGAR": (250, 283),
    "SUSTech1K": (250, 800),
    "Scoliosis1K": (745, 748),
}


@pytest.mark.parametrize("name", sorted(COUNTS))
def test_the_official_split(name: str) -> None:
    split = CATALOG[name].split
    assert (len(split.train), len(split.test)) == COUNTS[name]
    assert (digest(split.train), digest(split.test)) == SPLIT_HASHES[name]


# The first digits of the SHA-256 of OpenGait's partition files, where writing them is no more than sorting the names.
OFFICIAL_FILES = {
    "CASIA-B": ("17be3b80256ca73a", 4, ""),
    "CASIA-E": ("69e2732073c8cd7e", 4, ""),
    "CCGR": ("092ea1dfdc3a4dc4", 4, ""),
    "CCPG": ("d8d270493beac52c", 4, ""),
    "D-Gait": ("5cf708fa64e2b907", 4, ""),
    "GREW": ("03587b88ad00dbfe", None, ""),
    "GaitLU-1M": ("8269a7bb202c0947", 4, "\n"),
    "OU-MVLP": ("3dfcbda5040b1232", 4, ""),
}


@pytest.mark.parametrize("name", sorted(OFFICIAL_FILES))
def test_the_split_is_that_of_the_official_file(name: str) -> None:
    expected, indent, end = OFFICIAL_FILES[name]
    split = CATALOG[name].split
    lists = {"TRAIN_SET": split.train, "TEST_SET": split.test}
    by_number = name in ("CCGR", "CASIA-E")  # their numbers are not all of one length
    ordered = {key: sorted(names, key=lambda one: (len(one) * by_number, one)) for key, names in lists.items()}
    written = json.dumps(ordered, indent=indent) + end
    assert hashlib.sha256(written.encode()).hexdigest()[:16] == expected


@pytest.mark.parametrize(
    ("name", "train", "test", "none"),
    [
        ("CASIA-B", "001 074", "075 124", "125 000"),
        ("CASIA-E", "001 200", "201 614 615 1014", "1015"),
        ("CCGR", "1 134 164 600", "601 803 1000", "135 163 001 0601"),
        ("CCPG", "000 099", "100 199", "200"),
        ("GREW", "00001train 20000train", "00001 06000 probe", "06001 distractor"),
        ("Gait3D", "0000 0001", "0002 0007 0011", "4000"),
        ("OU-MVLP", "00001 10305", "00002 10306 10307", "10308"),
        ("SUSTech1K", "0000 0002", "0001", "0352 1047 1048 1050 1054 1058"),
    ],
)
def test_subjects_at_the_borders(name: str, train: str, test: str, none: str) -> None:
    for split, subjects in (("train", train), ("test", test), ("none", none)):
        assert {CATALOG[name].split.of(subject) for subject in subjects.split()} == {split}


def test_scoliosis_has_the_promised_ratios() -> None:
    spec = CATALOG["Scoliosis1K"]

    def classes(sequences: frozenset[str]) -> tuple[int, ...]:
        """Folders are ordered by class: 493 positive, 800 negative, 200 neutral ones."""
        found = Counter(
            "positive" if name < "00493" else "negative" if name < "01293" else "neutral" for name in sequences
        )
        return tuple(found[name] for name in ("positive", "neutral", "negative"))

    splits = {"112": spec.split, **spec.other_splits}
    assert {name: (classes(split.train), classes(split.test)) for name, split in splits.items()} == {
        "112": ((186, 186, 373), (307, 14, 427)),
        "114": ((124, 124, 497), (369, 76, 303)),
        "118": ((74, 74, 596), (419, 126, 204)),
        "1116": ((41, 41, 663), (452, 159, 137)),
    }
    for name, split in spec.other_splits.items():
        assert (digest(split.train), digest(split.test)) == SPLIT_HASHES[f"Scoliosis1K {name}"]


def test_d_gait_has_its_classes() -> None:
    split = CATALOG["D-Gait"].split
    assert Counter(subject[0] for subject in split.train) == {"D": 66, "N": 128}
    assert Counter(subject[0] for subject in split.test) == {"D": 26, "N": 72}


def test_casia_b_has_its_official_probes() -> None:
    scored = CATALOG["CASIA-B"].protocol.scored()
    sets = {one.name: one for kind, one in scored if kind == "view-pairs"}
    assert {name: sorted(one.probe) for name, one in sets.items()} == {
        "NM": ["nm-05", "nm-06"],
        "BG": ["bg-01", "bg-02"],
        "CL": ["cl-01", "cl-02"],
    }
    assert all(one.gallery == {"nm-01", "nm-02", "nm-03", "nm-04"} for one in sets.values())
    pooled = [one for kind, one in scored if kind == "cross-view-gallery"]
    assert [sorted(one.probe) for one in pooled] == [["nm-01"], ["bg-01"], ["cl-01"]]
    assert {one.gallery for one in pooled} == {frozenset({"nm-02", "bg-02", "cl-02"})}


def test_casia_e_is_probed_in_the_other_scenes() -> None:
    protocol = CATALOG["CASIA-E"].protocol
    assert [(one.name, len(one.probe), len(one.gallery)) for one in protocol.probe_sets] == [
        *(("NM", 12, 4), ("BG", 12, 4), ("CL", 12, 4))
    ]
    assert {"H-scene2-cl-1", "L-scene3_s-cl-2"} < protocol.probe_sets[2].probe
    assert protocol.probe_sets[2].gallery == {f"{height}-scene1-nm-{number}" for height in "HL" for number in "12"}
    assert protocol.excluded_views == {"270"}


def test_sustech1k_is_probed_by_parts_of_its_conditions() -> None:
    sets = CATALOG["SUSTech1K"].protocol.probe_sets
    roles = {one.name: {name: role(one, "0001", name, "000") for name in ("00-nm", "02-bg-cl")} for one in sets}
    assert {found["00-nm"] for found in roles.values()} == {"gallery"}
    assert [name for name, found in roles.items() if found["02-bg-cl"] == "probe"] == ["Bag", "Clothing", "Overall"]


def test_ccpg_compares_cameras() -> None:
    protocol = CATALOG["CCPG"].protocol
    assert [protocol.compared_view(view) for view in ("01_0", "01_1", "10")] == ["01", "01", "10"]
    assert protocol.kinds == ("view-pairs", "pooled-other-views")


def test_gait3d_has_one_probe_for_each_test_subject() -> None:
    spec = CATALOG["Gait3D"]
    (probes,) = spec.protocol.probe_sets
    found = [re.fullmatch(r"(\d{4})/camid(\d+)_videoid(\d+)/seq(\d)", key).groups() for key in probes.probe]
    assert {subject for subject, *_ in found} == spec.split.test and len(found) == 1000
    camera, video, sequence = ({int(one[place]) for one in found} for place in (1, 2, 3))
    assert (camera, video, sequence) == (set(range(39)), set(range(1, 13)), set(range(4)))
    assert role(probes, "0002", "camid33_videoid2", "seq0") == "probe"
    assert role(probes, "0002", "camid33_videoid2", "seq1") == "gallery"
    assert digest(probes.probe) == PROBE_HASHES["Gait3D"]


def test_ccgr_mini_has_its_gallery() -> None:
    spec = CATALOG["CCGR"]
    probes = spec.protocol.probe_sets[0]
    found = Counter(key.split("/")[0] for key in probes.gallery)
    assert len(probes.gallery) == 795
    assert {subject for subject, count in found.items() if count != 2} == {"940", "978", "982"}
    assert spec.split.test - set(found) == {"803"}
    assert role(probes, "601", "DTBXHVCL1", "over.avi") == "gallery"
    assert role(probes, "601", "DTBXHVCL1", "0_1.avi") == "probe"
    assert digest(probes.gallery) == PROBE_HASHES["CCGR"]


def test_ccgr_is_scored_by_pairs_of_54_conditions() -> None:
    assert [(kind, one.name) for kind, one in CATALOG["CCGR"].protocol.scored()] == [
        *(("pooled", "MINI"), ("condition-pairs", "easy"), ("condition-pairs", "hard"))
    ]
    _, easy, hard = CATALOG["CCGR"].protocol.probe_sets
    assert (len(easy.probe), easy.gallery, len(hard.probe), len(hard.gallery)) == (54, {"NM1"}, 54, 54)
    both = [(one.is_probe("601", "CD1", "over.avi"), one.is_gallery("601", "CD1", "over.avi")) for one in (easy, hard)]
    assert both == [(True, False), (True, True)]


def test_grew_is_scored_where_its_subjects_have_names() -> None:
    local, server = CATALOG["GREW"].protocol.probe_sets
    roles = [role(local, subject, condition, "x") for subject, condition in (("00001", "01"), ("00001", "02"))]
    assert (roles, role(local, "probe", "03", "x")) == (["gallery", "probe"], "neither")
    roles = [role(server, "00001", condition, "x") for condition in ("01", "02", "03")]
    assert (roles, server.kinds) == (["gallery", "gallery", "probe"], ("submission",))


def test_gaitlu_is_for_training_alone() -> None:
    spec = CATALOG["GaitLU-1M"]
    assert (spec.protocol, spec.sampling_discount) == (None, 0.1)
    assert {CATALOG[name].sampling_discount for name in NAMES.split() if name != "GaitLU-1M"} == {1.0}


def test_a_subject_cannot_be_in_both_splits() -> None:
    with pytest.raises(ValueError, match="007"):
        Split(train=frozenset({"007", "008"}), test=frozenset({"007"}))
