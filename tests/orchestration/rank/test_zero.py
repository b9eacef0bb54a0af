"""Every ZeRO stage steps by the gradients of stage 0, in both precisions and with any number of ranks."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from model.network import NetworkSettings
from model.objectives.part_contrast import ContrastSettings
from orchestration.run.settings import Cluster, PretrainRun, Schedule
from tests.orchestration.rank.outlines import outline_pairs

BATCH, FRAMES = 16, 4
RUN = PretrainRun(
    recipe="test",
    shards="s",
    out="o",
    objective=ContrastSettings(strips=False),
    schedule=Schedule(batch=BATCH, clip_norm=0.5),
)


def _rank(rank: int, ranks: int, size: str, precision: str, folder: str) -> None:
    """The moments after the first step, which are its gradient, of each stage, in a file of its own."""
    from orchestration.rank import engine, optimizer_state  # DeepSpeed looks at the environment when it is imported

    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=ranks)
    engine.BUCKET = 100_000  # so that a gradient takes several
    mine = slice(rank * BATCH // ranks, (rank + 1) * BATCH // ranks)
    pairs = [one[mine] for one in outline_pairs(BATCH, FRAMES, seed=3)]
    for stage in range(4):
        cluster = Cluster(workers=ranks, zero_stage=stage, precision=precision)
        run = replace(RUN, network=NetworkSettings(size=size, channels=8), cluster=cluster)
        torch.manual_seed(1)
        trained = engine.start_engine(run, run.objective.build(run.network))
        engine.set_lr(trained, 1e-3)
        engine.train_step(trained, pairs, 0)
        moments = optimizer_state.gather_moments(trained)
        if rank == 0:
            torch.save(moments, f"{folder}/{stage}.pt")
    dist.destroy_process_group()


@pytest.mark.parametrize(
    ("size", "ranks", "precision"),
    [
        pytest.param("xxs", 2, "bf16", marks=pytest.mark.slow),
        pytest.param("xxs", 4, "fp32", marks=pytest.mark.slow),
        pytest.param("xxs", 4, "bf16", marks=pytest.mark.slow),
        pytest.param("xxs", 8, "fp32", marks=pytest.mark.slow),
        pytest.param("xxs", 8, "bf16", marks=pytest.mark.slow),
        pytest.param("p3d-tiny", 2, "bf16"),  # it has layers that DeepSpeed knows
    ],
)
def test_every_stage_has_the_gradient_of_stage_0(
    size: str, ranks: int, precision: str, tmp_path: Path, monkeypatch
) -> None:
    for name, value in {"DS_ACCELERATOR": "cpu", "LOCAL_RANK": "0", "RANK": "0", "WORLD_SIZE": str(ranks)}.items():
        monkeypatch.setenv(name, value)
    torch.multiprocessing.spawn(_rank, (ranks, size, precision, str(tmp_path)), nprocs=ranks)
    expected, *others = (torch.load(tmp_path / f"{stage}.pt") for stage in range(4))
    for stage, found in enumerate(others, start=1):
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            apart = (found[name] - value).norm() / value.norm().clamp(min=1e-12)
            assert apart < 1e-5, f"stage {stage}: {name} differs by {apart:.1e}"
