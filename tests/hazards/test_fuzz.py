"""A thousand mutated files, through every reader: none runs code, hangs, takes a gigabyte, or is read as it is not."""

import json
import subprocess
import sys

import pytest

from orchestration.cluster.session import ROOT
from tests.hazards.fuzz import SECONDS
from tests.hazards.readers import READERS

FILES = 1_000
EACH = -(-FILES // len(READERS))


@pytest.mark.slow
@pytest.mark.parametrize("reader", [reader.name for reader in READERS])
def test_mutated_files_are_refused_or_read_as_they_are(reader: str) -> None:
    command = [sys.executable, "-m", "tests.hazards.fuzz", reader, "--examples", str(EACH)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=EACH * SECONDS)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["read"] + found["refused"] >= EACH
    assert found["megabytes"] < 1024
