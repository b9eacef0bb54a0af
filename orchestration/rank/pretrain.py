"""Pretraining on a rank: pairs of clips, and the objective that the settings choose."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch.distributed as dist

from datasets.loading.pairs import PairBatch, PairLoader
from datasets.loading.sampler import GlobalSampler
from model.objectives.pairs import PairObjective
from orchestration.rank.data import loader_processes, map_corpus
from orchestration.rank.entry import enter
from orchestration.run.serialise import build
from orchestration.run.settings import PretrainRun


@dataclass(frozen=True)
class PretrainWork:
    """`Work` of a pretraining run (orchestration/rank/work.py)."""

    run: PretrainRun

    def objective(self) -> PairObjective:
        """The objective that the run's settings choose, with random weights."""
        return self.run.objective.build(self.run.network)

    def batches(self, start: int) -> Iterator[PairBatch]:
        """The pairs of this rank, from step `start` to the last."""
        run, data = self.run, self.run.data
        sequences, specs = map_corpus(run.shards, data.selection)
        discounts = {name: spec.sampling_discount for name, spec in specs.items()}
        sampler = GlobalSampler(sequences.sizes(), discounts, run.schedule.batch, run.seed, data.mixing)
        rank, ranks = dist.get_rank(), dist.get_world_size()
        batch, positives = run.schedule.batch, data.positives
        loader = PairLoader(sequences, sampler, run.clips, batch, run.seed, rank, ranks, positives)
        return loader.steps(start, run.schedule.steps, loader_processes(run.cluster))


def pretrain_rank(config: Mapping[str, Any]) -> None:
    """Runs on every rank."""
    enter(PretrainWork(build(PretrainRun, config["run"])), config)
