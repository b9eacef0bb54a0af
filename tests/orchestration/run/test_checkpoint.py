"""Checkpoints: damage in any file is found, and training resumes only in the data order that it began with."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from datasets.loading.clips import ClipSettings
from datasets.loading.random_numbers import ORDER_VERSION
from datasets.schema.errors import UsageError
from datasets.storage import Place, open_place
from jobs.recipes import FINETUNING
from model.network import NetworkSettings
from orchestration.embedding.networks import networks_of
from orchestration.release.release import ReleaseRun, release
from orchestration.run import checkpoint
from orchestration.run.finetune_settings import FinetuneRun
from orchestration.run.folder import claim_folder
from orchestration.run.settings import Cluster, PretrainRun, Schedule
from orchestration.training.finetune import check_start, finetune, first_weights
from orchestration.training.pretrain import pretrain

REFUSED = (
    rf"step-00000004 was trained in version 1 of the data order, and this program has version {ORDER_VERSION}: "
    "finish the run with the program that began it, or start anew in another --out"
)


def forget_order(folder: Place, step: int = 4) -> Place:
    """Make a checkpoint one of the first version, which did not write it down."""
    file = Path(str(checkpoint.at_step(folder, step))) / "state.json"
    state = json.loads(file.read_text())
    assert state.pop("order") == ORDER_VERSION == checkpoint.order_of(checkpoint.at_step(folder, step))
    file.write_text(json.dumps(state))
    return checkpoint.at_step(folder, step)


@pytest.fixture
def older(store: Path, tmp_path: Path) -> PretrainRun:
    """A run of eight steps, half trained by a program with the first version of the order."""
    run = PretrainRun(
        recipe="test",
        shards=str(store),
        out=str(tmp_path / "run"),
        clips=ClipSettings(frames=4),
        network=NetworkSettings(channels=8),
        schedule=Schedule(steps=8, batch=16, warmup=1),
        cluster=Cluster(device="cpu", precision="fp32"),
    )
    claim_folder(run)
    torch.manual_seed(3)
    module = run.objective.build(run.network)
    checkpoint.save(open_place(run.out), run, 4, module.state_dict(), {"a": torch.zeros(2)})
    forget_order(open_place(run.out))
    return run


def tuning(older: PretrainRun, planted: Path, out: Path) -> FinetuneRun:
    run = FINETUNING["scoliosis"](older.out, str(planted), str(out))
    return replace(run, clips=older.clips, schedule=Schedule(steps=8, batch=24, warmup=1), cluster=older.cluster)


def test_pretraining_goes_on_in_the_order_that_it_began_with(older: PretrainRun, uri: str) -> None:
    with pytest.raises(UsageError, match=REFUSED):
        pretrain(older, uri)


def test_a_finished_run_is_finished_in_any_order(older: PretrainRun, uri: str) -> None:
    folder = open_place(older.out)
    weights = older.objective.build(older.network).state_dict()
    checkpoint.save(folder, older, 8, weights, {})
    assert pretrain(older, uri) == forget_order(folder, 8) == pretrain(older, uri)


def test_finetuning_goes_on_in_the_order_that_it_began_with(
    older: PretrainRun, planted: Path, uri: str, tmp_path: Path
) -> None:
    run = tuning(older, planted, tmp_path / "tuned")
    claim_folder(run)
    checkpoint.save(open_place(run.out), run, 4, {}, {})
    forget_order(open_place(run.out))
    with pytest.raises(UsageError, match=REFUSED):
        finetune(run, uri)


def test_weights_of_any_order_are_used(older: PretrainRun, planted: Path, tmp_path: Path) -> None:
    folder = open_place(older.out)
    (network,) = networks_of(folder, checkpoint.select(folder, None), ["pretrained"]).values()  # embed and evaluate
    release(ReleaseRun(run=older.out, out=str(tmp_path / "release")))
    run = tuning(older, planted, tmp_path / "tuned")
    tuned = first_weights(run, check_start(run))
    for name, weight in network.state_dict().items():
        assert torch.equal(tuned[f"teacher.network.{name}"], weight)


def test_what_is_taken_over_keeps_its_order(older: PretrainRun, uri: str, tmp_path: Path) -> None:
    other = replace(older, out=str(tmp_path / "other"))
    claim_folder(other)
    taken = checkpoint.copy(checkpoint.at_step(open_place(older.out), 4), open_place(other.out), other)
    assert checkpoint.order_of(taken) == 1
    with pytest.raises(UsageError, match=REFUSED):
        pretrain(other, uri)


@pytest.mark.parametrize(
    ("name", "content", "damage"),
    [
        ("run.json", "{}", "run.json does not match its checksum"),
        ("run.json", None, "run.json"),
        ("state.json", "[]", "state.json cannot be read"),
        ("state.json", '{"step": 4, "files": null}', "state.json cannot be read"),
        ("state.json", '{"step": 4, "files": {"weights.safetensors": 1}}', "state.json cannot be read"),
        ("state.json", '{"step": 4, "files": {}, "order": "2"}', "state.json cannot be read"),
        ("state.json", '{"step": 4, "files": {}}', "state.json does not name optimizer.safetensors"),
        ("state.json", '{"step": 5, "files": {}}', "state.json is that of step 5"),
    ],
)
def test_damage_is_found_in_every_file(tmp_path: Path, name: str, content: str | None, damage: str) -> None:
    run, folder = PretrainRun(recipe="any", shards="S", out=str(tmp_path)), open_place(str(tmp_path))
    saved = checkpoint.save(folder, run, 4, {"a": torch.ones(2)}, {"a.exp_avg": torch.zeros(2)})
    assert checkpoint.damage_of(saved) is None and checkpoint.newest_intact(folder) == saved
    file = Path(str(saved)) / name
    file.unlink() if content is None else file.write_text(content)
    found = checkpoint.damage_of(saved)
    assert found is not None and found.startswith(damage)
    assert checkpoint.newest_intact(folder, on_damage=lambda _line: None) is None


def test_what_is_not_a_checkpoint_is_passed_over(tmp_path: Path) -> None:
    run, folder = PretrainRun(recipe="any", shards="S", out=str(tmp_path)), open_place(str(tmp_path))
    saved = checkpoint.save(folder, run, 4, {"a": torch.ones(2)}, {})
    (tmp_path / "checkpoints/step-x").mkdir()
    (tmp_path / "checkpoints/step-x/state.json").write_text("{}")
    (Path(str(saved)) / "score.json").write_text("nothing")
    assert checkpoint.newest_step(folder) == 4
    assert checkpoint.score_of(saved) is None
    checkpoint.write_score(saved, {"mean": 50.0})
    assert checkpoint.score_of(saved) == {"mean": 50.0}


@pytest.mark.parametrize("seed", [-1, 2**70])
def test_a_seed_that_no_stream_takes_is_refused(seed: int) -> None:
    with pytest.raises(UsageError, match="--seed"):
        PretrainRun(recipe="any", shards="S", out="R", seed=seed)
