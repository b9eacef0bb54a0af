"""What a job writes where its output is no terminal: lines of its own, and none of the libraries below it."""

import re
import subprocess
import sys
from pathlib import Path

from orchestration.cluster.session import ROOT

LOGGED = r"\d\d-\d\d \d\d:\d\d:\d\d INFO "


def test_the_whole_output_of_a_training_is_its_own(store: Path, tmp_path: Path, new_records) -> None:
    few = ["--schedule.steps", "2", "--schedule.warmup", "1", "--schedule.batch", "16", "--cluster.workers", "1"]
    out, records = tmp_path / "run", new_records(tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "jobs.pretrain", "tiny", "--shards", store, "--out", out, *few, "--tracking", records],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    lines = done.stdout.decode().splitlines()  # also at carriage returns
    expected = [
        LOGGED + r"encoder xxs: 393,984 parameters; training on 64 sequences of CASIA-B, GaitLU-1M",
        LOGGED + r"train: 2 of 2 steps after \d+ s, [\d.e-]+ a second, loss [\d.]+, pairs/s \d+, data \d+%, use \d+%",
        re.escape(f"trained: {out}/checkpoints/step-00000002"),
        r"results: .*mlflow ui .*",
    ]
    assert len(lines) == len(expected), lines
    for line, pattern in zip(lines, expected, strict=True):
        assert re.fullmatch(pattern, line), line
