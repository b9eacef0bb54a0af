"""Synthetic walkers on disk: every layout of every collection is found, listed and read, and says what was written."""

import pickle
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from datasets.catalog.registry import CATALOG
from datasets.contours import codec
from datasets.contours.codec import contours_of
from datasets.ingest import layouts
from datasets.ingest.sequence_to_row import SequenceResult, ingest_sequence
from datasets.schema.collection import CollectionSpec
from datasets.schema.errors import UsageError
from datasets.storage import open_place
from datasets.synthetic.casts import CASTS, cast_of
from datasets.synthetic.film import Walk
from datasets.synthetic.release_formats import FORMATS
from datasets.synthetic.trees import write_tree

FRAMES = 4
SEED = 2  # of walkers whose feet are apart enough: a walk in four frames overlaps with itself by rounding alone

# One sequence of each collection, and the labels that its path gives it.
LABELS = {
    "CASIA-B/001/bg-01/054": "covariate=bg angle=054",
    "CASIA-E/001/L-scene3_s-cl-2/270": "height=L scene=scene3_s covariate=cl repeat=2 angle=270",
    "CCGR/1/BGCL1/22_5_1.avi": "covariate=BGCL angle=22.5 pitch=55",
    "CCPG/000/U0_D0_BG/08_1": "upper=0 lower=0 bag=yes camera=08",
    "D-Gait/D_000/bg-cl/D2-back": "depression=depressed covariate=bg-cl direction=back",
    "Gait3D/0002/camid33_videoid2/seq0": "camera=33",
    "GREW/00001train/00/1x645646": "",
    "GaitLU-1M/000/000/000": "",
    "OU-MVLP/00001/01/270": "angle=270 way=back",
    "RAGAR/001/1_1_0_0/090": "attribute_1=1 attribute_2=0 attribute_3=0",
    "SUSTech1K/0000/01-ub/000-far": "covariate=ub angle=000 distance=far",
    "Scoliosis1K/00000/positive/000_180": "scoliosis=positive",
}


@dataclass
class Trees:
    """The small cast of one collection, written in each of its layouts and read again."""

    spec: CollectionSpec
    walks: dict[str, Walk]  # by the sequence id that must come of each
    roots: dict[str, Path]  # by layout
    read: dict[str, list[SequenceResult]]


@pytest.fixture(scope="module", params=sorted(CATALOG))
def trees(request, tmp_path_factory) -> Iterator[Trees]:
    spec = CATALOG[request.param]
    walks = list(cast_of(spec))
    # The other modalities: tests/datasets/preprocessing/test_preprocessors.py
    spec = replace(spec, layouts=spec.of_modality("silhouette"))
    by_id = {f"{walk.collection}/{walk.subject}/{walk.condition}/{walk.view}": walk for walk in walks}
    assert len(by_id) == len(walks)
    roots, read = {}, {}
    for layout in spec.layouts:
        roots[layout.name] = root = tmp_path_factory.mktemp(layout.name)
        assert write_tree(root, layout, walks, num_frames=FRAMES, seed=SEED) == len(walks)
        there = layouts.Root(spec, open_place(root), layout, layouts.find_root(open_place(root), spec).numbered)
        read[layout.name] = [ingest_sequence(there, ref) for ref in layouts.list_sequences(there)]
    return Trees(spec, by_id, roots, read)


def masks(row: dict) -> np.ndarray:
    return codec.decode(contours_of(row))


def test_the_layout_is_found_and_no_other(trees: Trees) -> None:
    for layout in trees.spec.layouts:
        root = trees.roots[layout.name]
        assert layouts.find_root(open_place(root), trees.spec).layout == layout
        others = tuple(other for other in trees.spec.layouts if other != layout)
        with pytest.raises(UsageError, match=r"holds no sequence|is not known to have the modality"):
            layouts.find_root(open_place(root), replace(trees.spec, layouts=others))


def test_every_walk_is_a_row_that_says_what_it_is(trees: Trees) -> None:
    for layout in trees.spec.layouts:
        rows = {one.row["sequence_id"]: one.row for one in trees.read[layout.name] if one.row is not None}
        assert sorted(rows) == sorted(trees.walks)
        for name, walk in trees.walks.items():
            row, released = rows[name], (walk.subject, walk.condition, walk.view)
            assert (row["subject"], row["condition"], row["view"]) == released
            assert row["split"] == trees.spec.split.of(walk.subject)
            assert row["num_frames"] == FRAMES - walk.absent
        rejects = [reject for one in trees.read[layout.name] for reject in one.rejects]
        unseen = sum(walk.absent for walk in trees.walks.values()) * (not layout.aligned)
        assert [reject["reason"] for reject in rejects] == ["nearly empty frame"] * unseen
    for name in LABELS.keys() & trees.walks.keys():
        assert rows[name]["labels"] == dict(label.split("=") for label in LABELS[name].split())


def test_a_walk_is_the_same_in_every_layout(trees: Trees) -> None:
    first, *others = ({one.row["sequence_id"]: masks(one.row) for one in read} for read in trees.read.values())
    for other in others:
        for name, seen in first.items():
            assert alike(seen, other[name]) > 0.87, name  # two people overlap by half


def alike(some: np.ndarray, others: np.ndarray) -> float:
    """The worst overlap of two walks' masks [T, G, G], each on its own grid; their centres may differ by rounding."""
    assert len(some) == len(others)
    pairs = zip(
        *(m.repeat(128 // m.shape[1], axis=1).repeat(128 // m.shape[1], axis=2) for m in (some, others)), strict=True
    )
    return min(max(overlap(one, np.roll(other, by, axis=1)) for by in range(-2, 3)) for one, other in pairs)


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    return (one & other).sum() / (one | other).sum()


def test_arrays_of_aligned_silhouettes_keep_every_pixel(trees: Trees) -> None:
    for layout in trees.spec.layouts:
        for row in (one.row for one in trees.read[layout.name] if layout.kind == "pickle"):
            (file,) = (
                f for f in (trees.roots[layout.name] / row["source"]).iterdir() if re.fullmatch(layout.file, f.name)
            )
            released = pickle.loads(file.read_bytes())
            assert released.dtype == np.uint8 and set(np.unique(released)) == {0, 255}
            cut = (64 - released.shape[2]) // 2
            np.testing.assert_array_equal(masks(row)[:, :, cut : 64 - cut], released > 0)


def test_there_is_something_to_train_on_and_every_probe_has_a_gallery(trees: Trees) -> None:
    split = trees.spec.split
    test = [walk for walk in trees.walks.values() if walk.subject in split.test]
    assert any(walk.subject in split.train for walk in trees.walks.values())
    assert bool(test) == bool(split.test)
    for _, one in trees.spec.protocol.scored() if trees.spec.protocol else ():
        probes = {walk.person for walk in test if one.is_probe(walk.subject, walk.condition, walk.view)}
        gallery = {walk.person for walk in test if one.is_gallery(walk.subject, walk.condition, walk.view)}
        assert len(probes & gallery) >= 5, one.name


def test_nobody_walks_in_two_collections() -> None:
    people = [{walk.person for walk in cast()} for cast in CASTS.values()]
    assert len(set.union(*people)) == sum(len(some) for some in people)


def test_numbers_that_repeat_are_other_people_and_hidden_ones_are_in_the_gallery() -> None:
    people: dict[str, set[str]] = {}
    for walk in CASTS["GREW"]():
        people.setdefault(walk.subject, set()).add(walk.person)
    assert len(people["00001"] | people["00001train"]) == 2
    assert people.pop("probe") == set().union(*(who for subject, who in people.items() if "train" not in subject))


def test_every_layout_with_a_cast_is_written_by_another_rule_than_it_is_read() -> None:
    expected = {name: {layout.name for layout in CATALOG[name].layouts} for name in CASTS}
    assert {name: set(formats) for name, formats in FORMATS.items()} == expected and len(expected) == 12
    walks = {f"{one.collection}/{one.subject}/{one.condition}/{one.view}" for cast in CASTS.values() for one in cast()}
    assert set(LABELS) <= walks and {name.partition("/")[0] for name in LABELS} == set(expected)


def test_a_sequence_does_not_depend_on_its_neighbours(tmp_path: Path) -> None:
    layout, walks = CATALOG["CASIA-B"].layouts[0], list(CASTS["CASIA-B"]())[:5]
    write_tree(tmp_path / "one", layout, walks[3:4], num_frames=3)
    write_tree(tmp_path / "many", layout, walks, num_frames=3)
    (name, *_) = (path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*.png"))
    assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "many" / name).read_bytes()


def test_files_are_named_and_made_as_their_owners_do(tmp_path: Path) -> None:
    """What of a release is not told by a sequence that reads well: names, sizes, types, and what lies beside."""

    def written(name: str, layout: str) -> list[str]:
        (one,) = (one for one in CATALOG[name].layouts if one.name == layout)
        root = tmp_path / name / layout
        write_tree(root, one, list(CASTS[name]())[:1], num_frames=FRAMES)
        return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())

    assert written("CASIA-B", "released")[-1] == "001/nm-01/054/001-nm-01-054-004.png"
    assert cv2.imread(f"{tmp_path}/CASIA-B/released/001/nm-01/054/001-nm-01-054-004.png", -1).shape == (240, 320)
    assert written("Gait3D", "released")[2:] == [
        f"0000/camid0_videoid2/seq0/human_crop_f{number}.png" for number in (9998, 9999)
    ]
    assert written("GREW", "released")[-2:] == ["train/00001/1x645646/00004.png", "train/00001/1x645646_gei.png"]
    assert len(written("SUSTech1K", "opengait")) == 16
    assert len(written("CCPG", "opengait")) == 4
    assert written("CASIA-E", "released")[0] == "forTrain/001/H/scene1/nm/045/1/001.jpg"
    assert (tmp_path / "CASIA-E/released/forTrain/001/H/scene1/nm/045/1/001.jpg").read_bytes()[:2] == b"\xff\xd8"
    assert written("GaitLU-1M", "released") == ["silhouette_cut_pkl/000/000/000/000_000_000.pkl"]
    written("OU-MVLP", "released")
    frame = cv2.imread(str(next((tmp_path / "OU-MVLP").rglob("0001.png"))), cv2.IMREAD_UNCHANGED)
    assert (frame.shape, set(np.unique(frame))) == ((980, 1280), {0, 255})
