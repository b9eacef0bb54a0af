"""A training step of a run beside that of a bare PyTorch loop: the same model, pairs and optimizer on two CPU ranks.

    python -m benchmarks.step --shards <store> [--repeats 5]

Our side is `jobs.pretrain` whole: Ray Train, DeepSpeed, metrics, pulse, guards switched off. The other is
DistributedDataParallel over gloo with nothing around it. They take turns; of each turn the median over windows of ten
steps counts, of all turns the least. Data are read as the run reads them on both sides.
"""

import statistics
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import mlflow
import torch
import torch.distributed as dist
import tyro
from torch.nn.parallel import DistributedDataParallel

from benchmarks.plain_loop import PlainLoop, map_training_data, pairs_of
from datasets import storage
from datasets.loading import corpus
from jobs.recipes import RECIPES
from orchestration.rank import collectives
from orchestration.run.folder import tracked_run
from orchestration.run.settings import Keep, PretrainRun, Schedule
from orchestration.training.pretrain import pretrain

WINDOW = 10  # steps


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Seconds a step of a recipe, beside a bare loop."""

    shards: str
    """The store to train on."""
    recipe: str = "tiny"
    """Model, clips and objective."""
    collection: str = "CASIA-B"
    """The collection of the store to train on."""
    steps: int = 60
    """Steps of a turn."""
    repeats: int = 5
    """RoundRobinSampler of each side."""


def main(arguments: Arguments) -> None:
    """Take turns and print the ratio."""
    run = RECIPES[arguments.recipe](arguments.shards, "")
    run = replace(
        run,
        data=replace(run.data, collections=(arguments.collection,), holdout=()),
        schedule=Schedule(steps=arguments.steps, batch=run.schedule.batch, log_every=WINDOW, guard_every=0),
        keep=Keep(every=10**6),
    )
    ours, bare = [], []
    with tempfile.TemporaryDirectory() as folder:
        mapped = Path(folder) / "map"
        mapped.mkdir()
        map_training_data(run, mapped)
        for turn in range(arguments.repeats):
            ours.append(_ours(replace(run, out=f"{folder}/run-{turn}"), f"sqlite:///{folder}/mlflow.db"))
            bare.append(_bare(run, folder, turn))
            print(f"turn {turn}: run {ours[-1]:.3f} s a step, bare loop {bare[-1]:.3f}", flush=True)
    ratios = sorted(one / other for one, other in zip(ours, bare, strict=True))
    print(f"least of all turns: run {min(ours):.3f}, bare loop {min(bare):.3f} s, ratio {min(ours) / min(bare):.3f}")
    print(f"ratio turn by turn: median {statistics.median(ratios):.3f}, {ratios[0]:.3f} to {ratios[-1]:.3f}")


def _ours(run: PretrainRun, uri: str) -> float:
    """Median seconds a step of a run, over its windows but the first."""
    pretrain(run, uri)
    client = mlflow.MlflowClient(tracking_uri=uri)
    history = client.get_metric_history(tracked_run(storage.open_place(run.out)), "pairs_per_second")
    return statistics.median(run.schedule.batch / one.value for one in history if one.step > WINDOW)


def _bare(run: PretrainRun, folder: str, turn: int) -> float:
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
