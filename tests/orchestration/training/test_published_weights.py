"""Runs that start from a published checkpoint: scored and released without training, or trained further."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from datasets.loading.clips import ClipSettings
from datasets.schema.errors import UsageError
from datasets.storage import open_place
from jobs import evaluate as evaluate_job
from jobs import pretrain as pretrain_job
from model.embedding import embed
from model.network import GaitNetwork, NetworkSettings
from model.p3d.checkpoint import published_name
from model.release import load_release
from orchestration.embedding.networks import networks_of
from orchestration.release.release import ReleaseRun, release
from orchestration.run import checkpoint
from orchestration.run.folder import read_run
from orchestration.run.settings import Cluster, PretrainRun, Schedule
from orchestration.scoring.evaluate import METHODS
from orchestration.training.pretrain import pretrain

TINY = NetworkSettings(size="p3d-tiny", channels=16)


def published(settings: NetworkSettings = TINY) -> GaitNetwork:
    """A stand-in for the published network: weights of a seed that no run has, and norms with running statistics."""
    torch.manual_seed(99)
    network = GaitNetwork(settings)
    with torch.no_grad():
        network.pool((torch.rand(4, 4, 64, 44) < 0.5).byte(), torch.zeros(4, 4))
    return network.eval()


def write_checkpoint(path: Path, network: GaitNetwork) -> str:
    """The network as the teacher of a checkpoint in OpenGait's format; the student is another."""
    model = {}
    for name, value in network.state_dict().items():
        theirs = published_name(name)
        shaped = value.unsqueeze(2) if theirs.endswith("downsample.0.weight") else value
        model |= {f"teacher_backbone.{theirs}": shaped, f"student_backbone.{theirs}": torch.zeros_like(shaped)}
    torch.save({"model": model, "iteration": 40_000}, path)
    return str(path)


@pytest.fixture(scope="module")
def start(tmp_path_factory) -> str:
    return write_checkpoint(tmp_path_factory.mktemp("published") / "p3d.pt", published())


def run_from(start: str, store: Path, out: Path, steps: int) -> PretrainRun:
    return PretrainRun(
        recipe="test",
        shards=str(store),
        out=str(out),
        start=start,
        clips=ClipSettings(frames=4),
        network=TINY,
        schedule=Schedule(steps=steps, batch=16, warmup=0),
        cluster=Cluster(device="cpu", precision="fp32"),
    )


def weights(folder: Path, step: int) -> dict[str, torch.Tensor]:
    return load_file(folder / "checkpoints" / f"step-{step:08d}" / "weights.safetensors")


def assert_published(state: dict[str, torch.Tensor]) -> None:
    """The weights of a network, to the bit, are the published ones."""
    for name, value in published().state_dict().items():
        torch.testing.assert_close(state[name], value, rtol=0, atol=0, msg=name)


def of(whose: str, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.removeprefix(f"{whose}."): value for name, value in state.items() if name.startswith(f"{whose}.")}


@pytest.fixture(scope="module")
def zero_shot(start: str, store: Path, uri: str, tmp_path_factory) -> Path:
    """A run of no steps, by the command line; nothing of the store that it names is read."""
    out = tmp_path_factory.mktemp("runs") / "run"
    argv = [
        "p3d-0.03b",
        "--start",
        start,
        "--schedule.steps",
        "0",
        "--shards",
        str(out / "no-store"),
        "--out",
        str(out),
    ]
    pretrain_job.main([*argv, "--network.size", "p3d-tiny", "--network.channels", "16", "--tracking", uri])
    return out


def test_a_run_of_no_steps_holds_the_published_weights(zero_shot: Path, uri: str, caplog) -> None:
    newest = checkpoint.newest_intact(open_place(zero_shot))
    assert [checkpoint.step_of(newest), newest.name] == [0, "step-00000000"]
    for whose in ("student", "teacher"):
        assert_published(of(whose, weights(zero_shot, 0)))
    pretrain(read_run(open_place(zero_shot)), uri)
    assert "is trained already: 0 steps" in caplog.text


@pytest.mark.slow
def test_published_weights_are_scored_beside_random_ones(zero_shot: Path, store: Path, uri: str) -> None:
    evaluate_job.main(["--run", str(zero_shot), "--shards", str(store), "--tracking", uri])
    table = pd.read_csv(zero_shot / "evaluation" / "test" / "results.csv")
    assert set(table["method"]) == set(METHODS)
    assert table["excluding_identical"].between(0, 100).all()
    networks = networks_of(open_place(zero_shot), checkpoint.newest_intact(open_place(zero_shot)), METHODS)
    assert_published(networks["pretrained"].state_dict())
    torch.manual_seed(0)
    seeded = GaitNetwork(TINY).state_dict()
    for name, value in networks["random initialisation"].state_dict().items():
        torch.testing.assert_close(value, seeded[name], rtol=0, atol=0, msg=name)


def test_a_release_says_where_the_weights_came_from(zero_shot: Path, start: str, tmp_path: Path) -> None:
    out = release(ReleaseRun(run=str(zero_shot), out=str(tmp_path / "out")))
    frames, numbers = (np.random.default_rng(0).random((9, 64, 44)) < 0.5).astype(np.uint8), np.arange(9.0)
    wanted = embed(published(), [(frames, numbers)], 16, torch.device("cpu"))
    np.testing.assert_array_equal(load_release(out).embed([(frames, numbers)]), wanted)
    program = torch.export.load(out / "encoder.pt2").module()
    found = program(torch.from_numpy(frames[None]), torch.from_numpy(numbers[None]).float())
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5)
    card = (out / "README.md").read_text()
    assert "started from the teacher in `p3d.pt`, a checkpoint in OpenGait's format of the published encoder" in card
    assert "no further training: the weights are those of that file" in card
    assert "- the data of the published weights alone" in card
    assert "without labels" not in card
    for file in ("README.md", "run.json", "settings.json"):
        assert str(Path(start).parent) not in (out / file).read_text()


@pytest.fixture(scope="module")
def trained(start: str, store: Path, uri: str, tmp_path_factory) -> PretrainRun:
    """A run of two steps from a published file of its own, on two workers with ZeRO-1."""
    folder = tmp_path_factory.mktemp("trained")
    run = run_from(shutil.copy(start, folder / "p3d.pt"), store, folder / "run", steps=2)
    assert pretrain(run, uri).name == "step-00000002"
    return run


def test_training_continues_from_the_published_weights(trained: PretrainRun, tmp_path: Path) -> None:
    begun, done = (weights(Path(trained.out), step) for step in (0, 2))
    for whose in ("student", "teacher"):
        assert_published(of(whose, begun))
    names = [name for name, _ in published().named_parameters()]
    student, teacher = (
        max((done[f"{whose}.{name}"] - begun[f"{whose}.{name}"]).abs().max().item() for name in names)
        for whose in ("student", "teacher")
    )
    assert 0 < student < 0.005  # two steps at a rate of 1e-3 at most, and some decay
    assert 0 < teacher < student / 10  # an average with a long memory
    card = (release(ReleaseRun(run=trained.out, out=str(tmp_path / "out"))) / "README.md").read_text()
    assert "trained further from published weights, without labels" in card
    assert "- 2 steps of 16 pairs" in card
    assert "- before these, the data of the published weights" in card


@pytest.mark.slow
def test_a_killed_run_resumes_without_the_published_file(trained: PretrainRun, uri: str) -> None:
    folder = Path(trained.out)
    done = weights(folder, 2)
    Path(trained.start).unlink()
    shutil.rmtree(folder / "checkpoints" / "step-00000002")
    shutil.rmtree(folder / "ray")
    pretrain(trained, uri)
    for name, value in weights(folder, 2).items():
        torch.testing.assert_close(value, done[name], rtol=0, atol=0, msg=name)


def test_a_file_that_does_not_fit_the_network_is_refused_before_anything_is_written(
    start: str, store: Path, uri: str, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    run = run_from(start, store, out, steps=2)
    text = tmp_path / "text.pt"
    text.write_text("not a checkpoint")
    for wrong, message in [
        (replace(run, start=str(tmp_path / "gone.pt")), r"cannot read .*gone\.pt \(No such file .*give a checkpoint"),
        (replace(run, start=str(text)), "is not a file of torch.save"),
        (replace(run, network=replace(TINY, channels=8)), "are those of --network.size p3d-tiny --network.channels 16"),
        (replace(run, network=replace(TINY, size="p3d-0.03b")), "are those of --network.size p3d-tiny"),
    ]:
        with pytest.raises(UsageError, match=message) as raised:
            pretrain(wrong, uri)
        assert "\n" not in str(raised.value)
    assert not out.exists()


def test_other_weights_to_start_from_make_another_run(zero_shot: Path, uri: str, tmp_path: Path) -> None:
    other = write_checkpoint(tmp_path / "other.pt", published())
    with pytest.raises(UsageError, match=r"holds a run with start .*p3d\.pt, not .*other\.pt"):
        pretrain(replace(read_run(open_place(zero_shot)), start=other), uri)
