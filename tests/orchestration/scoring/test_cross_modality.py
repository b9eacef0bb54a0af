"""Probes of one modality against a gallery of another: who is compared with whom, and the job on walks of both."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from datasets.catalog import registry
from datasets.loading.clips import ClipSettings
from datasets.schema.errors import UsageError
from datasets.schema.protocol import ProbeSet, Protocol
from datasets.storage import open_place
from datasets.synthetic.casts import CASTS
from datasets.synthetic.trees import write_tree
from evaluation.retrieval.sequences import Sequences
from jobs import evaluate as evaluate_job
from jobs import ingest as ingest_job
from model.network import NetworkSettings
from orchestration.run import checkpoint, folder
from orchestration.run.settings import PretrainRun

SET = ProbeSet(name="all", probe=frozenset({"b"}), gallery=frozenset({"a"}))


def walks_twice() -> tuple[Sequences, list[str]]:
    """Two subjects in two views, walks a and b, each seen as a silhouette and by LiDAR."""
    names = [(s, c, v) for s in ("s1", "s2") for c in ("a", "b") for v in ("v1", "v2")]
    embeddings = np.random.default_rng(0).normal(size=(2 * len(names), 3, 2)).astype(np.float32)
    subjects, conditions, views = zip(*[*names, *names], strict=True)
    return Sequences.of(embeddings, subjects, conditions, views), ["silhouette"] * 8 + ["lidar"] * 8


@pytest.mark.parametrize("probe", ["silhouette", "lidar"])
@pytest.mark.parametrize("gallery", ["silhouette", "lidar"])
def test_probes_are_of_one_modality_and_the_gallery_of_the_other(probe: str, gallery: str) -> None:
    sequences, modalities = walks_twice()
    found = sequences.between(modalities, probe, gallery).select(Protocol(probe_sets=(SET,)), SET)
    assert {(sequences.conditions[one], modalities[one]) for one in found.probes} == {("b", probe)}
    assert {(sequences.conditions[one], modalities[one]) for one in found.gallery} == {("a", gallery)}
    assert (len(found.probes), len(found.gallery), found.num_excluded) == (4, 4, 0)


def test_a_modality_that_is_not_there_is_named() -> None:
    sequences, modalities = walks_twice()
    with pytest.raises(UsageError, match="no sequence is of the modality skeleton: there are lidar, silhouette"):
        sequences.between(modalities, "skeleton", "lidar")


@pytest.fixture(scope="module")
def store(local_ray, tmp_path_factory) -> Path:
    """Walks of SUSTech1K as silhouettes and as a LiDAR saw them."""
    root = tmp_path_factory.mktemp("both")
    spec = registry.find("SUSTech1K")
    layouts = [one for one in spec.layouts if one.name.startswith("opengait") and one.modality != "skeleton"]
    for layout in layouts:
        write_tree(root / "tree", layout, list(CASTS["SUSTech1K"]()), num_frames=9)
    for layout in layouts:
        argv = ["--root", f"SUSTech1K={root / 'tree'}", "--out", str(root / "shards"), "--modality", layout.modality]
        ingest_job.main(argv)
    return root / "shards"


@pytest.fixture(scope="module")
def run(store: Path, tmp_path_factory) -> Path:
    """A run's folder with weights that were never trained."""
    out = tmp_path_factory.mktemp("run") / "run"
    settings = PretrainRun(
        recipe="test",
        shards=str(store),
        out=str(out),
        clips=ClipSettings(frames=8),
        network=NetworkSettings(channels=8),
    )
    folder.claim_folder(settings)
    checkpoint.save(open_place(str(out)), settings, 1, settings.objective.build(settings.network).state_dict(), {})
    return out


@pytest.mark.slow
def test_the_job_compares_across_modalities_and_keeps_the_results_apart(
    store: Path, run: Path, tmp_path: Path, capsys
) -> None:
    argv = ["--run", str(run), "--shards", str(store), "--tracking", f"sqlite:///{tmp_path}/mlflow.db", "--pictures"]
    tables = {}
    for name, chosen in (
        ("test", []),
        ("test-lidar-in-silhouette", ["--probe-modality", "lidar"]),
        ("test-lidar-in-lidar", ["--probe-modality", "lidar", "--gallery-modality", "lidar"]),
    ):
        evaluate_job.main([*argv, *chosen])
        tables[name] = pd.read_csv(run / "evaluation" / name / "results.csv").set_index(["method", "probe_set"])
    same, across, lidar = tables.values()
    for counted in ("num_probes", "num_gallery", "num_gallery_subjects"):
        assert same[counted].equals(across[counted]) and same[counted].equals(lidar[counted])  # each was filmed as both
    assert not same["rank1"].equals(across["rank1"])  # but other pictures are compared
    with pytest.raises(SystemExit) as end:
        evaluate_job.main([*argv, "--gallery-modality", "skeleton"])
    assert end.value.code == 2
    assert "no sequence is of the modality skeleton: there are silhouette" in capsys.readouterr().err
    assert json.loads((run / "run.json").read_text())["data"]["modalities"] == ["silhouette"]
