"""Modalities other than silhouettes: read from trees as their owners write them, and kept apart."""

import json
import pickle
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from datasets.catalog import registry
from datasets.contours import codec
from datasets.contours.codec import contours_of
from datasets.formats import joints
from datasets.ingest import layouts
from datasets.ingest.sequence_to_row import SequenceResult, ingest_sequence
from datasets.preprocessing import parsing, silhouettes, skeletons
from datasets.preprocessing.encoder_input import to_input
from datasets.schema.collection import CollectionSpec
from datasets.schema.errors import Unreadable, UsageError
from datasets.schema.rows import Modality
from datasets.specs import custom
from datasets.specs.resolve import describe
from datasets.storage import open_place
from datasets.store.selection import walk_names
from datasets.store.sequence_ids import id_of, walk_of
from datasets.synthetic.casts import CASTS
from datasets.synthetic.modalities import see
from datasets.synthetic.trees import write_tree
from evaluation.baselines import gei

Read = dict[str, SequenceResult]
OTHERS = [
    (spec.name, layout.name)
    for spec in registry.CATALOG.values()
    for layout in spec.layouts
    if layout.modality != "silhouette"
]


def masks(row: dict) -> np.ndarray:
    return codec.decode(contours_of(row))


def read(root: Path, spec: CollectionSpec, modality: Modality) -> Read:
    """The results of a tree in one modality, by sequence id."""
    found = layouts.find_root(open_place(root), spec, modality)
    return {ref.sequence_id: ingest_sequence(found, ref) for ref in layouts.list_sequences(found)}


def tree(root: Path, collection: str, layout: str, every: int = 9, num_frames: int = 6) -> dict[str, object]:
    """Writes a few walks of a collection's cast in one of its layouts; returns them by the ids of their silhouettes."""
    spec = registry.find(collection)
    (chosen,) = (one for one in spec.layouts if one.name == layout)
    walks = list(CASTS[collection]())[::every]
    write_tree(root, chosen, walks, num_frames=num_frames)
    return {f"{collection}/{walk.subject}/{walk.condition}/{walk.view}": walk for walk in walks}


@pytest.mark.parametrize(("collection", "layout"), OTHERS)
def test_every_walk_of_a_tree_is_a_row_of_its_modality(tmp_path: Path, collection: str, layout: str) -> None:
    spec = registry.find(collection)
    (modality,) = (one.modality for one in spec.layouts if one.name == layout)
    walks = tree(tmp_path, collection, layout)
    assert layouts.find_root(open_place(tmp_path), spec, modality).layout.name == layout
    found = read(tmp_path, spec, modality)
    assert list(found) == sorted(found)
    assert {walk_of(name) for name in found} == set(walks)
    for name, made in found.items():
        walk, row = walks[walk_of(name)], made.row
        assert (row["subject"], row["condition"], row["view"]) == (walk.subject, walk.condition, walk.view)
        assert name == f"{walk_of(name)}@{modality}"
        assert (row["modality"], row["split"]) == (modality, spec.split.of(walk.subject))
        assert row["num_frames"] + row["dropped_frames"] == (2 if modality == "lidar" else 6)
        assert row["dropped_frames"] == len(made.rejects) <= 1
        assert 0.05 < masks(row).mean() < 0.6


def test_several_modalities_may_lie_beside_each_other_and_are_written_in_any_order(tmp_path: Path) -> None:
    for order in (("opengait", "opengait lidar"), ("opengait lidar", "opengait")):
        for layout in order:
            tree(tmp_path / order[0], "SUSTech1K", layout)
    spec = registry.find("SUSTech1K")
    for modality in ("silhouette", "lidar"):
        one, other = (read(tmp_path / name, spec, modality) for name in ("opengait", "opengait lidar"))
        assert list(one) == list(other)
        for name, made in one.items():
            np.testing.assert_array_equal(masks(made.row), masks(other[name].row))
        assert not any(made.rejects for made in one.values())


def test_lidar_silhouettes_are_kept_bit_for_bit_with_frame_numbers_of_the_camera(tmp_path: Path) -> None:
    tree(tmp_path, "SUSTech1K", "opengait lidar", num_frames=10)
    for made in read(tmp_path, registry.find("SUSTech1K"), "lidar").values():
        (file,) = (tmp_path / made.row["source"]).iterdir()
        released = pickle.loads(file.read_bytes())
        np.testing.assert_array_equal(masks(made.row), released > 0)
        assert made.row["frame_numbers"] == [0, 3, 6, 9]
        holes, _ = cv2.findContours(released[0], cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        assert len(holes) > 5


def test_projections_that_are_not_aligned_are_normalised(tmp_path: Path) -> None:
    """200 rows of beams over 40 degrees, as one array; and pictures of several sizes."""
    spec, picture = registry.find("SUSTech1K"), np.zeros((200, 400), np.uint8)
    cv2.ellipse(picture, (250, 100), (12, 40), 0, 0, 360, 255, -1)
    folder = tmp_path / "pickles/0000/00-nm/000"
    folder.mkdir(parents=True)
    (folder / "02-000-LiDAR-PCDs_sils.pkl").write_bytes(pickle.dumps(np.stack([picture] * 2)))
    folder = tmp_path / "pictures/0000/00-nm/000/PCDs_sils"
    folder.mkdir(parents=True)
    pictures = (picture, picture[:, 20:], picture[10:])
    for number, one in enumerate(pictures):
        cv2.imwrite(str(folder / f"1657069297.{number}5.png"), one)
    for name, released in (("pickles", [picture] * 2), ("pictures", pictures)):
        (made,) = read(tmp_path / name, spec, "lidar").values()
        assert made.row["frame_numbers"] == list(range(0, 3 * len(released), 3))
        np.testing.assert_array_equal(masks(made.row), [silhouettes.normalise(one)[0] for one in released])


def test_a_parsing_map_is_the_body_cut_where_parts_meet(tmp_path: Path) -> None:
    tree(tmp_path, "CCGR", "released parsing")
    for made in read(tmp_path, registry.find("CCGR"), "parsing").values():
        (file,) = (tmp_path / made.row["source"]).iterdir()
        for labels, mask in zip(pickle.loads(file.read_bytes()), masks(made.row), strict=True):
            for row, column in np.ndindex(64, 64):
                here = labels[row, column]
                near = labels[row, column : column + 2].tolist() + labels[row : row + 2, column].tolist()
                assert mask[row, column] == (here > 0 and set(near) <= {0, here})


def test_a_raw_map_has_the_outline_of_its_silhouette_and_every_part_apart() -> None:
    labels = np.zeros((300, 200), np.uint8)
    for number, (top, bottom) in enumerate(pairwise((20, 80, 170, 280)), start=1):
        labels[top:bottom, 70 - 8 * number : 120 + 8 * number] = 7 * number
    made = parsing.normalise(labels)
    cut, reason = made.mask, made.reason
    whole, _ = silhouettes.normalise((labels > 0).astype(np.uint8) * 255, 64)
    assert not reason
    assert (cut <= whole).all()
    assert cv2.connectedComponents(cut, connectivity=4)[0] - 1 == 3
    assert sorted(np.flatnonzero((whole - cut).any(axis=1))) == [14, 36]  # the last rows of the upper two parts
    colours = np.stack([labels, 255 - labels, labels // 2], axis=2) * (labels > 0)[..., None]
    np.testing.assert_array_equal(parsing.normalise(colours).mask, cut)


def test_arrays_that_are_not_parsing_maps_are_refused_with_the_reason(tmp_path: Path) -> None:
    spec = registry.find("Gait3D")
    tree(tmp_path / "silhouettes", "Gait3D", "released", every=99)
    (made,) = read(tmp_path / "silhouettes", spec, "parsing").values()
    assert made.row is None
    assert made.rejects[0]["detail"] == "6 one part alone"
    with pytest.raises(ValueError, match=r"no frame with more than one part: silhouettes\?"):
        parsing.aligned_masks(np.full((2, 64, 44), 255, np.uint8))
    photograph = np.random.default_rng(0).integers(1, 255, (90, 60, 3), dtype=np.uint8)
    with pytest.raises(ValueError, match="different values: more than a body has parts"):
        parsing.normalise(photograph)
    with pytest.raises(ValueError, match="not numbers of parts"):
        parsing.to_labels(np.full((4, 4), 0.5))
    tree(tmp_path / "maps", "Gait3D", "released parsing", every=99)
    (made,) = read(tmp_path / "maps", spec, "silhouette").values()  # the other way round
    assert (made.row, made.rejects[0]["reason"]) == (None, "not a mask")


HEAD, FEET = skeletons.HEAD - 0.5, 127.5 - skeletons.THICKNESS / 2


def standing() -> np.ndarray:
    """A body that fills the grid, so that its joints are drawn where they are. Its left is at the larger columns."""
    heights = [HEAD] * 5 + [26] * 2 + [45] * 2 + [62] * 2 + [64] * 2 + [93] * 2 + [FEET] * 2
    aside = [0, 3, -3, 5, -5] + [half * side for half in (14, 20, 22, 9, 9, 9) for side in (1, -1)]
    return np.stack([63.5 + np.array(aside), heights], axis=1)


def test_limbs_are_where_the_joints_are() -> None:
    body = standing()
    made = skeletons.normalise(body)
    drawn = made.mask
    assert not made.reason
    assert drawn.shape == (128, 128) and drawn[[0, -1]].any(axis=1).all()
    for start, end in skeletons.LIMBS:
        for share in np.linspace(0, 1, 9):
            column, row = np.round(body[start] + share * (body[end] - body[start])).astype(int)
            assert drawn[row - 1 : row + 2, column - 1 : column + 2].all(), (start, end)
    assert not drawn[70:, 60:67].any()  # between the legs
    assert not drawn[50, 78:81].any()  # between an arm and the trunk
    for other in (3 * body + 1000, np.hstack([body / 700, np.full((17, 1), 0.9)])):
        np.testing.assert_array_equal(skeletons.normalise(other).mask, drawn)


def test_joints_of_low_confidence_are_left_out_with_their_limbs() -> None:
    body, whole = np.hstack([standing(), np.ones((17, 1))]), skeletons.normalise(standing()).mask
    for place, value in ((2, 0.1), (slice(0, 2), 0.0), (0, np.nan)):
        changed = body.copy()
        changed[7, place] = value  # the left elbow
        drawn = skeletons.normalise(changed).mask
        assert not drawn[30:60, 83:].any()
        np.testing.assert_array_equal(drawn[:, :70], whole[:, :70])
    headless = body.copy()
    headless[:5, 2] = 0
    drawn = skeletons.normalise(headless).mask
    assert (drawn & whole).sum() > 0.8 * (drawn | whole).sum()
    headless[15:, 2] = 0
    made = skeletons.normalise(headless)
    assert (made.mask, made.reason, made.detail) == (None, "too few joints", "10 of 17 joints, no ankle")
    assert skeletons.normalise(body * [1, -1, 1]).reason == "head below the feet"


def test_joints_are_read_from_text_in_every_plausible_form() -> None:
    body = np.hstack([standing(), np.full((17, 1), 0.5)])
    numbers = body.ravel().tolist()
    gait3d = ",".join(map(str, [311, 438, *numbers]))
    for text in (gait3d, " ".join(map(str, numbers)), json.dumps(body.tolist()), json.dumps([[body.tolist()]])):
        np.testing.assert_allclose(joints.decode(text.encode()), body)
    np.testing.assert_allclose(joints.decode(json.dumps(body[:, :2].tolist()).encode()), body[:, :2])
    for text in ("1,2,3", "a,b", "[]", '{"x": 1}', "[[1, 2], [3]]", "[" * 50_000, "[1" + "0" * 400 + "]"):
        with pytest.raises(Unreadable, match=r"^not joints: "):
            joints.decode(text.encode())
    with pytest.raises(Unreadable, match="empty file"):
        joints.decode(b" \n")


def test_an_array_that_is_not_a_skeleton_is_a_reject_with_its_shape(tmp_path: Path) -> None:
    spec = registry.find("CCGR")
    for view, array in (("0_1", np.ones((2, 18, 3))), ("0_2", np.ones((2, 64, 64))), ("0_3", standing()[None])):
        folder = tmp_path / f"1/NM1/{view}.avi"
        folder.mkdir(parents=True)
        (folder / f"{view}pose-1-NM1.pkl").write_bytes(pickle.dumps(array))
    found = read(tmp_path, spec, "skeleton")
    assert [made.rejects[0]["detail"] for made in found.values() if made.row is None] == [
        "numbers of shape [18, 3] instead of [17, 2] or [17, 3]",
        "numbers of shape [64, 64] instead of [17, 2] or [17, 3]",
    ]
    assert found["CCGR/1/NM1/0_3.avi@skeleton"].row["num_frames"] == 1


def test_a_frame_that_shows_too_little_is_dropped_by_name(tmp_path: Path) -> None:
    tree(tmp_path, "Gait3D", "released skeleton", every=99)
    (folder,) = {file.parent for file in tmp_path.rglob("*.txt")}
    whole = (folder / "human_crop_f9999.txt").read_text().split(",")
    (folder / "human_crop_f9999.txt").write_text(",".join(whole[:2] + ["0"] * 51))
    (folder / "human_crop_f10000.txt").write_text(",".join(whole[:20]))
    (made,) = read(tmp_path, registry.find("Gait3D"), "skeleton").values()
    assert made.row["frame_numbers"] == [9998, 10001, 10002, 10003]
    assert {(one["frame"], one["reason"]) for one in made.rejects} == {
        ("human_crop_f9999.txt", "too few joints"),
        ("human_crop_f10000.txt", "not joints"),
    }


def test_a_walk_in_several_modalities_is_the_same_walk(tmp_path: Path) -> None:
    """The nearest silhouettes of a LiDAR's walk, and of a skeleton's, are those of the same walk."""
    spec = registry.find("SUSTech1K")
    for layout in ("opengait", "opengait lidar", "opengait skeleton"):
        tree(tmp_path, "SUSTech1K", layout, every=11, num_frames=24)
    energy = {}
    for modality in ("silhouette", "lidar", "skeleton"):
        found = read(tmp_path, spec, modality)
        energy[modality] = np.stack([gei(to_input(masks(made.row))).ravel() for made in found.values()])
    for modality, least in (("lidar", 0.9), ("skeleton", 0.5)):
        probes, gallery = (energy[one] - energy[one].mean(axis=0) for one in (modality, "silhouette"))
        nearest = np.linalg.norm(probes[:, None] - gallery[None], axis=2).argmin(axis=1)
        assert (nearest == np.arange(len(nearest))).mean() >= least, modality


def test_a_modality_that_a_collection_is_not_known_to_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"SUSTech1K is not known to have the modality parsing: .* silhouette, lidar, skeleton"
    ):
        layouts.find_root(open_place(tmp_path), registry.find("SUSTech1K"), "parsing")


def test_ids_of_modalities_cannot_clash(tmp_path: Path) -> None:
    assert id_of("A", "1/nm/left", "silhouette") == "A/1/nm/left"
    assert id_of("A", "1/nm/left", "lidar") == "A/1/nm/left@lidar"
    assert walk_of("A/1/nm/left@lidar") == "A/1/nm/left"
    assert walk_of("A/1/nm/a@b") == "A/1/nm/a@b"
    for view in ("left", "left@lidar"):
        folder = tmp_path / "1/nm" / view
        folder.mkdir(parents=True)
        body = np.pad(np.ones((2, 60, 20), np.uint8), ((0, 0), (2, 2), (22, 22)))
        (folder / "walk.pkl").write_bytes(pickle.dumps(body))
    found = read(tmp_path, custom.default_spec("mine"), "silhouette")
    assert found["mine/1/nm/left"].row and not found["mine/1/nm/left@lidar"].row
    assert found["mine/1/nm/left@lidar"].rejects[0]["detail"] == "its name ends as the ids of another modality do"


@pytest.mark.parametrize("modality", ["lidar", "parsing", "skeleton"])
@pytest.mark.parametrize("kind", ["frames", "array"])
def test_custom_collections_may_have_any_modality(tmp_path: Path, modality: Modality, kind: str) -> None:
    walk = next(CASTS["CASIA-B"]())
    frames, spec = see(walk, modality, num_frames=6, seed=1), custom.default_spec("mine")
    folder = tmp_path / "001/coat"
    folder.mkdir(parents=True)
    for number, frame in enumerate(frames) if kind == "frames" else ():
        if modality == "skeleton":
            (folder / f"{number}.txt").write_text(" ".join(map(str, frame.ravel().tolist())))
        else:
            cv2.imwrite(str(folder / f"{number}.png"), frame)
    if kind == "array":
        released = frames if modality == "skeleton" else [parsing.crop(frame, 64)[0] for frame in frames]
        (folder / "walk.pkl").write_bytes(pickle.dumps(np.stack(released)))
    ((name, made),) = read(tmp_path, spec, modality).items()
    assert (name, made.row["modality"]) == (f"mine/001/coat/none@{modality}", modality)
    assert made.row["num_frames"] + made.row["dropped_frames"] == len(frames)
    layout = layouts.find_root(open_place(tmp_path), spec, modality).layout
    how = "drawn as limbs" if modality == "skeleton" else "normalised" if kind == "frames" else "taken as aligned"
    assert describe(spec, layout)[0].endswith(f"of {modality}, {how}")


def test_modalities_of_one_sequence_are_one_recorded_walk(tmp_path: Path) -> None:
    import pyarrow as pa

    from datasets.schema.rows import SEQUENCE_SCHEMA

    for layout in ("opengait", "opengait lidar"):
        tree(tmp_path, "SUSTech1K", layout, num_frames=4)
    spec = registry.find("SUSTech1K")
    made = [one.row for modality in ("silhouette", "lidar") for one in read(tmp_path, spec, modality).values()]
    names = walk_names(pa.Table.from_pylist(made, SEQUENCE_SCHEMA), {"SUSTech1K": spec})
    assert names[: len(names) // 2] == names[len(names) // 2 :]
    assert len(set(names)) == len(names) // 2
