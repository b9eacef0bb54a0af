"""Pretraining and evaluation without stand-ins: Ray Train, DeepSpeed on two CPU ranks, MLflow on SQLite."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import mlflow
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from datasets.loading.clips import ClipSettings
from datasets.schema.errors import UsageError
from datasets.storage import open_place
from datasets.store.reader import Store
from jobs import evaluate as evaluate_job
from model.network import NetworkSettings
from model.objectives.part_contrast import PartContrast
from orchestration.run import checkpoint
from orchestration.run.folder import read_run, tracked_run
from orchestration.run.serialise import to_json
from orchestration.run.settings import Cluster, DataSettings, Keep, PretrainRun, Schedule
from orchestration.scoring.evaluate import EvaluateRun, evaluate
from orchestration.scoring.scored_collections import zero_shot
from orchestration.training.pretrain import pretrain, without_left_out


@pytest.fixture(scope="module")
def trained(store: Path, uri: str, local_ray, tmp_path_factory) -> PretrainRun:
    """A run of six steps on two workers, with a checkpoint half-way."""
    run = PretrainRun(
        recipe="test",
        shards=str(store),
        out=str(tmp_path_factory.mktemp("runs") / "run"),
        data=DataSettings(holdout=("CASIA-B/004",)),
        clips=ClipSettings(frames=4),
        network=NetworkSettings(channels=16),
        schedule=Schedule(steps=6, batch=16, warmup=2, log_every=2),
        keep=Keep(every=3),
        cluster=Cluster(device="cpu", precision="fp32"),
    )
    assert str(pretrain(run, uri)) == f"{run.out}/checkpoints/step-00000006"
    return run


# Left out of a copied run: its last checkpoint, so that it resumes from the one before, and its id in MLflow.
LEFT_OUT = shutil.ignore_patterns("step-00000006", "ray", "mlflow_run_id")


def weights(run: PretrainRun, step: int = 6) -> dict[str, torch.Tensor]:
    return load_file(Path(run.out) / "checkpoints" / f"step-{step:08d}" / "weights.safetensors")


def largest_difference(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    assert one.keys() == other.keys()
    return max((one[name] - other[name]).abs().max().item() for name in one)


def test_checkpoints_are_complete_and_without_pickles(trained: PretrainRun) -> None:
    folder = Path(trained.out) / "checkpoints"
    assert sorted(path.name for path in folder.iterdir()) == ["step-00000003", "step-00000006"]
    for one in folder.iterdir():
        files = ["optimizer.safetensors", "run.json", "score.json", "state.json", "weights.safetensors"]
        assert sorted(path.name for path in one.iterdir()) == files
    assert read_run(checkpoint.newest_intact(open_place(trained.out))) == replace(trained, shards=trained.shards)
    assert largest_difference(weights(trained, 3), weights(trained)) > 0


def test_training_starts_from_the_weights_of_its_seed(trained: PretrainRun) -> None:
    torch.manual_seed(trained.seed)
    untrained = trained.objective.build(trained.network).state_dict()
    drift = largest_difference(untrained, weights(trained))
    assert 0 < drift < 0.02  # six steps at a rate of 1e-3 at most


def test_a_run_resumes_from_its_newest_intact_checkpoint_to_the_bit(
    trained: PretrainRun, uri: str, tmp_path: Path, caplog
) -> None:
    """The newest one is damaged, and the terminal says so and where the run resumes; processes load the rest of it."""
    shutil.copytree(trained.out, tmp_path / "run", ignore=shutil.ignore_patterns("ray", "mlflow_run_id"))
    damaged = tmp_path / "run/checkpoints/step-00000006"
    damaged.joinpath("weights.safetensors").write_bytes(b"half of")
    (tmp_path / "run" / "checkpoints" / ".step-00000006").mkdir()  # what a kill in the middle of a save leaves
    resumed = replace(
        trained, out=str(tmp_path / "run"), cluster=Cluster(precision="auto", loaders=2)
    )  # and auto device
    pretrain(resumed, uri)
    said = caplog.text
    assert "device cpu: as it was begun" in said and "precision fp32: as it was begun" in said
    assert read_run(open_place(resumed.out)).cluster == trained.cluster
    assert said.count(f"{damaged} is damaged and skipped: weights.safetensors does not match its checksum") == 1
    assert f"resuming {resumed.out} after step 3" in said
    assert largest_difference(weights(trained), weights(resumed)) == 0


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "stage"), [(1, 0), (2, 2)])
def test_other_numbers_of_workers_and_stages_resume_a_run(
    trained: PretrainRun, uri: str, tmp_path: Path, workers: int, stage: int
) -> None:
    shutil.copytree(trained.out, tmp_path / "run", ignore=LEFT_OUT)
    cluster = Cluster(workers=workers, zero_stage=stage, device="cpu", precision="fp32")
    other = replace(trained, out=str(tmp_path / "run"), cluster=cluster)
    pretrain(other, uri)
    assert largest_difference(weights(trained), weights(other)) < 1e-4


def test_a_finished_run_is_not_trained_again(trained: PretrainRun, uri: str, caplog) -> None:
    before = (Path(trained.out) / "checkpoints" / "step-00000006" / "state.json").stat().st_mtime_ns
    pretrain(trained, uri)
    assert "is trained already: 6 steps" in caplog.text
    assert (Path(trained.out) / "checkpoints" / "step-00000006" / "state.json").stat().st_mtime_ns == before


def test_mlflow_has_the_settings_and_the_loss_curve(trained: PretrainRun, uri: str) -> None:
    client = mlflow.MlflowClient(tracking_uri=uri)
    run = client.get_run(tracked_run(open_place(trained.out)))
    assert (run.info.run_name, run.info.status) == ("pretrain run", "FINISHED")
    assert run.data.params["schedule.batch"] == "16"
    losses = client.get_metric_history(run.info.run_id, "loss")
    assert [metric.step for metric in losses] == [1, 2, 3, 4, 6]  # at checkpoints, too
    assert all(1 < metric.value < 5 for metric in losses)
    assert 0.1 < run.data.metrics["tokens_kept"] < 0.5
    assert [file.path for file in client.list_artifacts(run.info.run_id)] == ["loss.png"]
    assert (Path(trained.out) / "loss.png").stat().st_size > 5000


def test_mistakes_are_found_before_a_worker_starts(trained: PretrainRun, uri: str, tmp_path: Path) -> None:
    out = str(tmp_path / "run")
    alone = DataSettings(collections=("GaitLU-1M",), positives="walk")
    for wrong, message in [
        (replace(trained, out=out, schedule=replace(trained.schedule, batch=400)), "set --schedule.batch to at most"),
        (replace(trained, out=out, data=DataSettings(collections=("OU-MVLP",))), "holds no OU-MVLP"),
        (replace(trained, out=out, data=DataSettings(holdout=("CASIA-B/999",))), "held-out subject 'CASIA-B/999'"),
        (replace(trained, out=out, data=alone), "no walk that several cameras filmed at once in GaitLU-1M"),
        (replace(trained, out=out, shards=str(tmp_path)), "holds no finished shards"),
        (replace(trained, seed=5), "holds a run with seed 0, not 5"),
    ]:
        with pytest.raises(UsageError, match=message):
            pretrain(wrong, uri)
    assert not Path(out).exists()


def test_a_collection_that_is_left_out_counts_as_unseen(trained: PretrainRun, store: Path) -> None:
    run = replace(trained, data=DataSettings(leave_out=("GaitLU-1M",)))
    resolved = without_left_out(run, Store.open(store))
    assert resolved.data.collections == ("CASIA-B",)
    both = ("CASIA-B", "GaitLU-1M")
    assert zero_shot(resolved, both) == {"CASIA-B": "unseen subjects", "GaitLU-1M": "unseen collection"}
    whole = replace(trained, data=DataSettings())
    assert zero_shot(whole, both) == dict.fromkeys(both, "unseen subjects")
    assert zero_shot(replace(whole, shards=str(store) + "-gone"), both) == dict.fromkeys(both, "not known")
    with pytest.raises(UsageError, match=r"--data.leave-out CASIA-E is not in .*: it has CASIA-B, GaitLU-1M"):
        without_left_out(replace(trained, data=DataSettings(leave_out=("CASIA-E",))), Store.open(store))
    with pytest.raises(UsageError, match=r"--data.leave-out CASIA-B is among --data.collections"):
        DataSettings(collections=("CASIA-B",), leave_out=("CASIA-B",))


def test_evaluation_scores_the_run_beside_its_baselines(trained: PretrainRun, uri: str, capsys) -> None:
    evaluate_job.main(["--run", trained.out, "--shards", trained.shards, "--tracking", uri])
    said = capsys.readouterr().out
    for word in (
        "GEI",
        "GEI in strips",
        "hand-made statistics",
        "random initialisation",
        "pretrained",
        "NM",
        "BG",
        "CL",
        "-m mlflow ui --backend-store-uri",
    ):
        assert word in said
    table = pd.read_csv(Path(trained.out) / "evaluation" / "test" / "results.csv")
    assert len(table) == 5 * (3 + 3)  # methods, by pairs of views and by cross-view galleries
    assert table["num_gallery_subjects"].eq(4).all()
    assert table["excluding_identical"].between(0, 100).all()
    pictures = {"CASIA-B-cmc", "CASIA-B-map-pretrained", "CASIA-B-view-pairs-pretrained", "rank1"}
    pictures |= {f"CASIA-B-sheet-{one}-pretrained" for one in ("NM", "BG", "CL", "NM-01", "BG-01", "CL-01")}
    folder = Path(trained.out) / "evaluation" / "test"
    written = {file.name for file in folder.iterdir()}
    assert written == {"results.csv", "report.md", "report.html", *(f"{name}.png" for name in pictures)}
    assert "zero-shot on unseen subjects" in (folder / "report.html").read_text()
    page = (folder / "report.md").read_text()
    assert "zero-shot on unseen subjects" in page
    assert all(f"({name}.png)" in page for name in pictures) and "| pretrained |" in page
    client = mlflow.MlflowClient(tracking_uri=uri)
    parent = tracked_run(open_place(trained.out))
    (child,) = client.search_runs(
        [client.get_run(parent).info.experiment_id], f"tags.`mlflow.parentRunId` = '{parent}' and tags.job = 'evaluate'"
    )
    gei = table[(table.method == "GEI") & (table.probe_set == "NM")].iloc[0]
    assert child.data.metrics["GEI/CASIA-B/NM/rank1_excluding_identical"] == pytest.approx(gei.excluding_identical)
    assert {file.path for file in client.list_artifacts(child.info.run_id)} == written


def test_held_back_subjects_are_scored_and_no_others(trained: PretrainRun, uri: str) -> None:
    rows = evaluate(EvaluateRun(run=trained.out, shards=trained.shards, split="holdout", pictures=()), uri)
    assert {row.num_gallery_subjects for row in rows} == {1}
    assert all(row.identical_only == 100 for row in rows if row.probe_set == "NM")


def test_evaluation_needs_a_run_with_a_checkpoint(trained: PretrainRun, uri: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"is not the folder of a run"):
        evaluate(EvaluateRun(run=str(tmp_path), shards=trained.shards), uri)
    (tmp_path / "run.json").write_text(json.dumps(to_json(trained)))
    with pytest.raises(UsageError, match="has no checkpoint yet"):
        evaluate(EvaluateRun(run=str(tmp_path), shards=trained.shards), uri)


def test_a_checkpoint_of_any_step_can_be_scored(trained: PretrainRun, uri: str, tmp_path: Path, caplog) -> None:
    shutil.copytree(trained.out, tmp_path / "run")
    settings = EvaluateRun(run=str(tmp_path / "run"), shards=trained.shards, split="holdout", step=3, pictures=())
    rows = evaluate(settings, uri)
    assert {row.method for row in rows} >= {"random initialisation", "pretrained"}
    assert (tmp_path / "run/evaluation/steps/holdout-00000003/results.csv").is_file()
    assert "is not finished" not in caplog.text
    with pytest.raises(UsageError, match=r"no checkpoint of step 4: it has 3, 6"):
        evaluate(replace(settings, step=4), uri)


def test_an_unfinished_run_is_scored_with_a_warning(trained: PretrainRun, uri: str, tmp_path: Path, caplog) -> None:
    shutil.copytree(trained.out, tmp_path / "run", ignore=LEFT_OUT)
    evaluate(EvaluateRun(run=str(tmp_path / "run"), shards=trained.shards, split="holdout", pictures=()), uri)
    assert f"the training of {tmp_path / 'run'} is not finished: evaluating step 3 of 6" in caplog.text


def test_weights_of_another_network_are_refused(trained: PretrainRun) -> None:
    other = PartContrast(NetworkSettings(channels=8), trained.objective)
    with pytest.raises(UsageError, match="do not fit the network"):
        checkpoint.load_weights(checkpoint.newest_intact(open_place(trained.out)), other)
