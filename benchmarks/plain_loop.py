"""A pretraining run as a plain PyTorch loop, which benchmarks compare with one another or with the run itself.

The model, data and optimizer of a recipe, in one process, or in several where the caller wraps the model.
"""

from pathlib import Path

import torch
from torch import nn

from datasets.loading import corpus
from datasets.loading.corpus import write_map
from datasets.loading.pairs import PairBatch, PairLoader
from datasets.loading.sampler import GlobalSampler
from datasets.store.reader import Store
from datasets.store.selection import training_tables
from model import transfer
from model.objectives.interface import Gather, no_gather
from orchestration.run.settings import PretrainRun


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
