"""Each job that writes a folder takes its lease: a second one is told who has it, exit status 2, and writes nothing."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from datasets.storage import open_place
from jobs import embed, evaluate, finetune, pretrain, scaling
from model.network import NetworkSettings
from orchestration.run import checkpoint, lease
from orchestration.run import folder as run_folder
from orchestration.run.settings import PretrainRun
from tests.fixtures.mistakes import mistake


@pytest.fixture(scope="module")
def run(store: Path, tmp_path_factory) -> str:
    """A run's folder, whose only checkpoint has random weights."""
    out = str(tmp_path_factory.mktemp("run") / "run")
    settings = PretrainRun(recipe="test", shards=str(store), out=out, network=NetworkSettings(channels=8))
    run_folder.claim_folder(settings)
    torch.manual_seed(1)
    state = settings.objective.build(settings.network).state_dict()
    checkpoint.save(open_place(out), settings, settings.schedule.steps, state, {})
    return out


JOBS: dict[str, tuple[Callable[..., None], list[str], str]] = {
    "pretrain": (pretrain.main, ["tiny", "--shards", "STORE", "--out", "OUT", "--data.mixing", "batch"], "OUT"),
    "finetune": (finetune.main, ["scoliosis", "--run", "RUN", "--shards", "STORE", "--out", "OUT"], "OUT"),
    "scaling": (
        scaling.main,
        ["miniature", "--shards", "STORE", "--out", "OUT", "--data.holdout", "CASIA-B/003", "CASIA-B/004"],
        "OUT",
    ),
    "embed": (embed.main, ["--run", "RUN", "--shards", "STORE", "--out", "OUT"], "OUT"),
    "evaluate": (evaluate.main, ["--run", "RUN", "--shards", "STORE"], "RUN/evaluation/test"),
}


@pytest.mark.parametrize("job", JOBS)
def test_a_job_writes_to_no_folder_that_another_one_writes_to(
    job: str, run: str, store: Path, tmp_path: Path, capsys
) -> None:
    main, argv, written = JOBS[job]
    names = {"STORE": str(store), "RUN": run, "OUT": str(tmp_path / "out")}
    for name, value in names.items():
        argv, written = [one.replace(name, value) for one in argv], written.replace(name, value)
    with lease.hold(open_place(written), "jobs.other"):
        before = sorted(Path(written).rglob("*"))
        assert f"{written} is being written by `jobs.other` (process " in mistake(capsys, main, *argv)
        assert sorted(Path(written).rglob("*")) == before
