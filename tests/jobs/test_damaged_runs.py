"""A run whose files are damaged is refused by every job that reads it: one line that names the file and what to do.

No result comes from another checkpoint than the one that was asked for.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch

from datasets.loading.clips import ClipSettings
from datasets.storage import open_place
from jobs import embed, evaluate, finetune, pretrain, release
from jobs.recipes import FINETUNING
from model.network import NetworkSettings
from orchestration.run import checkpoint
from orchestration.run.finetune_settings import Start, write_start
from orchestration.run.folder import claim_folder
from orchestration.run.settings import Cluster, PretrainRun, Schedule
from tests.fixtures.mistakes import mistake

Command = tuple[ModuleType, list[str]]


@pytest.fixture(scope="module")
def saved(store: Path, tmp_path_factory) -> Path:
    """A run with two checkpoints."""
    run = PretrainRun(
        recipe="test",
        shards=str(store),
        out=str(tmp_path_factory.mktemp("saved") / "run"),
        clips=ClipSettings(frames=4),
        network=NetworkSettings(channels=8),
        schedule=Schedule(steps=8, batch=16, warmup=1),
        cluster=Cluster(device="cpu", precision="fp32"),
    )
    claim_folder(run)
    weights = run.objective.build(run.network).state_dict()
    for step in (4, 8):
        checkpoint.save(open_place(run.out), run, step, weights, {"a": torch.zeros(2)})
    return Path(run.out)


@pytest.fixture
def run(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "run"))


@pytest.fixture
def commands(run: Path, store: Path, planted: Path, tmp_path: Path) -> dict[str, Command]:
    """Every job that reads a run, without --step."""
    walks, out = str(store), str(tmp_path / "out")
    return {
        "embed": (embed, ["--run", str(run), "--shards", walks, "--out", out]),
        "evaluate": (evaluate, ["--run", str(run), "--shards", walks]),
        "release": (release, ["--run", str(run), "--out", out]),
        "finetune": (finetune, ["scoliosis", "--run", str(run), "--shards", str(planted), "--out", out]),
    }


VERBS = ["embed", "evaluate", "release", "finetune"]


def newest(run: Path) -> Path:
    return run / "checkpoints/step-00000008"


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:100])


def alter(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-10] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("damage", [cut, alter, Path.unlink])
def test_a_damaged_newest_checkpoint_is_not_replaced_by_an_older_one(
    verb: str, damage: Callable[[Path], None], commands: dict[str, Command], run: Path, capsys
) -> None:
    damage(newest(run) / "weights.safetensors")
    job, argv = commands[verb]
    said = mistake(capsys, job.main, *argv)
    assert f"{newest(run)} is damaged (weights.safetensors" in said and "give --step 4, the newest whole one" in said
    assert "weights.safetensors" in mistake(capsys, job.main, *argv, "--step", "8")


@pytest.mark.parametrize("verb", VERBS)
def test_a_newest_checkpoint_without_its_record_is_not_replaced_either(
    verb: str, commands: dict[str, Command], run: Path, capsys
) -> None:
    (newest(run) / "state.json").unlink()
    job, argv = commands[verb]
    assert f"{newest(run)} has no state.json" in mistake(capsys, job.main, *argv)


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("content", [b"", b"\0" * 100, b'{"recipe": "te', b"\xff\xfe", b"[]"])
def test_damaged_settings_are_named(verb: str, content: bytes, commands: dict[str, Command], run: Path, capsys) -> None:
    (run / "run.json").write_bytes(content)
    job, argv = commands[verb]
    said = mistake(capsys, job.main, *argv)
    assert f"{run}/run.json" in said
    assert content == b"[]" or "copy the newest of" in said


def test_an_older_checkpoint_is_released_where_it_is_asked_for(commands: dict[str, Command], run: Path) -> None:
    cut(newest(run) / "weights.safetensors")
    job, argv = commands["release"]
    job.main([*argv, "--step", "4"])
    assert "4 of 8 steps" in (Path(argv[-1]) / "README.md").read_text()


def test_training_goes_on_from_an_older_checkpoint(run: Path) -> None:
    cut(newest(run) / "weights.safetensors")
    assert checkpoint.newest_intact(open_place(run)) == open_place(run) / "checkpoints/step-00000004"


def test_weights_are_checked_whenever_they_are_loaded(run: Path) -> None:
    alter(newest(run) / "weights.safetensors")
    with pytest.raises(checkpoint.Damaged, match=r"weights\.safetensors does not match its checksum"):
        checkpoint.load_weights(open_place(newest(run)), torch.nn.Linear(2, 2))


def test_a_damaged_id_of_mlflow_is_named(commands: dict[str, Command], run: Path, capsys) -> None:
    (run / "mlflow_run_id").write_bytes(b"\xff\0")
    job, argv = commands["finetune"]
    assert f"{run}/mlflow_run_id is damaged" in mistake(capsys, job.main, *argv)


def test_what_a_fine_tuned_run_started_from_is_read_strictly(run: Path, store: Path, tmp_path: Path, capsys) -> None:
    tuned = FINETUNING["scoliosis"](str(run), str(store), str(tmp_path / "tuned"))
    claim_folder(tuned)
    checkpoint.save(open_place(tuned.out), tuned, 1, {}, {})
    write_start(open_place(tuned.out), Start(NetworkSettings(channels=8), str(newest(run)), ("CASIA-B",), ()))
    start = tmp_path / "tuned/start.json"
    cut(start)
    argv = ["--run", tuned.out, "--shards", str(store), "--out", str(tmp_path / "table")]
    assert f"{start} is damaged (it is no JSON" in mistake(capsys, embed.main, *argv)


def test_pretraining_over_damaged_settings_is_refused(run: Path, store: Path, capsys) -> None:
    cut(run / "run.json")
    argv = ["tiny", "--shards", str(store), "--out", str(run), "--schedule.batch", "16"]
    assert f"{run}/run.json is damaged" in mistake(capsys, pretrain.main, *argv)
