"""The same path on a slice of real silhouettes, where they are on the machine; elsewhere these tests say so."""

import pickle
import tarfile
from pathlib import Path

import mlflow
import numpy as np
import pyarrow as pa
import pytest

from datasets.contours import codec
from datasets.contours.codec import contours_of
from datasets.loading.clips import ClipSettings
from datasets.storage import open_place
from datasets.store.reader import Store
from model.network import NetworkSettings
from orchestration.ingest.ingest import IngestRun, ingest
from orchestration.run.folder import tracked_run
from orchestration.run.settings import DataSettings, Keep, PretrainRun, Schedule
from orchestration.scoring.evaluate import EvaluateRun, evaluate
from orchestration.training.pretrain import pretrain

SUBJECTS = [f"{number:03d}" for number in range(1, 9)]
VIEWS = ("054", "090")


@pytest.fixture(scope="module")
def tree(casia_b_archive: Path, tmp_path_factory) -> Path:
    """Eight subjects in two views, unpacked from the front of the archive."""
    root = tmp_path_factory.mktemp("real")
    with (
        pa.input_stream(str(casia_b_archive), compression="zstd") as stream,
        tarfile.open(fileobj=stream, mode="r|") as tar,
    ):
        for member in tar:
            parts = Path(member.name).parts
            if len(parts) > 1 and parts[1].isdigit() and parts[1] not in SUBJECTS:
                break
            if member.isfile() and len(parts) == 5 and parts[3] in VIEWS:
                tar.extract(member, root, filter="data")
    return root / "CASIA-B-pkl"


@pytest.fixture(scope="module")
def real_store(tree: Path, local_ray, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("real-store")
    ingest(IngestRun(roots={"CASIA-B": str(tree)}, out=str(out), block_sequences=64))
    return out


def test_every_frame_decodes_to_the_thresholded_mask(tree: Path, real_store: Path) -> None:
    store = Store.open(real_store)
    rows, rejects = store.rows().to_pylist(), store.rejects().to_pylist()
    assert [(one["source"], one["reason"]) for one in rejects] == [("005/bg-01/090", "too few frames")]  # it has one
    assert len(rows) + len(rejects) == len(list(tree.rglob("*.pkl"))) > 100
    for row in rows:
        (path,) = (tree / row["source"]).iterdir()
        released = pickle.loads(path.read_bytes())
        np.testing.assert_array_equal(codec.decode(contours_of(row)), released > 127)


def test_a_frame_takes_at_most_fifty_bytes(real_store: Path) -> None:
    whole = Store.open(real_store).manifest
    size = sum(file["bytes"] for file in whole["shards"])
    assert size / whole["collections"]["CASIA-B"]["frames"] <= 50


@pytest.mark.slow
def test_pretraining_learns_and_is_scored_on_subjects_held_back(real_store: Path, tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    run = PretrainRun(
        recipe="test",
        shards=str(real_store),
        out=str(tmp_path / "run"),
        data=DataSettings(holdout=("CASIA-B/006", "CASIA-B/007", "CASIA-B/008")),
        clips=ClipSettings(frames=4),
        network=NetworkSettings(channels=32),
        schedule=Schedule(steps=30, batch=32, warmup=3, lr=3e-3, log_every=5),
        keep=Keep(every=30),
    )
    pretrain(run, uri)
    history = mlflow.MlflowClient(tracking_uri=uri).get_metric_history(tracked_run(open_place(run.out)), "loss")
    losses = [metric.value for metric in history]
    assert losses[-1] < losses[0] - 0.2
    rows = evaluate(EvaluateRun(run=run.out, shards=str(real_store), split="holdout"), uri)
    assert {row.num_gallery_subjects for row in rows} == {3}
    nm = {row.method: row for row in rows if row.probe_set == "NM"}
    assert nm["GEI"].identical_only > 50  # chance is 33
    assert nm["pretrained"].identical_only > 50
