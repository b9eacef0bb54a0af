"""What a job writes where its output is no terminal: lines of its own, and none of the libraries below it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest

from datasets.storage import open_place
from orchestration.cluster.session import ROOT
from orchestration.run import checkpoint
from orchestration.run.folder import read_run, tracked_run
from orchestration.run.hardware import bf16_support
from orchestration.run.precision import fastest

LOGGED = r"\d\d-\d\d \d\d:\d\d:\d\d INFO "


@pytest.fixture(scope="module")
def trained(store: Path, tmp_path_factory, new_records) -> tuple[Path, str, list[str]]:
    """A run of two ranks in whatever precision fits them: its folder, its records in MLflow, and its output."""
    few = ["--schedule.steps", "2", "--schedule.warmup", "1", "--schedule.batch", "16"]
    above = tmp_path_factory.mktemp("trained")
    out, records = above / "run", new_records(above)
    done = subprocess.run(
        [sys.executable, "-m", "jobs.pretrain", "tiny", "--shards", store, "--out", out, *few, "--tracking", records],
        cwd=ROOT,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    return out, records, done.stdout.decode().splitlines()  # also at carriage returns


def test_the_whole_output_of_a_training_is_its_own(trained: tuple[Path, str, list[str]]) -> None:
    out, _, lines = trained
    lines = [line for line in lines if "train: 1 of 2 steps" not in line]  # of a machine that takes longer than 30 s
    expected = [
        LOGGED + "device cpu: this Ray has no GPU",
        LOGGED + r"encoder xxs: 393,984 parameters; training on 64 sequences of CASIA-B, GaitLU-1M",
        LOGGED + r"precision (fp32: rank 0 \(.+\) has no bf16 instructions|bf16: all 2 ranks have (AMX|AVX512-BF16))",
        LOGGED + r"train: 2 of 2 steps after \d+ s, [\d.e-]+ a second, loss [\d.]+, pairs/s \d+, data \d+%, use \d+%",
        re.escape(f"trained: {out}/checkpoints/step-00000002"),
        r"results: .*mlflow ui .*",
    ]
    assert len(lines) == len(expected), lines
    for line, pattern in zip(lines, expected, strict=True):
        assert re.fullmatch(pattern, line), line


def test_the_precision_of_the_ranks_is_recorded(trained: tuple[Path, str, list[str]]) -> None:
    """In the run's folder, in its checkpoint and in MLflow: what this machine has, and never `auto`."""
    folder, uri, _ = open_place(trained[0]), trained[1], trained[2]
    expected, _ = fastest({"this machine": bf16_support(gpu=False)})
    for one in (folder, checkpoint.at_step(folder, 2)):
        assert read_run(one).cluster.precision == expected
    run = mlflow.MlflowClient(tracking_uri=uri).get_run(tracked_run(folder))
    assert run.data.params["cluster.precision"] == expected
