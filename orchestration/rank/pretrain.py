"""Pretraining as a rank does it: pairs of clips, and the contrast that they are trained by."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import ray.train
import torch
from torch import Tensor

from datasets.loading.pairs import PairBatch, PairLoader
from datasets.loading.sampler import GlobalSampler
from model import guards, sizes
from model.objective import PartContrast
from orchestration.rank.data import map_corpus
from orchestration.rank.entry import enter
from orchestration.run.serialise import build
from orchestration.run.settings import PretrainRun


@dataclass(frozen=True)
class PretrainWork:
    """The work of a pretraining run; see orchestration/rank/work.py."""

    run: PretrainRun

    def module(self) -> PartContrast:
        """Student and teacher."""
        return PartContrast(self.run.network, self.run.contrast)

    def batches(self, start: int) -> Iterator[PairBatch]:
        """The pairs of this rank, from a step to the last."""
        run, data, context = self.run, self.run.data, ray.train.get_context()
        sequences, specs = map_corpus(run.shards, data.selection)
        discounts = {name: spec.sampling_discount for name, spec in specs.items()}
        order = GlobalSampler(sequences.sizes(), discounts, run.schedule.batch, run.seed, data.mixing)
        rank, ranks = context.get_world_rank(), context.get_world_size()
        batch, positives = run.schedule.batch, data.positives
        loader = PairLoader(sequences, order, run.clips, batch, run.seed, rank, ranks, positives)
        return loader.steps(start, run.schedule.steps)

    def tensors(self, batch: PairBatch, device: torch.device) -> list[Tensor]:
        """Query, its times, key, its times, and the recorded walk of each pair."""
        arrays = (batch.query, batch.query_times, batch.key, batch.key_times, batch.walks)
        return [torch.from_numpy(array).to(device, non_blocking=True) for array in arrays]

    def guards(self, module: PartContrast, batch: Sequence[Tensor], step: int) -> dict[str, Tensor]:
        """The guards of the network that is evaluated."""
        return guards.watch(module.teacher, *batch, seed=step)

    def flops(self, step: int, kept: float) -> float:
        """Work of training on one pair."""
        taught = step > self.run.contrast.teacher_from
        return sizes.pair_flops(self.run.network.size, self.run.clips.frames, kept, taught)


def pretrain_rank(config: dict[str, object]) -> None:
    """Runs on every rank."""
    enter(PretrainWork(build(PretrainRun, config["run"])), config)
