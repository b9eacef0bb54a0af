"""Training on all GPUs by the real driver and its ranks: the speed of each size, and whether ZeRO stages agree.

There is no compiled step: the encoder offers none. Where a setting of the network turns it on, `train_size` takes it,
and `__main__` adds a line for each size.
"""

import math
import statistics
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from benchmarks.gpu.machine import Hardware
from benchmarks.gpu.report import Line
from datasets.storage import open_place
from jobs.recipes import RECIPES
from model.network import NetworkSettings
from model.sizes import P3D
from orchestration.run import tracking
from orchestration.run.folder import tracked_run
from orchestration.run.settings import Cluster, Keep, PretrainRun, Schedule, Score
from orchestration.training.pretrain import pretrain

WINDOWS = 5  # of a run, into which its steps are divided; the first, in which kernels are chosen, is not counted
NEVER = 10**9


@dataclass(frozen=True)
class Workplace:
    """Where runs read and write."""

    folder: Path
    machine: Hardware

    @property
    def shards(self) -> str:
        """The store."""
        return str(self.folder / "shards")

    @property
    def uri(self) -> str:
        """The records of all runs."""
        return f"sqlite:///{self.folder / 'mlflow.db'}"

    def history(self, run: PretrainRun, metric: str) -> list[tuple[int, float]]:
        """A metric of a run, by step."""
        run_id = tracked_run(open_place(run.out))
        assert run_id is not None, f"{run.out} was not tracked"
        return tracking.history(self.uri, run_id, metric)


def train_size(place: Workplace, size: str, steps: int, pairs: int) -> Line:
    """Train a size on `pairs` pairs a worker for some steps; how fast it is and what it takes."""
    run = _run(place, f"size-{size}", size, steps, pairs, zero_stage=0, log_every=max(steps // WINDOWS, 1))
    pretrain(run, place.uri)
    first = run.schedule.log_every

    def median(metric: str) -> float:
        return statistics.median(value for step, value in place.history(run, metric) if step > first)

    losses = [value for _, value in place.history(run, "loss")]
    values = {
        "pairs_per_second": median("pairs_per_second"),
        "tflops": median("flops_per_second") / place.machine.workers / 1e12,
        "utilisation": median("utilisation"),
        "data_wait": median("data_wait"),
        "loss": losses[-1],
    }
    memory = ""
    if place.machine.device == "gpu":
        values["memory_gib"] = max(value for _, value in place.history(run, "system/gpu_memory_mib")) / 1024
        memory = f", {values['memory_gib']:.1f} GiB"
    found = (
        f"{values['pairs_per_second']:,.0f} pairs/s, {values['tflops']:.2f} TFLOP/s a worker, "
        f"{values['utilisation']:.0%} of a large product{memory}, {values['data_wait']:.0%} waiting for data"
    )
    return Line(f"step of {size}", "PASS" if all(map(math.isfinite, losses)) else "FAIL", found, values)


def train_stage(place: Workplace, size: str, steps: int, stage: Literal[1, 2, 3]) -> Line:
    """Losses and gradient norms of a ZeRO stage against those of stage 0, which is trained first where it was not."""
    compared: dict[int, list[dict[int, float]]] = {}
    stages: tuple[Literal[0, 1, 2, 3], ...] = (0, stage)
    for one in stages:
        run = _run(place, f"stage-{one}", size, steps, 8, zero_stage=one, log_every=1)
        if not Path(run.out).exists():
            pretrain(run, place.uri)
        compared[one] = [dict(place.history(run, name)) for name in ("loss", "gradient_norm")]
    apart = []
    for plain, sharded in zip(compared[0], compared[stage], strict=True):
        assert len(plain) == steps and plain.keys() == sharded.keys(), "a run has other steps"
        assert len(set(plain.values())) > 1, "nothing changes from step to step"
        apart.append(max(abs(sharded[step] / plain[step] - 1) for step in plain))
    # Sums in another order: of bf16 the differences grow from step to step.
    tolerance = 1e-3 if place.machine.precision == "fp32" else 2e-2
    passed = all(one < tolerance for one in apart)  # false for NaN
    found = f"losses within {apart[0]:.1e} of stage 0 over {steps} steps, gradient norms within {apart[1]:.1e}"
    return Line(f"ZeRO stage {stage}", "PASS" if passed else "FAIL", found, {"loss": apart[0], "gradient": apart[1]})


def _run(
    place: Workplace, name: str, size: str, steps: int, pairs: int, zero_stage: Literal[0, 1, 2, 3], log_every: int
) -> PretrainRun:
    """A run of a size on all workers, without guards, scores or checkpoints before its end."""
    machine = place.machine
    return replace(
        RECIPES["xl"](place.shards, str(place.folder / name)),
        recipe=name,
        network=NetworkSettings(size=size, channels=512 if size in P3D and machine.device == "gpu" else 256),
        schedule=Schedule(
            steps=steps, batch=pairs * machine.workers, warmup=0, log_every=log_every, guard_every=0, lr=1e-4
        ),
        keep=Keep(every=NEVER),
        score=Score(every=0),
        cluster=Cluster(
            workers=machine.workers,
            device=machine.device,
            precision=machine.precision,
            zero_stage=zero_stage,
            restarts=0,
            patience=120.0,
        ),
    )
