"""Fine-tuning as a rank does it: clips with labels, and the head that reads them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import ray.train
import torch
from torch import Tensor

from datasets.loading.labelled import LabelledBatch, LabelledLoader, Order, PKSampler, RoundRobinSampler
from datasets.loading.labels import SUBJECT, Question, answers, people
from model import guards, sizes
from model.classifier import Classifier
from orchestration.rank.data import map_corpus
from orchestration.rank.entry import enter
from orchestration.run.finetune_settings import FinetuneRun, Start, read_start
from orchestration.run.folder import folder_of
from orchestration.run.serialise import build


@dataclass(frozen=True)
class FinetuneWork:
    """The work of a run of fine-tuning; see orchestration/rank/work.py."""

    run: FinetuneRun
    start: Start

    def module(self) -> Classifier:
        """Student and teacher, with their heads."""
        return self.start.module(self.run)

    def batches(self, start: int) -> Iterator[LabelledBatch]:
        """The clips of this rank, from a step to the last."""
        run, context = self.run, ray.train.get_context()
        selection = replace(run.data.selection, collections=self.start.collections)
        sequences, _ = map_corpus(run.shards, selection)
        rows = sequences.described()
        labels = answers(self.start.questions, rows)
        order = order_of(run, labels, people(rows))
        rank, ranks = context.get_world_rank(), context.get_world_size()
        loader = LabelledLoader(sequences, labels, order, run.clips, run.schedule.batch, run.seed, rank, ranks)
        return loader.steps(start, run.schedule.steps)

    def tensors(self, batch: LabelledBatch, device: torch.device) -> list[Tensor]:
        """Clips, their times and labels."""
        arrays = (batch.clips, batch.times, batch.labels)
        return [torch.from_numpy(array).to(device, non_blocking=True) for array in arrays]

    def guards(self, module: Classifier, batch: Sequence[Tensor], step: int) -> dict[str, Tensor]:
        """Whether the embedding that is evaluated still fills its space."""
        del step  # nothing random is asked for
        return guards.watch_clips(module.teacher.network, *batch[:2])

    def flops(self, step: int, kept: float) -> float:
        """Work of training on one clip: three forward passes' worth, one where the encoder stays as it is."""
        del step  # all steps are alike
        passes = 1 if self.run.train == "head" else 3
        return passes * sizes.clip_flops(self.start.network.size, self.run.clips.frames, kept)


def order_of(run: FinetuneRun, labels: np.ndarray, who: Sequence[str]) -> Order:
    """The order in which rows with labels int64 [rows, M] are visited; rows without any are not. who: each is of."""
    batch, seed = run.schedule.batch, run.seed
    known = (labels >= 0).any(axis=1)
    if run.data.sampling == "people":
        numbers = np.unique(np.asarray(who, dtype=str), return_inverse=True)[1].astype(np.int64)
        return PKSampler(np.where(known, numbers, -1), batch, run.data.each, seed)
    if run.data.sampling == "plain":
        return RoundRobinSampler([np.flatnonzero(known)], batch, seed)
    groups = (np.flatnonzero(labels[:, 0] == number) for number in range(int(labels.max()) + 1))
    return RoundRobinSampler([group for group in groups if len(group)], batch, seed)


def in_words(questions: Sequence[Question]) -> str:
    """The questions, for a line of text."""
    if questions[0].label == SUBJECT:
        return f"who of {len(questions[0].classes):,} people it is"
    return "; ".join(f"{one.label}: {', '.join(one.classes)}" for one in questions)


def finetune_rank(config: dict[str, object]) -> None:
    """Runs on every rank."""
    run = build(FinetuneRun, config["run"])
    enter(FinetuneWork(run, read_start(folder_of(run))), config)
