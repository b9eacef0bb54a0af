"""One's own walks: the trees that are understood, what their names say, and what becomes of them as rows."""

import json
import pickle
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from datasets.contours import codec
from datasets.contours.codec import contours_of
from datasets.ingest import layouts, read_frames
from datasets.ingest.sequence_to_row import SequenceResult, ingest_sequence
from datasets.schema.collection import CollectionSpec
from datasets.schema.errors import UsageError
from datasets.specs import custom
from datasets.specs.consistency import check_stored_rows, unmatched
from datasets.specs.resolve import resolve, to_manifest
from datasets.storage import open_place
from datasets.store.writer import StoreWriter
from datasets.synthetic.modalities import see
from datasets.synthetic.scenes import casia_b
from model.objectives.part_contrast import ContrastSettings
from orchestration.run.settings import PretrainRun, Schedule
from orchestration.scoring import scored_collections
from orchestration.training import pretrain as pretraining

SPEC = custom.default_spec("my-walks")
FORMS = {"<subject>/<condition>/<view>": "s 1/coat/left", "<subject>/<condition>": "s 1/coat", "<subject>": "s 1"}


def masks(count: int = 3) -> np.ndarray:
    """Frames [count, 240, 320] of a synthetic walker, who is in view in all of them."""
    return see(casia_b("001", "nm-01", "090"), "silhouette", num_frames=count + 2, seed=3)[2:]


def write_pictures(folder: Path, frames: np.ndarray, names: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, frame in zip(names, frames, strict=True):
        assert cv2.imwrite(str(folder / name), frame)


def ingested(root: Path, spec: CollectionSpec = SPEC) -> list[SequenceResult]:
    found = layouts.find_root(open_place(root), spec)
    return [ingest_sequence(found, ref) for ref in layouts.list_sequences(found)]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", ["pictures", "arrays"])
def test_a_tree_is_known_by_its_depth(tmp_path: Path, form: str, kind: str) -> None:
    folder = tmp_path / FORMS[form]
    if kind == "pictures":
        write_pictures(folder, masks(), ["f1.png", "f2.jpg", "f3.JPEG"])
    else:
        folder.mkdir(parents=True)
        body = np.pad(np.ones((3, 60, 20), np.uint8), ((0, 0), (2, 2), (12, 12)))
        (folder / "any.pkl").write_bytes(pickle.dumps(body))
    assert layouts.find_root(open_place(tmp_path), SPEC).layout.name == f"{form}, {kind}"
    (done,) = ingested(tmp_path)
    condition, view = (FORMS[form].split("/") + ["none", "none"])[1:3]
    assert done.row["sequence_id"] == f"my-walks/s 1/{condition}/{view}"
    assert (done.row["subject"], done.row["condition"], done.row["view"]) == ("s 1", condition, view)
    assert (done.row["split"], done.row["num_frames"]) == ("train", 3)
    assert done.row["grid"] == (128 if kind == "pictures" else 64)
    assert done.row["source"] == FORMS[form]


def test_every_layout_fits_its_own_example() -> None:
    for layout in SPEC.layouts:
        folder, _, file = layout.example.rpartition("/")
        alike = SPEC.of_modality(layout.modality)
        fitting = [one.name for one in alike if SPEC.read_path(one, folder) and re.fullmatch(one.file, file)]
        assert fitting == [layout.name]


def test_frames_are_in_natural_order_and_hidden_files_are_none(tmp_path: Path) -> None:
    write_pictures(tmp_path / "a/b/c", masks(4), ["w_10.png", "w_9.png", "w_2.png", "._w_1.png"])
    (done,) = ingested(tmp_path)
    assert done.row["frame_numbers"] == [2, 9, 10]


def test_frames_named_by_their_time_are_in_order_of_name(tmp_path: Path) -> None:
    write_pictures(tmp_path / "a", masks(3), [f"16570692971234{place}6.png" for place in (9, 1, 5)])
    (ref,) = layouts.list_sequences(root := layouts.find_root(open_place(tmp_path), SPEC))
    raw = read_frames.read(root, ref, np.asarray)
    assert raw.names == sorted(raw.names)
    assert raw.numbers == [0, 1, 2]


def test_numbers_that_repeat_are_none_and_the_names_decide(tmp_path: Path) -> None:
    write_pictures(tmp_path / "a/b/c", masks(3), ["10_mask2.png", "9_mask2.png", "9_mask3.png"])
    (ref,) = layouts.list_sequences(root := layouts.find_root(open_place(tmp_path), SPEC))
    raw = read_frames.read(root, ref, np.asarray)
    assert (raw.names, raw.numbers) == (["9_mask2.png", "9_mask3.png", "10_mask2.png"], [0, 1, 2])


def test_one_frame_in_two_files_is_refused(tmp_path: Path) -> None:
    write_pictures(tmp_path / "a/b/c", masks(3), ["1.png", "1.jpg", "2.png"])
    (done,) = ingested(tmp_path)
    assert done.row is None
    assert [(one["reason"], one["detail"]) for one in done.rejects] == [
        ("two frames of one number", "1.jpg and 1.png differ: keep one of them")
    ]


def test_aligned_pictures_are_kept_to_the_bit_and_others_refused(tmp_path: Path) -> None:
    aligned = CollectionSpec(**{**vars(SPEC), "layouts": custom.layouts(aligned=True)})
    frames = np.zeros((2, 64, 64), np.uint8)
    frames[:, 5:40, 20:33] = 255
    write_pictures(tmp_path / "a/b/c", frames, ["1.png", "2.png"])
    write_pictures(tmp_path / "a/b/raw", masks(2), ["1.png", "2.png"])
    kept, refused = ingested(tmp_path, aligned)
    np.testing.assert_array_equal(codec.decode(contours_of(kept.row)), frames > 0)
    assert [one["reason"] for one in refused.rejects] == ["not an aligned silhouette"]


def test_what_lies_at_another_depth_is_refused_and_not_passed_over(tmp_path: Path) -> None:
    write_pictures(tmp_path / "a/b/c", masks(1), ["1.png"])
    write_pictures(tmp_path / "b/shallow", masks(1), ["1.png"])
    write_pictures(tmp_path / ".cache/b/c", masks(1), ["1.png"])
    (tmp_path / "contact-sheet.png").write_bytes(b"no tree has frames here")
    assert [done.row["source"] if done.row else done.rejects[0]["source"] for done in ingested(tmp_path)] == [
        *(".cache/b/c", "a/b/c", "b/shallow")
    ]
    assert sum(done.row is not None for done in ingested(tmp_path)) == 1
    write_pictures(tmp_path / "a/b", masks(1), ["energy.png"])
    refused = [done.rejects[0]["source"] for done in ingested(tmp_path) if done.row is None]
    assert refused == [".cache/b/c", "a/b", "b/shallow"]


@pytest.mark.parametrize("name", ["a/b", "a=b", " a", "a ", "", "..", ".hidden", "a\nb", "walks+", "-walks"])
def test_names_that_cannot_be_used(name: str) -> None:
    with pytest.raises(UsageError, match="cannot be the name of a collection"):
        custom.check_name(name)


@pytest.mark.parametrize(
    ("name", "meant"),
    [("casia-b", "CASIA-B"), ("CASIA_B", "CASIA-B"), ("OUMVLP", "OU-MVLP"), ("gaitlu 1m", "GaitLU-1M")],
)
def test_names_too_like_one_of_the_catalog(name: str, meant: str) -> None:
    with pytest.raises(UsageError, match=f"did you mean {meant}\\?"):
        custom.check_name(name)


def test_other_names_are_free_unless_one_is_like_them() -> None:
    for name in ("my-walks", "Klinik Süd 2", "CASIA-C", "CASIA-B"):
        custom.check_name(name, ["my-walks"])
    with pytest.raises(UsageError, match="did you mean my-walks"):
        custom.check_name("My_Walks", ["my-walks"])


def test_a_store_of_ones_own_walks_says_all_that_training_and_evaluation_ask(tmp_path: Path) -> None:
    """From two trees and a spec file to a store, as ingest makes it, and to what the other jobs read from it."""
    said = {
        "split": {"test": ["b"], "train": "*"},
        "labels": {"a": {"sex": "f", "gait": "free"}, "a/slow/left": {"gait": "slow"}},
        "sampling_discount": 0.125,
        "protocol": {"kind": "view-pairs", "probe_sets": [{"name": "slow", "probe": ["slow"], "gallery": ["fast"]}]},
    }
    (tmp_path / "spec.json").write_text(json.dumps(said))
    writer = StoreWriter.open(tmp_path / "shards")
    for name, spec_file in (("bare", None), ("mine", str(tmp_path / "spec.json"))):
        spec = resolve(name, spec_file)
        for walk in ("a/slow/left", "a/fast/left", "b/slow/left"):
            write_pictures(tmp_path / name / walk, masks(2), ["1.png", "2.png"])
        done = ingested(tmp_path / name, spec)
        writer.describe(name, {"declared": to_manifest(spec), "published": {}, "anonymous": ""})
        writer.blocks().write([one.row["sequence_id"] for one in done], [one.row for one in done], [])
    store = writer.finish()

    rows = {row["sequence_id"]: row for row in store.rows(["mine"]).to_pylist()}
    assert dict(rows["mine/a/slow/left"]["labels"]) == {"sex": "f", "gait": "slow"}
    assert dict(rows["mine/a/fast/left"]["labels"]) == {"sex": "f", "gait": "free"}
    assert {name: row["split"] for name, row in rows.items() if row["subject"] == "b"} == {"mine/b/slow/left": "test"}
    kept = store.spec("mine")
    assert kept == resolve("mine", str(tmp_path / "spec.json")) == resolve("mine", manifest=store.manifest)
    check_stored_rows(kept, store.rows(["mine"]), kept)
    assert unmatched(kept, store.rows(["mine"])) == [
        "mine: gallery of slow without a sequence in the test split: 1 (fast)"
    ]
    assert [spec.name for spec in scored_collections.scored(store, "test", None)] == ["mine"]
    schedule, whole = Schedule(steps=1, batch=2, warmup=0), ContrastSettings(strips=False)
    run = PretrainRun(recipe="x", shards=str(store), out="unused", objective=whole, schedule=schedule)
    shown = re.findall(
        r"train on (\d) sequences of (\w+), (\d+)% of the steps", "\n".join(pretraining.check_data(run, store))
    )
    share = 3 ** (1 / 3) / (3 ** (1 / 3) + (2 * 0.125) ** (1 / 3))
    assert shown == [("3", "bare", f"{100 * share:.0f}"), ("2", "mine", f"{100 * (1 - share):.0f}")]
