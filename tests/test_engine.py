"""DeepSpeed's engine as the worker drives it, in a process of its own."""

from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from model.network import NetworkSettings
from model.objective import PartContrast
from orchestration.runs import Cluster, PretrainRun, Schedule


def _rates(_rank: int, folder: str) -> None:
    """What each group of an engine's optimizer has after its rate is set, by ZeRO stage, to a file."""
    from orchestration import engine  # DeepSpeed looks at the environment when it is imported

    dist.init_process_group("gloo", f"file://{folder}/meet", rank=0, world_size=1)
    found = {}
    for stage in (0, 1, 2):
        run = PretrainRun(
            recipe="test",
            shards="s",
            out="o",
            network=NetworkSettings(size="xs", channels=8),
            schedule=Schedule(batch=8, weight_decay=0.2),
            cluster=Cluster(workers=1, zero_stage=stage, precision="fp32"),
        )
        started = engine.start_engine(run, PartContrast(run.network, run.contrast))
        engine.set_rate(started, 0.03)
        steps = started.optimizer.optimizer if stage else started.optimizer
        found[stage] = [{key: group[key] for key in ("lr", "weight_decay", "eps")} for group in steps.param_groups]
    torch.save(found, f"{folder}/rates.pt")


def test_each_group_has_its_share_of_the_rate_at_every_stage(tmp_path: Path, monkeypatch) -> None:
    for name, value in {"DS_ACCELERATOR": "cpu", "LOCAL_RANK": "0", "RANK": "0", "WORLD_SIZE": "1"}.items():
        monkeypatch.setenv(name, value)
    torch.multiprocessing.spawn(_rates, (str(tmp_path),))
    found = torch.load(tmp_path / "rates.pt")
    m, n = 192 / 128, 3 / 2
    for groups in found.values():
        assert [group["lr"] for group in groups] == pytest.approx([0.03, 0.03 / m, 0.03, 0.03, 0.03 / m, 0.03])
        assert [group["weight_decay"] for group in groups] == pytest.approx([0.2, 0.2 * m, 0, 0, 0.2 * m, 0.2])
        assert groups[1]["eps"] == pytest.approx(1e-8 / (m * n))
