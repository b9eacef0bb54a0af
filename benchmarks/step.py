"""Seconds a training step of a run and of a bare PyTorch loop: the same model, pairs and optimizer on two CPU ranks.

    python -m benchmarks.step --shards <store> [--repeats 5] [--against <checkout>]

The run is all of `jobs.pretrain` (Ray Train, DeepSpeed, metrics, heartbeats) without guards. The bare loop is
DistributedDataParallel over gloo. They alternate, with the same data loader; the time of a turn is its median over
windows of ten steps, that of all turns the minimum.

With --against, the plain loop of this checkout alternates with that of another one instead: CPU time of a step on one
thread, from equal weights on equal data, and how far the losses are apart.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import mlflow
import torch
import torch.distributed as dist
import tyro
from torch.nn.parallel import DistributedDataParallel

from benchmarks import plain_loop
from benchmarks.plain_loop import PlainLoop, map_training_data, pairs_of
from datasets import storage
from datasets.loading import corpus
from jobs.recipes import RECIPES
from orchestration.cluster.session import ROOT
from orchestration.rank import collectives
from orchestration.run.folder import tracked_run, with_precision
from orchestration.run.hardware import bf16_support
from orchestration.run.precision import fastest
from orchestration.run.settings import Keep, PretrainRun, Schedule
from orchestration.training.pretrain import pretrain

WINDOW = 10  # steps


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """The recipe, and how long it is measured."""

    shards: str
    """The store to train on."""
    recipe: str = "tiny"
    """Model, clips and objective."""
    collection: str = "CASIA-B"
    """The collection of the store to train on."""
    steps: int = 60
    """Steps of a turn."""
    repeats: int = 5
    """Turns of each side."""
    against: str = ""
    """The root of another checkout, with which this one is compared."""


def main(arguments: Arguments) -> None:
    """Alternate and print the ratio."""
    if arguments.against:
        _compare_checkouts(arguments)
    else:
        _compare_with_bare_loop(arguments)


def _compare_checkouts(arguments: Arguments) -> None:
    here: list[float] = []
    there: list[float] = []
    losses = 0.0
    with tempfile.TemporaryDirectory() as folder:
        weights = f"{folder}/weights.pt"
        for turn in range(arguments.repeats):
            found = [_steps_of(checkout, arguments, weights) for checkout in (arguments.against, str(ROOT))]
            for lines, seconds in zip(found, (there, here), strict=True):
                seconds.append(statistics.median(line["cpu_seconds"] for line in lines[1:]))
            apart = [abs(one["loss"] / other["loss"] - 1) for one, other in zip(*found, strict=True)]
            losses = max(losses, *apart)
            print(f"turn {turn}: {here[-1]:.3f} CPU-s a step here, {there[-1]:.3f} there", flush=True)
    ratios = sorted(one / other for one, other in zip(here, there, strict=True))
    print(f"ratio here to there: median {statistics.median(ratios):.3f}, {ratios[0]:.3f} to {ratios[-1]:.3f}")
    print(f"losses differ by {losses:.1e} of their value at most")


def _steps_of(checkout: str, arguments: Arguments, weights: str) -> list[dict[str, float]]:
    """The lines of the plain loop with the packages of a checkout."""
    program = [sys.executable, str(Path(plain_loop.__file__)), "--weights", weights, "--every", "2"]
    program += ["--shards", arguments.shards, "--recipe", arguments.recipe, "--steps", str(arguments.steps)]
    environment = os.environ | {"PYTHONPATH": checkout, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(program, cwd=checkout, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def _compare_with_bare_loop(arguments: Arguments) -> None:
    precision, _ = fastest({"this machine": bf16_support(gpu=False)})
    run = with_precision(RECIPES[arguments.recipe](arguments.shards, ""), precision)
    run = replace(
        run,
        data=replace(run.data, collections=(arguments.collection,), holdout=()),
        schedule=Schedule(steps=arguments.steps, batch=run.schedule.batch, log_every=WINDOW, guard_every=0),
        keep=Keep(every=10**6),
    )
    runs, loops = [], []
    with tempfile.TemporaryDirectory() as folder:
        mapped = Path(folder) / "map"
        mapped.mkdir()
        map_training_data(run, mapped)
        for turn in range(arguments.repeats):
            runs.append(_time_run(replace(run, out=f"{folder}/run-{turn}"), f"sqlite:///{folder}/mlflow.db"))
            loops.append(_time_loop(run, folder, turn))
            print(f"turn {turn}: run {runs[-1]:.3f} s a step, bare loop {loops[-1]:.3f}", flush=True)
    ratios = sorted(one / other for one, other in zip(runs, loops, strict=True))
    print(f"least of all turns: run {min(runs):.3f}, bare loop {min(loops):.3f} s, ratio {min(runs) / min(loops):.3f}")
    print(f"ratio turn by turn: median {statistics.median(ratios):.3f}, {ratios[0]:.3f} to {ratios[-1]:.3f}")


def _time_run(run: PretrainRun, uri: str) -> float:
    """Median seconds a step of a run, without its first window."""
    pretrain(run, uri)
    client = mlflow.MlflowClient(tracking_uri=uri)
    run_id = tracked_run(storage.open_place(run.out))
    assert run_id is not None
    history = client.get_metric_history(run_id, "pairs_per_second")
    return statistics.median(run.schedule.batch / one.value for one in history if one.step > WINDOW)


def _time_loop(run: PretrainRun, folder: str, turn: int) -> float:
    """The same of the bare loop."""
    torch.multiprocessing.spawn(_rank, (run.cluster.workers, run, folder, turn), nprocs=run.cluster.workers)
    return float(Path(folder, f"bare-{turn}").read_text())


def _rank(rank: int, ranks: int, run: PretrainRun, folder: str, turn: int) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/meet-{turn}", rank=rank, world_size=ranks)
    loop = PlainLoop(run, collectives.gather)
    loop.wrapped = DistributedDataParallel(loop.module)
    loader = pairs_of(run, corpus.Corpus(Path(folder) / "map"), rank, ranks)
    windows, since = [], time.monotonic()
    for batch in loader.steps(0, run.schedule.steps):
        loop.step(batch, run.schedule.lr_at(batch.step))
        if (batch.step + 1) % WINDOW == 0:
            windows.append((time.monotonic() - since) / WINDOW)
            since = time.monotonic()
    if rank == 0:
        Path(folder, f"bare-{turn}").write_text(str(statistics.median(windows[1:])))
    dist.destroy_process_group()


if __name__ == "__main__":
    main(tyro.cli(Arguments))
