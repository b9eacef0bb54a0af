"""Hyperparameter transfer: the loss of several sizes at several learning rates, after the same number of steps.

    python -m benchmarks.transfer --shards <store> --sizes xxs xs s --rates 1e-3 3e-3 1e-2

If the rule of model/transfer.py holds, the best rate is the same at every size, and larger sizes do better at it. One
process on one core; clips are short and batches small, so that the largest size can be trained.
"""

import statistics
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import tyro

from benchmarks.plain_loop import PlainLoop, map_training_data, pairs_of
from datasets.loading import corpus
from jobs.recipes import RECIPES
from orchestration.run.folder import with_precision
from orchestration.run.hardware import bf16_support
from orchestration.run.precision import fastest
from orchestration.run.settings import PretrainRun

LAST = 15  # steps over which the final loss is averaged


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """The grid, and the runs in it."""

    shards: str
    """The store to train on."""
    recipe: str = "casia-b-walks"
    """The recipe that all runs change."""
    sizes: tuple[str, ...] = ("xxs", "xs", "s")
    """Sizes of the encoder."""
    rates: tuple[float, ...] = (1e-3, 3e-3, 1e-2)
    """Peak learning rates."""
    steps: int = 80
    """Steps of each run."""
    batch: int = 32
    """Pairs a step."""
    frames: int = 4
    """Frames of a clip."""
    seed: int = 0
    """Seed of weights and data."""


def main(arguments: Arguments) -> None:
    """Train every run of the grid and print its loss."""
    torch.set_num_threads(1)
    precision, _ = fastest({"this machine": bf16_support(gpu=False)})
    base = with_precision(RECIPES[arguments.recipe](arguments.shards, ""), precision)
    schedule = replace(base.schedule, steps=arguments.steps, batch=arguments.batch, warmup=10)
    base = replace(base, seed=arguments.seed, clips=replace(base.clips, frames=arguments.frames), schedule=schedule)
    with tempfile.TemporaryDirectory() as folder:
        map_training_data(base, Path(folder))
        sequences = corpus.Corpus(Path(folder))
        for size in arguments.sizes:
            for rate in arguments.rates:
                run = replace(base, network=replace(base.network, size=size), schedule=replace(base.schedule, lr=rate))
                began = time.process_time()
                loss = _final_loss(run, sequences)
                print(f"{size:<4} rate {rate:<7g} loss {loss:.4f} ({time.process_time() - began:.0f} s)", flush=True)


def _final_loss(run: PretrainRun, sequences: corpus.Corpus) -> float:
    """The mean of the last losses of a run. Each batch is new to it, so this is no training error."""
    loop = PlainLoop(run)
    batches = pairs_of(run, sequences).steps(0, run.schedule.steps)
    losses = [loop.step(batch, run.schedule.lr_at(batch.step)) for batch in batches]
    return statistics.fmean(losses[-LAST:])


if __name__ == "__main__":
    main(tyro.cli(Arguments))
