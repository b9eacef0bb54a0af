"""Several modalities of one collection in one store: runs in any order, counts, and what training sees of them."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from datasets.catalog import registry
from datasets.loading import corpus
from datasets.loading.corpus import write_map
from datasets.reports import page as report_page
from datasets.reports import text
from datasets.schema.errors import UsageError
from datasets.schema.rows import COLUMNS, WALK_COLUMNS
from datasets.store.reader import Store
from datasets.store.selection import Selection, training_rows, training_tables
from datasets.store.sequence_ids import walk_of
from datasets.synthetic.casts import CASTS
from datasets.synthetic.trees import write_tree
from jobs import ingest as ingest_job
from model.objectives.part_contrast import ContrastSettings
from orchestration.ingest.ingest import IngestRun, ingest
from orchestration.run import folder as run_folder
from orchestration.run.serialise import build, to_json
from orchestration.run.settings import DataSettings, PretrainRun, Schedule
from orchestration.training import pretrain as pretraining

SPEC = registry.find("SUSTech1K")
WALKS = list(CASTS["SUSTech1K"]())[::6]


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    """A few walks as OpenGait pickles: silhouettes, what a LiDAR saw, and skeletons."""
    root = tmp_path_factory.mktemp("tree")
    for layout in SPEC.layouts:
        if layout.name.startswith("opengait"):
            write_tree(root, layout, WALKS, num_frames=9)
    return root


@pytest.fixture(scope="module")
def store(tree: Path, local_ray, tmp_path_factory) -> Path:
    """Silhouettes, then what the LiDAR saw, each by the command line; the skeletons are left out."""
    out = tmp_path_factory.mktemp("store") / "shards"
    for modality in ([], ["--modality", "lidar"]):
        ingest_job.main(["--root", f"SUSTech1K={tree}", "--out", str(out), *modality])
    return out


def test_a_modality_is_added_once_and_the_silhouettes_stay_as_they_were(store: Path, tree: Path) -> None:
    rows = Store.open(store).rows()
    assert Counter(rows["modality"].to_pylist()) == {"silhouette": len(WALKS), "lidar": len(WALKS)}
    seen = {row["sequence_id"]: row for row in rows.to_pylist()}
    for walk in WALKS:
        name = f"SUSTech1K/{walk.subject}/{walk.condition}/{walk.view}"
        both = seen[name], seen[f"{name}@lidar"]
        assert [row["modality"] for row in both] == ["silhouette", "lidar"]
        for part in ("subject", "condition", "view", "split", "labels", "source"):
            assert both[0][part] == both[1][part]
    before = {path: path.read_bytes() for path in store.rglob("*.parquet")}
    ingest(IngestRun(roots={"SUSTech1K": str(tree)}, out=str(store), modality="lidar"))
    assert {path: path.read_bytes() for path in store.rglob("*.parquet")} == before


@pytest.mark.slow
def test_the_store_says_how_each_modality_was_read_in_whichever_order(store: Path, tree: Path, tmp_path: Path) -> None:
    for modality in ("skeleton", None):
        ingest(IngestRun(roots={"SUSTech1K": str(tree)}, out=str(tmp_path / "other"), modality=modality))
        read = Store.open(tmp_path / "other").collections["SUSTech1K"]
        assert read.get("layout") == (None if modality else "opengait")
        assert read["other_modalities"] == {"skeleton": {"root": str(tree), "layout": "opengait skeleton"}}
    entry = Store.open(store).collections["SUSTech1K"]
    assert (entry["root"], entry["layout"]) == (str(tree), "opengait")
    assert entry["other_modalities"] == {"lidar": {"root": str(tree), "layout": "opengait lidar"}}


def test_published_counts_are_those_of_silhouettes_alone(store: Path, tree: Path, local_ray, tmp_path: Path) -> None:
    whole = Store.open(store).manifest
    entry, count = whole["collections"]["SUSTech1K"], len(WALKS)
    subjects = len({walk.subject for walk in WALKS})
    assert entry["sequences"] == 2 * count
    assert {name: part["sequences"] for name, part in entry["modalities"].items()} == {
        "silhouette": count,
        "lidar": count,
    }
    assert (entry["subjects"], entry["modalities"]["lidar"]["subjects"]) == (subjects, subjects)
    assert entry["published"]["sequences"]["difference"] == count - 25_239
    said = text.describe(whole)
    assert f"SUSTech1K: {2 * count} sequences, {subjects} subjects, {12 * count} frames (train" in said
    assert f"  silhouette: {count} of 25,239 sequences" in said
    assert f"  lidar: {count} sequences, {subjects} subjects, {3 * count} frames" in said
    page = report_page.page(whole, {})
    assert "SUSTech1K, lidar" in page and "Read from (lidar)" in page
    alone = ingest(IngestRun(roots={"SUSTech1K": str(tree)}, out=str(tmp_path / "alone"), modality="lidar"))
    entry = alone.collections["SUSTech1K"]
    assert entry["published"]["sequences"] == {"count": 25_239, "difference": None, "share": None}  # missing, and not 0
    assert "of 25,239" not in text.describe(alone.manifest)
    report_page.page(alone.manifest, {})


def run_of(store: Path, *modalities: str, **data: object) -> PretrainRun:
    settings = DataSettings(**({"modalities": modalities} if modalities else {}), **data)
    return PretrainRun(
        recipe="tiny",
        shards=str(store),
        out="nowhere",
        data=settings,
        schedule=Schedule(steps=1, batch=2, warmup=0),
        objective=ContrastSettings(strips=False),
    )


def test_training_sees_the_silhouettes_unless_asked_for_more(store: Path, tmp_path: Path, capsys) -> None:
    trained = [walk for walk in WALKS if walk.subject in SPEC.split.train]
    for modalities in (("silhouette",), ("lidar",), ("silhouette", "lidar")):
        rows = training_rows(Store.open(store), Selection(modalities=modalities), WALK_COLUMNS)
        tables = list(training_tables(Store.open(store), Selection(modalities=modalities)))
        assert rows.num_rows == sum(table.num_rows for table in tables) == len(modalities) * len(trained)
        assert rows.column_names == WALK_COLUMNS and tables[0].column_names == COLUMNS
        folder = tmp_path / "-".join(modalities)
        write_map(tables, {"SUSTech1K": SPEC}, folder)
        sequences = corpus.Corpus(folder)
        partners = sequences.partners(np.arange(len(sequences)), np.zeros(len(sequences)))
        for row, partner in enumerate(partners.tolist()):
            assert walk_of(sequences.sequence_id(row)) == walk_of(sequences.sequence_id(partner))
            assert (row != partner) == (len(modalities) == 2)
    assert training_rows(Store.open(store), Selection()).num_rows == len(trained)
    there = Store.open(store)
    assert f"train on {len(trained)} sequences of SUSTech1K" in "\n".join(pretraining.check_data(run_of(store), there))
    both = "\n".join(pretraining.check_data(run_of(store, "silhouette", "lidar", positives="walk"), there))
    assert f"{2 * len(trained)} of {2 * len(trained)} sequences have positives from other cameras or modalities" in both
    with pytest.raises(UsageError, match="finds no walk that several cameras filmed at once"):
        pretraining.check_data(run_of(store, positives="walk"), there)


def test_a_modality_that_is_not_in_the_store_is_named_with_the_fix(store: Path) -> None:
    with pytest.raises(
        UsageError, match=r"no skeleton to train on: .* of lidar, silhouette, or ingest with --modality"
    ):
        training_rows(Store.open(store), Selection(modalities=("silhouette", "skeleton")), WALK_COLUMNS)
    for wrong in ((), ("lidar", "lidar")):
        with pytest.raises(UsageError, match="must name some, each of them once"):
            DataSettings(modalities=wrong)


def test_a_run_from_before_there_were_modalities_goes_on(store: Path, tmp_path: Path) -> None:
    run = build(PretrainRun, {**to_json(run_of(store)), "out": str(tmp_path)})
    assert run.data.modalities == ("silhouette",)
    older = to_json(run)
    del older["data"]["modalities"]
    (tmp_path / run_folder.RUN_FILE).write_text(json.dumps(older))
    run_folder.check_folder(run)
    other = build(PretrainRun, {**older, "data": {**older["data"], "modalities": ["lidar"]}})
    with pytest.raises(UsageError, match=r"holds a run with data\.modalities"):
        run_folder.check_folder(other)


def test_a_spec_file_says_which_modality_a_tree_holds(tmp_path: Path, tree: Path, local_ray) -> None:
    spec, root, out = tmp_path / "spec.json", tmp_path / "mine", str(tmp_path / "shards")
    spec.write_text('{"modality": "skeleton", "aligned": true}')
    folder = root / "a/normal/left"
    folder.mkdir(parents=True)
    (folder / "walk.pkl").write_bytes(next(tree.rglob("03-*-Camera-Pose.pkl")).read_bytes())
    run = {"roots": {"mine": str(root)}, "out": out}
    entry = ingest(IngestRun(**run, specs={"mine": str(spec)})).collections["mine"]
    assert list(entry["modalities"]) == ["skeleton"]
    assert Store.open(out).rows()["sequence_id"].to_pylist() == ["mine/a/normal/left@skeleton"]
    assert entry["declared"]["modality"] == "skeleton"
    assert ingest(IngestRun(**run)).collections["mine"]["sequences"] == 1  # the store remembers it
    with pytest.raises(UsageError, match=r"mine is not known to have the modality lidar: .* one of skeleton"):
        ingest(IngestRun(**run, modality="lidar"))
    spec.write_text('{"modality": "lidar"}')
    with pytest.raises(UsageError, match="with another value of `aligned` or of `modality`"):
        ingest(IngestRun(**run, specs={"mine": str(spec)}))
