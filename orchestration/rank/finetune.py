"""Fine-tuning on a rank: clips with labels, and their classification."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch.distributed as dist

from datasets.loading.labelled import LabelledBatch, LabelledLoader, PKSampler, RoundRobinSampler, RowSampler
from datasets.loading.labels import SUBJECT, Label, class_indices, subjects_of
from model.objectives.classification import Classifier
from orchestration.rank.data import loader_processes, map_corpus
from orchestration.rank.entry import enter
from orchestration.run.finetune_settings import FinetuneRun, Start, read_start
from orchestration.run.folder import folder_of
from orchestration.run.serialise import build


@dataclass(frozen=True)
class FinetuneWork:
    """`Work` of a run of fine-tuning (orchestration/rank/work.py)."""

    run: FinetuneRun
    start: Start

    def objective(self) -> Classifier:
        """Student and teacher, with random weights."""
        return self.start.module(self.run)

    def batches(self, start: int) -> Iterator[LabelledBatch]:
        """The clips of this rank, from step `start` to the last."""
        run = self.run
        selection = replace(run.data.selection, collections=self.start.collections)
        sequences, _ = map_corpus(run.shards, selection)
        rows = sequences.described()
        classes = class_indices(self.start.labels, rows)
        sampler = sampler_of(run, classes, subjects_of(rows))
        rank, ranks = dist.get_rank(), dist.get_world_size()
        loader = LabelledLoader(sequences, classes, sampler, run.clips, run.schedule.batch, run.seed, rank, ranks)
        return loader.steps(start, run.schedule.steps, loader_processes(run.cluster))


def sampler_of(run: FinetuneRun, classes: np.ndarray, subjects: Sequence[str]) -> RowSampler:
    """The sampler of a run, of the rows that have a label. UsageError if they are too few.

    classes: int64 [rows, M], negative where a label is missing. subjects: the subject of each row.
    """
    batch, seed = run.schedule.batch, run.seed
    known = (classes >= 0).any(axis=1)
    if run.data.sampling == "people":
        numbers = np.unique(np.asarray(subjects, dtype=str), return_inverse=True)[1].astype(np.int64)
        return PKSampler(np.where(known, numbers, -1), batch, run.data.each, seed)
    if run.data.sampling == "plain":
        return RoundRobinSampler([np.flatnonzero(known)], batch, seed)
    groups = (np.flatnonzero(classes[:, 0] == number) for number in range(int(classes.max()) + 1))
    return RoundRobinSampler([group for group in groups if len(group)], batch, seed)


def describe(labels: Sequence[Label]) -> str:
    """Labels and their classes in a line for the terminal."""
    if labels[0].name == SUBJECT:
        return f"who of {len(labels[0].classes):,} people it is"
    return "; ".join(f"{label.name}: {', '.join(label.classes)}" for label in labels)


def finetune_rank(config: Mapping[str, Any]) -> None:
    """Runs on every rank."""
    run = build(FinetuneRun, config["run"])
    enter(FinetuneWork(run, read_start(folder_of(run))), config)
