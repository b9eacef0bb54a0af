"""Training on all GPUs by the real driver and its ranks: the speed of each size, and whether other ways to train agree.

Those are the stages of ZeRO, and compiled blocks (`--cluster.compile`).
"""

import math
import statistics
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from benchmarks.gpu.machine import Hardware
from benchmarks.gpu.report import Line, NotRun
from datasets.storage import open_place
from jobs.recipes import RECIPES
from model.network import NetworkSettings
from model.sizes import P3D
from orchestration.run import tracking
from orchestration.run.folder import tracked_run
from orchestration.run.hardware import compiler_problem
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


def train_size(place: Workplace, size: str, steps: int, pairs: int, compiled: bool = False) -> Line:
    """Train a size on `pairs` pairs a worker for some steps; how fast it is and what it takes.

    compiled: with compiled blocks, which the first steps wait for.
    """
    name = f"step of {size}{', compiled' if compiled else ''}"
    cluster = replace(_cluster(place.machine), compile=compiled)
    run = _run(place, name, size, steps, pairs, cluster, log_every=max(steps // WINDOWS, 1))
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
    return Line(name, "PASS" if all(map(math.isfinite, losses)) else "FAIL", found, values)


def train_alike(place: Workplace, name: str, size: str, steps: int, cluster: Cluster) -> Line:
    """Losses and gradient norms of a way to train against those of the plain one, which is trained first."""
    compared = []
    for check, used in (("plain", _cluster(place.machine)), (name, cluster)):
        run = _run(place, check, size, steps, 8, used, log_every=1)
        if not Path(run.out).exists():
            pretrain(run, place.uri)
        compared.append([dict(place.history(run, metric)) for metric in ("loss", "gradient_norm")])
    plain, other = compared
    apart = []
    for expected, found in zip(plain, other, strict=True):
        assert len(expected) == steps and expected.keys() == found.keys(), "a run has other steps"
        assert len(set(expected.values())) > 1, "nothing changes from step to step"
        apart.append(max(abs(found[step] / expected[step] - 1) for step in expected))
    # Sums in another order: of bf16 the differences grow from step to step.
    tolerance = 1e-3 if place.machine.precision == "fp32" else 2e-2
    passed = all(one < tolerance for one in apart)  # false for NaN
    words = f"losses within {apart[0]:.1e} of the plain ones over {steps} steps, gradient norms within {apart[1]:.1e}"
    return Line(name, "PASS" if passed else "FAIL", words, {"loss": apart[0], "gradient": apart[1]})


def train_stage(place: Workplace, size: str, steps: int, stage: Literal[1, 2, 3]) -> Line:
    """A ZeRO stage against stage 0."""
    return train_alike(place, f"ZeRO stage {stage}", size, steps, replace(_cluster(place.machine), zero_stage=stage))


def train_compiled(place: Workplace, size: str, steps: int) -> Line:
    """Compiled blocks against blocks that are not."""
    if problem := compiler_problem(gpu=place.machine.device == "gpu"):
        raise NotRun(problem)
    return train_alike(place, "compiled blocks", size, steps, replace(_cluster(place.machine), compile=True))


def _run(
    place: Workplace, name: str, size: str, steps: int, pairs: int, cluster: Cluster, log_every: int
) -> PretrainRun:
    """A run of a size on all workers, without guards, scores or checkpoints before its end."""
    machine = place.machine
    return replace(
        RECIPES["xl"](place.shards, str(place.folder / name.replace(",", "").replace(" ", "-"))),
        recipe=name,
        network=NetworkSettings(size=size, channels=512 if size in P3D and machine.device == "gpu" else 256),
        schedule=Schedule(
            steps=steps, batch=pairs * machine.workers, warmup=0, log_every=log_every, guard_every=0, lr=1e-4
        ),
        keep=Keep(every=NEVER),
        score=Score(every=0),
        cluster=cluster,
    )


def _cluster(machine: Hardware) -> Cluster:
    """All workers of the machine. A failure is not waited for; compiling may take two minutes."""
    return Cluster(
        workers=machine.workers, device=machine.device, precision=machine.precision, restarts=0, patience=120.0
    )
