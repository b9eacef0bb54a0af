"""What ranks agree on before they train."""

from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from jobs.recipes import RECIPES
from orchestration.run.folder import claim_folder, folder_of, read_run, with_device
from orchestration.run.precision import Bf16Support

HAVE = [Bf16Support("Intel Xeon", "AMX"), Bf16Support("AMD EPYC 7R13", None)]  # by rank


def _rank(rank: int, folder: str) -> None:
    """Begins on two unlike machines, then starts again on two that both have bf16; leaves what this rank found."""
    from orchestration.rank import loop  # DeepSpeed looks at the environment when it is imported

    dist.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=2)
    run = with_device(RECIPES["tiny"]("shards", f"{folder}/run"), "cpu")
    found = []
    for support in (HAVE[rank], HAVE[0]):
        loop.bf16_support = lambda gpu, answer=support: answer
        found.append(loop._resolve_precision(run, folder_of(run)))
    torch.save(found, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_ranks_agree_on_a_precision_and_keep_it_after_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DS_ACCELERATOR", "cpu")
    run = RECIPES["tiny"]("shards", f"{tmp_path}/run")
    claim_folder(run)
    torch.multiprocessing.spawn(_rank, (str(tmp_path),), nprocs=2)
    expected = [("fp32", "rank 1 (AMD EPYC 7R13) has no bf16 instructions"), ("fp32", "as it was begun")]
    for rank in range(2):
        assert torch.load(tmp_path / f"{rank}.pt") == expected
    assert read_run(folder_of(run)).cluster.precision == "fp32"
