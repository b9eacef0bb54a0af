"""A run on GPUs that torch cannot use ends at once, before any rank trains."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from orchestration.cluster import session

STARTED = """
import sys
from ray._private.accelerators import NvidiaGPUAcceleratorManager
NvidiaGPUAcceleratorManager.get_current_node_num_accelerators = staticmethod(lambda: 2)
NvidiaGPUAcceleratorManager.get_current_node_accelerator_type = staticmethod(lambda: None)
from jobs.pretrain import main
main(sys.argv[1:])
"""


@pytest.mark.skipif(torch.version.cuda is not None, reason="this torch could train on a GPU")
def test_cards_that_torch_cannot_use_end_a_run_once_with_what_is_needed(
    store: Path, new_records, tmp_path: Path
) -> None:
    """Ray is made to believe in two GPUs, and so `auto` takes them; the ranks see that torch cannot use them."""
    arguments = [
        "tiny",
        "--schedule.batch",
        "16",
        "--shards",
        str(store),
        "--out",
        str(tmp_path / "run"),
        "--tracking",
        new_records(tmp_path),
    ]
    done = subprocess.run(
        [sys.executable, "-c", STARTED, *arguments], cwd=session.ROOT, capture_output=True, text=True, check=False
    )
    lines = done.stderr.splitlines()
    assert done.returncode == 2, lines
    assert any("device gpu: this Ray has 2 GPUs" in line for line in lines), lines
    needed = "was built without CUDA: install one with it, or give --cluster.device cpu"
    assert [line for line in lines if needed in line] == lines[-1:] and "rank 0 on node 127.0.0.1: " in lines[-1]
