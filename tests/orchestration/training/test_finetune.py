"""Fine-tuning without stand-ins: planted walkers, Ray Train, DeepSpeed on two CPU ranks, MLflow on SQLite."""

import shutil
from dataclasses import replace
from pathlib import Path

import mlflow
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from scipy.stats import binomtest

from datasets.catalog import registry
from datasets.loading.clips import ClipSettings
from datasets.schema.errors import UsageError
from datasets.storage import open_place
from datasets.synthetic import scenes
from datasets.synthetic.trees import write_tree
from jobs import finetune as finetune_job
from jobs.recipes import FINETUNING
from model.network import NetworkSettings
from orchestration.ingest.ingest import IngestRun, ingest
from orchestration.run import checkpoint
from orchestration.run import folder as run_folder
from orchestration.run.finetune_settings import FinetuneRun, read_start
from orchestration.run.folder import tracked_run
from orchestration.run.settings import Cluster, Keep, PretrainRun, Schedule
from orchestration.scoring.finetuned import score
from orchestration.scoring.finetuned_inputs import Scoring
from orchestration.training.finetune import finetune
from tests.fixtures.planted import EACH, planted_walks


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory) -> PretrainRun:
    """The folder of a pretrained run, whose only checkpoint has random weights."""
    out = str(tmp_path_factory.mktemp("pretrained") / "run")
    clips, network = ClipSettings(frames=4), NetworkSettings(channels=16)
    run = PretrainRun(recipe="test", shards="s", out=out, clips=clips, network=network, schedule=Schedule(warmup=0))
    run_folder.claim_folder(run)
    torch.manual_seed(1)
    checkpoint.save(open_place(out), run, run.schedule.steps, run.objective.build(run.network).state_dict(), {})
    return run


def run_of(task: str, pretrained: PretrainRun, shards: Path, out: Path, steps: int = 40) -> FinetuneRun:
    run = FINETUNING[task](pretrained.out, str(shards), str(out))
    return replace(
        run,
        clips=replace(run.clips, frames=4),
        head=replace(run.head, momentum=0.8, encoder_rate=1.0),
        schedule=Schedule(steps=steps, batch=24, lr=3e-3, warmup=4, log_every=1, guard_every=20),
        keep=Keep(every=20, last=0),
        cluster=Cluster(device="cpu", precision="fp32"),
    )


@pytest.fixture(scope="module")
def screened(planted: Path, pretrained: PretrainRun, uri: str, tmp_path_factory) -> FinetuneRun:
    """A run fine-tuned for scoliosis, trained and scored."""
    run = run_of("scoliosis", pretrained, planted, tmp_path_factory.mktemp("screened") / "run")
    finetune(run, uri)
    score(run, Scoring(), uri)
    return run


def results(run: FinetuneRun, level: str = "sequence") -> pd.DataFrame:
    table = pd.read_csv(Path(run.out) / "evaluation/test/results.csv")
    return table[table.level == level].set_index("method")


def losses(run: FinetuneRun, uri: str) -> list[float]:
    history = mlflow.MlflowClient(tracking_uri=uri).get_metric_history(tracked_run(open_place(run.out)), "loss")
    return [one.value for one in sorted(history, key=lambda one: one.step)]


def weights(run: FinetuneRun, step: int) -> dict[str, torch.Tensor]:
    return load_file(f"{run.out}/checkpoints/step-{step:08d}/weights.safetensors")


def test_planted_scoliosis_is_found_in_unseen_subjects(screened: FinetuneRun) -> None:
    table = results(screened)
    assert table.loc["majority class", "accuracy"] == pytest.approx(0.5)
    assert table.loc["fine-tuned", "accuracy_low"] > 0.6
    assert table.loc["fine-tuned", "auroc"] > 0.8


def test_the_report_names_what_inflates_scores(screened: FinetuneRun) -> None:
    folder = Path(screened.out) / "evaluation/test"
    report = (folder / "report.md").read_text()
    for words in (
        "| positive | 14 | 14 | 14 | 14 |",
        "| neutral | 0 | 0 | 0 | 0 |",
        "every class equally often",
        "None of the 28 test subjects is among the 28",
        "stands for a sequence and not for a person (1,050 people in 1,493 sequences)",
        "leakage cannot be excluded",
        "found means positive",
        "No checkpoint was chosen by its scores",
        "| sequence | majority class | 28 | 50.0",
        "| true / predicted | negative | neutral | positive |",
    ):
        assert words in report, words
    answers = pd.read_csv(folder / "answers.csv")
    assert len(answers) == 28
    right = (answers.truth == answers.answer).mean()
    assert right == pytest.approx(results(screened).loc["fine-tuned", "accuracy"])
    assert results(screened, "subject (mean)").loc["fine-tuned", "accuracy"] == pytest.approx(right)


def test_mlflow_has_the_curve_and_the_scores(screened: FinetuneRun, uri: str) -> None:
    client = mlflow.MlflowClient(tracking_uri=uri)
    run = client.get_run(tracked_run(open_place(screened.out)))
    assert (run.info.run_name, run.info.status, run.data.tags["task"]) == ("finetune run", "FINISHED", "scoliosis")
    curve = losses(screened, uri)
    assert len(curve) == 40 and curve[-1] < 0.6 * curve[0]
    assert run.data.metrics["guard/effective_rank"] > 1 and run.data.metrics["clips_per_second"] > 0
    (child,) = client.search_runs(
        [run.info.experiment_id], f"tags.`mlflow.parentRunId` = '{run.info.run_id}' and tags.job = 'score'"
    )
    place = "fine-tuned/Scoliosis1K/scoliosis/sequence"
    assert child.data.metrics[f"{place}/accuracy"] == pytest.approx(results(screened).loc["fine-tuned", "accuracy"])
    files = {file.path for file in client.list_artifacts(child.info.run_id)}
    assert files == {"results.csv", "answers.csv", "report.md", "confusion.png"}


def test_a_run_starts_from_the_pretrained_teacher(screened: FinetuneRun, pretrained: PretrainRun) -> None:
    source = load_file(f"{pretrained.out}/checkpoints/step-00001000/weights.safetensors")
    first, last = weights(screened, 0), weights(screened, 40)
    for name, value in source.items():
        if name.startswith("teacher."):
            place = name.removeprefix("teacher.")
            assert torch.equal(first[f"student.network.{place}"], value)
            assert torch.equal(first[f"teacher.network.{place}"], value)
            assert not torch.equal(last[f"teacher.network.{place}"], value)
    assert read_start(open_place(screened.out)).labels[0].classes == ("negative", "neutral", "positive")


@pytest.mark.slow
def test_a_resumed_run_is_the_same_run_to_the_bit(screened: FinetuneRun, uri: str, tmp_path: Path, caplog) -> None:
    left = shutil.ignore_patterns("step-00000040", "ray", "mlflow_run_id", "evaluation")
    shutil.copytree(screened.out, tmp_path / "run", ignore=left)
    resumed = replace(screened, out=str(tmp_path / "run"), cluster=replace(screened.cluster, loaders=1))
    finetune(resumed, uri)
    assert "after step 20" in caplog.text
    expected, found = weights(screened, 40), weights(resumed, 40)
    assert expected.keys() == found.keys()
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    assert losses(resumed, uri) == losses(screened, uri)[20:]
    finetune(resumed, uri)
    assert "is trained already: 40 steps" in caplog.text


@pytest.fixture(scope="module")
def attributed(local_ray, tmp_path_factory) -> Path:
    """Walkers of RAGAR with attributes: a bag, the build, a coat, and a random one that nothing shows."""
    root = tmp_path_factory.mktemp("attributed")
    walks = []
    for part in ("train", "test"):
        for place, subject in enumerate(sorted(getattr(registry.find("RAGAR").split, part))[:36]):
            coin = int(torch.randint(2, (), generator=torch.Generator().manual_seed(place + 1000 * (part == "test"))))
            walk = scenes.ragar(subject, f"0_{place % 2}_{place % 3}_{place // 2 % 2}", "090")
            walks.append(replace(walk, condition=f"{walk.condition}_{coin}"))
    write_tree(root / "RAGAR", registry.find("RAGAR").layouts[0], walks, num_frames=12, seed=3)
    ingest(IngestRun(roots={"RAGAR": str(root / "RAGAR")}, out=str(root / "shards"), block_sequences=40))
    return root / "shards"


@pytest.mark.slow
def test_a_linear_probe_predicts_attributes_and_keeps_the_encoder(
    attributed: Path, pretrained: PretrainRun, uri: str, tmp_path: Path, capsys
) -> None:
    """Through the job. The coat is predicted for unseen subjects; a random attribute is not."""
    out = tmp_path / "run"
    arguments = ["attributes", "--run", pretrained.out, "--shards", str(attributed), "--out", str(out)]
    arguments += ["--train", "head", "--clips.frames", "4", "--schedule.steps", "60", "--schedule.lr", "0.01"]
    arguments += ["--head.momentum", "0.8", "--schedule.batch", "36", "--cluster.precision", "fp32"]
    finetune_job.main([*arguments, "--tracking", uri])
    assert "linear probe" in capsys.readouterr().out
    table = pd.read_csv(out / "evaluation/test/results.csv")
    own = table[(table.method == "linear probe, trained here") & (table.level == "sequence")].set_index("question")
    assert own.index.tolist() == ["attribute_1", "attribute_2", "attribute_3", "attribute_4"]
    assert own.loc["attribute_3", "accuracy_low"] > 0.55
    assert own.loc["attribute_4", "accuracy"] < 0.75
    source = load_file(f"{pretrained.out}/checkpoints/step-00001000/weights.safetensors")
    last = load_file(out / "checkpoints/step-00000060/weights.safetensors")
    kept = [name.removeprefix("teacher.") for name in source if name.startswith("teacher.")]
    assert all(torch.equal(last[f"teacher.network.{name}"], source[f"teacher.{name}"]) for name in kept)


def test_mistakes_are_found_before_a_worker_starts(
    screened: FinetuneRun, store: Path, uri: str, tmp_path: Path, capsys
) -> None:
    out = str(tmp_path / "run")
    people = replace(screened.data, sampling="people")
    for wrong, message in [
        (replace(screened, out=out, shards=str(store)), r"no sequence to train on in .* has a label of scoliosis"),
        (replace(screened, out=out, run=screened.out), r"is fine-tuned for scoliosis: give the run of `jobs.pretrain`"),
        (replace(screened, out=out, step=7), "no checkpoint of step 7: it has 1000"),
        (replace(screened, out=out, task="depression", data=people, schedule=replace(screened.schedule, batch=400)),
         "is 100 people with --data.each 4 sequences, and there are 28 to train on"),
        (replace(screened, seed=5), "holds a run with seed 0, not 5"),
    ]:  # fmt: skip
        with pytest.raises(UsageError, match=message):
            finetune(wrong, uri)
    assert not Path(out).exists()
    with pytest.raises(UsageError, match="held out no subject"):
        score(screened, Scoring(split="holdout"), uri)
    for arguments, message in [
        (["scolios"], "unknown task 'scolios': the tasks are identification, scoliosis, depression, attributes"),
        (["scoliosis", "--out", "x"], "missing --run, --shards"),
        (["attributes", "--run", "a", "--shards", "b", "--out", "c", "--data.sampling", "balanced"], "take plain"),
        (["scoliosis", "--run", "a", "--shards", "b", "--out", "c", "--schedule.batch", "47"], "does not divide among"),
    ]:
        with pytest.raises(SystemExit) as ended:
            finetune_job.main(arguments)
        assert ended.value.code == 2
        assert message in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        finetune_job.main(["--help"])
    said = capsys.readouterr().out
    assert ended.value.code == 0 and all(f"\n  {task} " in said for task in FINETUNING)


@pytest.mark.slow
def test_planted_depression_is_found_by_subject_and_by_sequence(
    planted: Path, pretrained: PretrainRun, uri: str, tmp_path: Path
) -> None:
    run = run_of("depression", pretrained, planted, tmp_path / "run")
    finetune(run, uri)
    score(run, Scoring(), uri)
    for level, items in (("sequence", 4 * EACH), ("subject (mean)", 2 * EACH), ("subject (majority)", 2 * EACH)):
        table = results(run, level)
        assert table["items"].eq(items).all()
        assert table.loc["fine-tuned", "accuracy_low"] > 0.6
        assert table.loc["fine-tuned", "sensitivity"] > 0.6


@pytest.mark.slow
def test_shuffled_labels_give_chance(pretrained: PretrainRun, local_ray, uri: str, tmp_path: Path) -> None:
    """As many right answers as a coin may give: fewer or more would have a probability below one in a thousand."""
    walks = planted_walks()["Scoliosis1K"]
    for side in (slice(0, 2 * EACH), slice(2 * EACH, None)):
        shuffled = torch.randperm(2 * EACH, generator=torch.Generator().manual_seed(side.start)).tolist()
        names = [walk.condition for walk in walks[side]]
        walks[side] = [replace(walk, condition=names[place]) for walk, place in zip(walks[side], shuffled, strict=True)]
    write_tree(tmp_path / "walks", registry.find("Scoliosis1K").layouts[0], walks, num_frames=12, seed=3)
    shards = tmp_path / "shards"
    ingest(IngestRun(roots={"Scoliosis1K": str(tmp_path / "walks")}, out=str(shards)))
    run = run_of("scoliosis", pretrained, shards, tmp_path / "run")
    finetune(run, uri)
    score(run, Scoring(baselines=False), uri)
    own = results(run).loc["fine-tuned"]
    assert own["items"] == 2 * EACH
    assert binomtest(round(own.accuracy * own["items"]), own["items"]).pvalue > 1e-3


@pytest.mark.slow
def test_subjects_are_identified_after_fine_tuning(
    store: Path, pretrained: PretrainRun, uri: str, tmp_path: Path
) -> None:
    run = run_of("identification", pretrained, store, tmp_path / "run")
    data = replace(run.data, collections=("CASIA-B",))
    run = replace(run, data=data, schedule=replace(run.schedule, batch=16))
    finetune(run, uri)
    report = score(run, Scoring(), uri)
    assert "8 people" not in report and "40 sequences of 4 people" in report
    table = pd.read_csv(Path(run.out) / "evaluation/test/results.csv")
    assert set(table.method) == {"GEI", "random initialisation", "pretrained", "fine-tuned"}
    assert table["num_gallery_subjects"].eq(4).all()
    client = mlflow.MlflowClient(tracking_uri=uri)
    curves = {
        name: [one.value for one in client.get_metric_history(tracked_run(open_place(run.out)), name)]
        for name in ("cross_entropy", "accuracy", "triplet")
    }
    assert curves["cross_entropy"][-1] < 0.9 * curves["cross_entropy"][0]
    assert sum(curves["accuracy"][-10:]) / 10 > 0.5 and curves["triplet"][0] > 0
