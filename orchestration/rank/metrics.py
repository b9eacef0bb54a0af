"""What the ranks watch while they train: averaged between two reports over steps and ranks, and told to the driver.

A report is the one moment at which ranks compare notes; whether all that they computed is finite is settled there, so
that no step waits for it. Knows not where the numbers go.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import psutil
import torch
import torch.distributed as dist
from torch import Tensor

from orchestration.rank import collectives
from orchestration.rank.work import Batch
from orchestration.run.settings import Run

MIB = 1 << 20


class NotFinite(Exception):
    """A rank has computed what is no number; the message says which one, and when."""


@dataclass
class MetricsLogger:
    """The notes of one rank. All ranks make the same calls; `tell` is called on rank 0 alone."""

    run: Run
    start: int
    device: torch.device
    peak: float  # floating-point operations a second that this rank reaches in a matrix product
    flops: Callable[[int, float], float]  # work of one item after so many steps, for the share of tubelets kept
    tell: Callable[[int, dict[str, float]], None]
    _watched: list[dict[str, Tensor]] = field(default_factory=list)
    _since: float = field(default_factory=time.monotonic)
    _waited: float = 0.0

    def timed(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """The same batches, with a note of how long each was waited for."""
        while True:
            began = time.monotonic()
            batch = next(batches, None)
            self._waited += time.monotonic() - began
            if batch is None:
                return
            yield batch

    def note(self, step: int, watched: dict[str, Tensor], batch: Batch, at_once: bool) -> None:
        """Keep what was watched at a step, and report when it is time, or at once. Every rank must call it.

        NotFinite, on all ranks alike, where what one of them has seen since the last report is no number.
        """
        self._watched.append(watched)
        first = step == self.start + 1
        if first or at_once or step % self.run.schedule.log_every == 0 or step == self.run.schedule.steps:
            self._report(step, batch)

    def _report(self, step: int, batch: Batch) -> None:
        names = sorted({name for one in self._watched for name in one})  # guards are not watched at every step
        seen = [torch.stack([one[name] for one in self._watched if name in one]).mean() for name in names]
        ranks = dist.get_world_size()
        unsound = torch.zeros(ranks, device=self.device)
        unsound[dist.get_rank()] = self._first_unsound(step)
        means, unsound = collectives.total(torch.cat([torch.stack(seen), unsound])).split([len(names), ranks])
        metrics = dict(zip(names, (means / ranks).tolist(), strict=True))
        count, seconds, waited = len(self._watched), time.monotonic() - self._since, self._waited
        self._watched, self._since, self._waited = [], time.monotonic(), 0.0
        _check(unsound.int().tolist())
        if dist.get_rank() == 0:
            del metrics["sound"]
            self.tell(step, metrics | self._speed(metrics, step, count, seconds, waited) | {"epoch": batch.epoch})

    def _first_unsound(self, step: int) -> int:
        """The first step since the last report at which something of this rank was not finite; 0 where none was."""
        flags = torch.stack([one["sound"] * one["loss"].isfinite() for one in self._watched])
        bad = (flags < 1).nonzero()
        return step - len(flags) + 1 + int(bad[0]) if len(bad) else 0

    def _speed(
        self, metrics: dict[str, float], step: int, count: int, seconds: float, waited: float
    ) -> dict[str, float]:
        """How fast it goes, and what that takes of the machine of rank 0."""
        rate = count * self.run.schedule.batch / seconds
        flops = rate * self.flops(step, metrics.get("tokens_kept", 1.0))
        process = psutil.Process()
        found = {
            "rate": self.run.schedule.lr_at(step - 1),
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


def _check(unsound: list[int]) -> None:
    """NotFinite where a rank has a step, not 0."""
    steps = [step for step in unsound if step]
    if steps:
        first = min(steps)
        which = ", ".join(str(rank) for rank, step in enumerate(unsound) if step == first)
        raise NotFinite(
            f"what rank {which} computed at step {first} is not a finite number: give a lower --schedule.lr or "
            "--schedule.clip-norm, or --cluster.precision fp32; the checkpoints of before are whole"
        )


def matrix_flops(device: torch.device, precision: str) -> float:
    """Floating-point operations a second of a large matrix product here, best of a few: what `utilisation` is of."""
    size = 8192 if device.type == "cuda" else 768
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    a = torch.ones(size, size, device=device, dtype=dtype)
    best = float("inf")
    for _ in range(4):
        began = time.perf_counter()
        float((a @ a)[0, 0])  # waits for the device
        best = min(best, time.perf_counter() - began)
    return 2 * size**3 / best
