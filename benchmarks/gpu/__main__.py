"""python -m benchmarks.gpu [--minutes 8] [--json gpu.json]

Checks a machine with one to eight GPUs, on synthetic walkers that it films itself: kernels of attention, the speed of
each size, ZeRO stages, compiled blocks, a killed rank, embeddings. Prints a line for each check as it ends, then a
table in Markdown; exit status 1 where one has failed. On a machine without GPUs the same checks run at tiny sizes on
the CPU. After `--minutes` checks are stopped; what was not run, or does not fit into the memory, is a line.
"""

import json
import tempfile
import time
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import torch
import tyro

from benchmarks.gpu.attention import check_layout
from benchmarks.gpu.embedding import embed_on
from benchmarks.gpu.machine import hardware, make_store, measure_speed
from benchmarks.gpu.report import Report
from benchmarks.gpu.resume import CHECK as KILL
from benchmarks.gpu.resume import kill_and_resume
from benchmarks.gpu.training import Workplace, train_compiled, train_size, train_stage
from model.packing import Layout
from model.sizes import LADDER
from orchestration.run.hardware import compiler_problem

# Steps of each size, about ten seconds on an H100 and more at the large ones, with the time to start.
STEPS = {"xxs": 400, "xs": 400, "s": 200, "m": 100, "l": 60, "xl": 40, "p3d-0.13b": 10}
FEWER = 3  # by which steps are divided where the time is short
ATTENTION: tuple[tuple[str, Layout, torch.dtype], ...] = (
    ("padded", "padded", torch.float32),
    ("padded", "padded", torch.bfloat16),
    ("jagged", "jagged", torch.float32),
    ("varlen", "jagged", torch.bfloat16),
)


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """The time, and where results go."""

    minutes: float = 8
    """Time for all checks."""
    json: str = ""
    """A file for the lines, with their numbers."""


def main(arguments: Arguments) -> int:
    """Check, print, and return the exit status."""
    machine = hardware()
    report = Report(time.monotonic() + 60 * arguments.minutes)
    with tempfile.TemporaryDirectory(prefix="gpu-check-") as folder:
        place = Workplace(Path(folder), machine)
        check_all(report, place)
    print(f"\n{machine.name}, torch {torch.__version__}\n\n{report.markdown()}")
    if arguments.json:
        found = {"device": machine.name, "torch": torch.__version__, "lines": [asdict(line) for line in report.lines]}
        Path(arguments.json).write_text(json.dumps(found, indent=1))
    return int(report.failed)


def check_all(report: Report, place: Workplace) -> None:
    """All checks, those first that tell whether results are right; then speeds, by size."""
    machine = place.machine
    gpu = machine.device == "gpu"
    report.check("speed of the device", 5, partial(measure_speed, machine))
    for name, layout, dtype in ATTENTION:
        work = partial(check_layout, name, layout, dtype, machine.torch_device)
        report.check(f"attention, {name}, {str(dtype)[6:]}", 5, work)
    report.check("ingest", 20, partial(make_store, place.folder, machine))
    if report.failed:
        return  # the others would fail for the same reasons
    # Before this process has a Ray of its own.
    report.check(KILL, 45, lambda: kill_and_resume(place, 2000 if gpu else 60, report.left / 2))
    stages: tuple[Literal[1, 2, 3], ...] = (1, 2, 3)
    for stage in stages:
        report.check(f"ZeRO stage {stage}", 30, partial(train_stage, place, "xs" if gpu else "xxs", 8, stage))
    report.check("compiled blocks", 60, partial(train_compiled, place, "xs" if gpu else "xxs", 8))
    for size in ("xs", "xl") if gpu else ("xxs",):
        report.check(f"embed by {size}", 10, partial(embed_on, place, size, 64 if gpu else 4))
    torch.cuda.empty_cache()  # what this process has used, ranks may use now
    check_sizes(report, place)


def check_sizes(report: Report, place: Workplace) -> None:
    """The step of each size. The largest come first: what they lack in time, a small one needs least."""
    gpu = place.machine.device == "gpu"
    compiles = gpu and compiler_problem(gpu) is None
    steps = [(size, compiled) for size in reversed(LADDER) for compiled in ((False, True) if compiles else (False,))]
    steps = [*steps, ("p3d-0.13b", False)] if gpu else [("xxs", False), ("p3d-tiny", False)]
    for number, (size, compiled) in enumerate(steps):
        share = report.left / (len(steps) - number)  # of the time for each that is left
        count = (STEPS[size] if share > 40 else max(STEPS[size] // FEWER, 6)) if gpu else 6
        pairs = (16 if size.startswith("p3d") else 64) if gpu else 8
        name = f"step of {size}{', compiled' if compiled else ''}"
        report.check(name, 30 if compiled else 15, partial(train_size, place, size, count, pairs, compiled))


if __name__ == "__main__":
    raise SystemExit(main(tyro.cli(Arguments)))
