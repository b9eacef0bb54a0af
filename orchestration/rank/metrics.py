"""Metrics of training, averaged over the steps since the last report and over ranks, and sent to the driver.

Ranks exchange metrics at reports alone, once every few steps, and check for NaN and Inf there: a check at every step
would make each step wait for the slowest rank and for the device.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import psutil
import torch
import torch.distributed as dist
from torch import Tensor

from orchestration.rank import collectives
from orchestration.rank.status import MetricsReported
from orchestration.rank.work import Batch
from orchestration.run.precision import Precision, resolved
from orchestration.run.settings import Run

MIB = 1 << 20


class NotFinite(Exception):
    """A rank produced NaN or Inf; the message names the rank and the step."""


@dataclass
class MetricsLogger:
    """Metrics of one rank. All ranks must make the same calls; `report` is called on rank 0 alone."""

    run: Run
    start: int
    device: torch.device
    peak: float  # FLOP/s that this rank reaches in a large matrix product (matrix_flops)
    flops: Callable[[int, float], float]  # FLOP of one item, from the step and the share of tubelets that are tokens
    report: Callable[[MetricsReported], object]
    _recorded: list[dict[str, Tensor]] = field(default_factory=list)
    _since: float = field(default_factory=time.monotonic)
    _waited: float = 0.0

    def timed(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """The same batches; measures how long the rank waits for each."""
        while True:
            began = time.monotonic()
            batch = next(batches, None)
            self._waited += time.monotonic() - began
            if batch is None:
                return
            yield batch

    def record(self, step: int, metrics: dict[str, Tensor], batch: Batch, report_now: bool) -> None:
        """Keep the metrics of a step (scalars), and report them every `log_every` steps. Every rank must call it.

        report_now: report at this step in any case. NotFinite, on all ranks, where one of them produced NaN or Inf
        since the last report.
        """
        self._recorded.append(metrics)
        first = step == self.start + 1
        if first or report_now or step % self.run.schedule.log_every == 0 or step == self.run.schedule.steps:
            self._report(step, batch)

    def _report(self, step: int, batch: Batch) -> None:
        names = sorted({name for one in self._recorded for name in one})  # guards are not there at every step
        averages = [torch.stack([one[name] for one in self._recorded if name in one]).mean() for name in names]
        ranks = dist.get_world_size()
        # One all-reduce carries the averages and, in a place of its own for each rank, its first step with NaN or Inf.
        bad_steps = torch.zeros(ranks, device=self.device)
        bad_steps[dist.get_rank()] = self._first_bad_step(step)
        sums, bad_steps = collectives.all_reduce(torch.cat([torch.stack(averages), bad_steps])).split(
            [len(names), ranks]
        )
        metrics = dict(zip(names, (sums / ranks).tolist(), strict=True))
        count, seconds, waited = len(self._recorded), time.monotonic() - self._since, self._waited
        self._recorded, self._since, self._waited = [], time.monotonic(), 0.0
        _raise_not_finite(bad_steps.int().tolist(), resolved(self.run.cluster.precision))
        if dist.get_rank() == 0:
            del metrics["finite"]
            speed = self._speed(metrics, step, count, seconds, waited)
            self.report(MetricsReported(step, metrics | speed | {"epoch": batch.epoch}))

    def _first_bad_step(self, step: int) -> int:
        """The first step since the last report at which this rank produced NaN or Inf; 0 where none."""
        flags = torch.stack([one["finite"] * one["loss"].isfinite() for one in self._recorded])
        bad = (flags < 1).nonzero()
        return step - len(flags) + 1 + int(bad[0]) if len(bad) else 0

    def _speed(
        self, metrics: dict[str, float], step: int, count: int, seconds: float, waited: float
    ) -> dict[str, float]:
        """Throughput over all ranks, and the load of rank 0's machine."""
        rate = count * self.run.schedule.batch / seconds
        flops = rate * self.flops(step, metrics.get("tokens_kept", 1.0))
        process = psutil.Process()
        found = {
            "lr": self.run.schedule.lr_at(step - 1),
            f"{self.run.items}_per_second": rate,
            "data_wait": waited / seconds,
            "flops_per_second": flops,
            "utilisation": flops / (self.peak * dist.get_world_size()),
            "workers": float(dist.get_world_size()),
            "system/cpu_percent": psutil.cpu_percent(),
            "system/memory_percent": psutil.virtual_memory().percent,
            "system/worker_memory_mib": process.memory_info().rss / MIB,
        }
        if self.device.type == "cuda":
            found["system/gpu_memory_mib"] = torch.cuda.max_memory_allocated(self.device) / MIB
        return found


def _raise_not_finite(bad_steps: list[int], precision: Precision) -> None:
    """NotFinite where a rank has a bad step; 0 stands for none."""
    steps = [step for step in bad_steps if step]
    if steps:
        first = min(steps)
        which = ", ".join(str(rank) for rank, step in enumerate(bad_steps) if step == first)
        finer = ", or --cluster.precision fp32" if precision == "bf16" else ""
        raise NotFinite(
            f"rank {which} produced NaN or Inf at step {first}: give a lower --schedule.lr or --schedule.clip-norm"
            f"{finer}, and another --out; earlier checkpoints are not affected"
        )


def matrix_flops(device: torch.device, precision: Precision) -> float:
    """FLOP/s of a large matrix product on this device, best of four: the reference of the metric `utilisation`."""
    size = 8192 if device.type == "cuda" else 768
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    a = torch.ones(size, size, device=device, dtype=dtype)
    best = float("inf")
    for _ in range(4):
        began = time.perf_counter()
        float((a @ a)[0, 0])  # waits for the device
        best = min(best, time.perf_counter() - began)
    return 2 * size**3 / best
