"""A pretraining run as a plain PyTorch loop, in one process on one thread: CPU time, loss and memory of its steps.

    python -m benchmarks.plain_loop --shards <store> [--recipe casia-b-walks] [--steps 2000] [--every 100]

Other benchmarks import the loop: the model, data and optimizer of a recipe, in one process, or in several where the
caller wraps the model. benchmarks/step.py runs this file with the packages of another checkout.
"""

import json
import statistics
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import psutil
import torch
import tyro
from torch import nn

from datasets.loading import corpus
from datasets.loading.corpus import write_map
from datasets.loading.pairs import PairBatch, PairLoader
from datasets.loading.sampler import GlobalSampler
from datasets.store.reader import Store
from datasets.store.selection import training_tables
from jobs.recipes import RECIPES
from model import transfer
from model.objectives.interface import Gather, no_gather
from orchestration.run.settings import PretrainRun


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """The steps to take."""

    shards: str
    """The store to train on."""
    recipe: str = "casia-b-walks"
    """Model, clips and objective."""
    collection: str = "CASIA-B"
    """The collection of the store to train on."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Of matrix products: fp32 or bf16."""
    batch: int = 64
    """Pairs of a step."""
    steps: int = 20
    """Steps to take."""
    every: int = 10
    """Steps from one line to the next."""
    weights: str = ""
    """A file of weights to start from; it is written where it does not exist."""


def main(arguments: Arguments) -> None:
    """Print a line of JSON every few steps: the last step, its loss, the median CPU time of a step, and memory."""
    torch.set_num_threads(1)
    run = RECIPES[arguments.recipe](arguments.shards, "")
    run = replace(
        run,
        data=replace(run.data, collections=(arguments.collection,), holdout=()),
        schedule=replace(
            run.schedule, batch=arguments.batch, steps=arguments.steps, warmup=min(run.schedule.warmup, arguments.steps)
        ),
        cluster=replace(run.cluster, precision=arguments.precision),
    )
    loop, seconds = PlainLoop(run), []
    _share_weights(loop.module, arguments.weights)
    with tempfile.TemporaryDirectory() as folder:
        map_training_data(run, Path(folder))
        for batch in pairs_of(run, corpus.Corpus(Path(folder))).steps(0, arguments.steps):
            began = time.process_time()
            loss = loop.step(batch, run.schedule.lr_at(batch.step))
            seconds.append(time.process_time() - began)
            if (batch.step + 1) % arguments.every == 0:
                used = psutil.Process().memory_info().rss // 2**20
                line = {"step": batch.step + 1, "loss": loss, "cpu_seconds": statistics.median(seconds)}
                print(json.dumps(line | {"memory_mib": used}), flush=True)
                seconds.clear()


def _share_weights(module: nn.Module, file: str) -> None:
    """Start from the weights of a file, or write them there."""
    if Path(file).is_file():
        module.load_state_dict(torch.load(file, weights_only=True))
    elif file:
        torch.save(module.state_dict(), file)


def map_training_data(run: PretrainRun, folder: Path) -> None:
    """Write the training data of a run into a folder, in the form that its workers memory-map."""
    store = Store.open(run.shards)
    write_map(training_tables(store, run.data.selection), store.specs(run.data.collections), folder)


def pairs_of(run: PretrainRun, sequences: corpus.Corpus, rank: int = 0, ranks: int = 1) -> PairLoader:
    """The pairs of a run that trains on one collection."""
    order = GlobalSampler(sequences.sizes(), {}, run.schedule.batch, run.seed)
    return PairLoader(sequences, order, run.clips, run.schedule.batch, run.seed, rank, ranks, run.data.positives)


class PlainLoop:
    """The objective of a run and its optimizer. wrapped: what is called for the forward pass; callers may set it."""

    def __init__(self, run: PretrainRun, gather: Gather = no_gather) -> None:
        assert run.cluster.precision != "auto", "a plain loop takes fp32 or bf16"
        torch.manual_seed(run.seed)
        self.run, self.gather = run, gather
        self.module = run.objective.build(run.network)
        self.wrapped: nn.Module = self.module
        groups = self.module.parameter_groups(run.schedule.weight_decay)
        self._optimizer = torch.optim.AdamW(groups, lr=run.schedule.lr, betas=transfer.BETAS)

    def step(self, batch: PairBatch, lr: float) -> float:
        """One step of the optimizer at a learning rate, and one of the teacher; returns the loss."""
        for group in self._optimizer.param_groups:
            group["lr"] = lr * group["lr_scale"]
        tensors = self.module.tensors(batch, torch.device("cpu"))
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.run.cluster.precision == "bf16"):
            loss = self.wrapped(*tensors, step=batch.step, gather=self.gather)["loss"]
        self._optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.module.student.parameters(), self.run.schedule.clip_norm)
        self._optimizer.step()
        self.module.update_teacher()
        return float(loss.detach())


if __name__ == "__main__":
    main(tyro.cli(Arguments))
