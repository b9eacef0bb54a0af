"""DeepSpeed's engine as the worker drives it: the steps of a plain PyTorch loop, at every stage and micro batch."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from model.network import NetworkSettings
from model.objectives.pairs import PairObjective
from model.objectives.part_contrast import ContrastSettings
from model.objectives.part_regression import RegressionSettings
from model.transfer import BETAS, parameter_groups
from orchestration.run.settings import Cluster, PretrainRun, Schedule
from tests.orchestration.rank.outlines import outline_pairs

STEPS, BATCH = 20, 32
RUN = PretrainRun(
    recipe="test",
    shards="s",
    out="o",
    network=NetworkSettings(size="xxs", channels=8),
    objective=ContrastSettings(momentum=0.9, teacher_from=10, joint=0.5),  # both clips trained, then one
    schedule=Schedule(steps=STEPS, batch=BATCH, warmup=4, lr=1e-3, weight_decay=0.2, clip_norm=0.5),
    cluster=Cluster(workers=2, device="cpu", precision="fp32"),
)
RUNS = {
    "part-contrast": RUN,
    "part-regression": replace(RUN, objective=RegressionSettings(momentum=0.9)),
}
# ZeRO stage, pairs at once, and whether activations are recomputed and blocks compiled; halfway each is stopped and
# goes on in a new engine.
ARMS = [
    *[(0, 16, False, False), (1, 16, False, False), (2, 8, True, False), (3, 8, True, False)],
    *([(0, 8, True, True), (3, 16, False, True)] if shutil.which("g++") else []),
]


def _started(objective: str) -> PairObjective:
    torch.manual_seed(1)
    return RUNS[objective].objective.build(RUN.network)


def _pairs(step: int, mine: slice = slice(None)) -> list[torch.Tensor]:
    return [one[mine] for one in outline_pairs(BATCH, frames=2, seed=step)]


def _plain_loop(objective: str) -> dict[str, torch.Tensor]:
    """Weights after all steps of one process with the whole batch, in plain PyTorch; and each loss."""
    module = _started(objective)
    groups = parameter_groups(module.student, RUN.network.size, RUN.schedule.weight_decay)
    optimizer, losses = torch.optim.AdamW(groups, lr=1.0, betas=BETAS), []
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = RUN.schedule.lr_at(step) * group["lr_scale"]
        loss = module(*_pairs(step), step=step)["loss"]
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(module.student.parameters(), RUN.schedule.clip_norm)
        optimizer.step()
        module.update_teacher()
        losses.append(loss.detach())
    return module.state_dict() | {"losses": torch.stack(losses)}


def _rank(rank: int, ranks: int, folder: str, objective: str) -> None:
    """One rank of every arm; rank 0 leaves the weights of each in a file."""
    from orchestration.rank import engine, optimizer_state  # DeepSpeed looks at the environment when it is imported

    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=ranks)
    mine = slice(rank * BATCH // ranks, (rank + 1) * BATCH // ranks)
    for stage, micro_batch, recompute, compiled in ARMS:
        cluster = replace(RUN.cluster, zero_stage=stage, micro_batch=micro_batch, recompute=recompute, compile=compiled)
        run = replace(RUNS[objective], cluster=cluster)
        module, losses = _started(objective), []
        trained = engine.start_engine(run, module)
        for step in range(STEPS):
            if step == STEPS // 2:
                weights, moments = optimizer_state.gather_weights(trained), optimizer_state.gather_moments(trained)
                module = run.objective.build(run.network)
                if rank == 0:  # the other has nothing, and gets it from this one
                    module.load_state_dict(weights)
                optimizer_state.share_weights(module, torch.device("cpu"))
                trained = engine.start_engine(run, module)
                optimizer_state.restore_moments(trained, moments, step)
            engine.set_lr(trained, run.schedule.lr_at(step))
            watched = engine.train_step(trained, _pairs(step, mine), step)
            assert watched["gradient_norm"] > 0
            dist.all_reduce(watched["loss"])
            losses.append(watched["loss"] / ranks)
        found = optimizer_state.gather_weights(trained)
        if rank == 0:
            torch.save(found | {"losses": torch.stack(losses)}, f"{folder}/{stage}-{micro_batch}-{compiled}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
@pytest.mark.parametrize("objective", RUNS)
def test_every_stage_and_micro_batch_is_a_plain_loop(objective: str, tmp_path: Path, monkeypatch) -> None:
    """Student, teacher, losses after 20 steps of two ranks, stopped halfway: those of one process, up to rounding."""
    for name, value in {"DS_ACCELERATOR": "cpu", "LOCAL_RANK": "0", "RANK": "0", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    torch.multiprocessing.spawn(_rank, (2, str(tmp_path), objective), nprocs=2)
    expected, untrained = _plain_loop(objective), _started(objective).state_dict()
    for stage, micro_batch, _, compiled in ARMS:
        found = torch.load(tmp_path / f"{stage}-{micro_batch}-{compiled}.pt")
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            if name == "losses":
                torch.testing.assert_close(found[name], value, rtol=1e-4, atol=0)
            else:
                way = (value - untrained[name]).norm()
                assert (found[name] - value).norm() < 2e-3 * way, (
                    f"stage {stage}, {micro_batch} at once, {compiled}: {name}"
                )


def _rates(_rank: int, folder: str) -> None:
    """What each group of an engine's optimizer has after its rate is set, by ZeRO stage, to a file."""
    from orchestration.rank import engine

    dist.init_process_group("gloo", f"file://{folder}/meet", rank=0, world_size=1)
    found = {}
    for stage in (0, 1, 2, 3):
        run = PretrainRun(
            recipe="test",
            shards="s",
            out="o",
            network=NetworkSettings(size="xs", channels=8),
            schedule=Schedule(batch=8, weight_decay=0.2),
            cluster=Cluster(workers=1, zero_stage=stage, device="cpu", precision="fp32"),
        )
        started = engine.start_engine(run, run.objective.build(run.network))
        engine.set_lr(started, 0.03)
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
