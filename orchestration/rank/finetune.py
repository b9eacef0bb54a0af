"""Fine-tuning on a rank: clips with labels, and their classification."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import ray.train

from datasets.loading import labels as tasks
from datasets.loading.labelled import LabelledBatch, LabelledLoader, Order, PKSampler, RoundRobinSampler
from datasets.loading.labels import SUBJECT, Question, answers
from model.objectives.classification import Classifier
from orchestration.rank.data import map_corpus
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
        run, context = self.run, ray.train.get_context()
        selection = replace(run.data.selection, collections=self.start.collections)
        sequences, _ = map_corpus(run.shards, selection)
        rows = sequences.described()
        labels = answers(self.start.questions, rows)
        order = order_of(run, labels, tasks.people(rows))
        rank, ranks = context.get_world_rank(), context.get_world_size()
        loader = LabelledLoader(sequences, labels, order, run.clips, run.schedule.batch, run.seed, rank, ranks)
        return loader.steps(start, run.schedule.steps)


def order_of(run: FinetuneRun, labels: np.ndarray, people: Sequence[str]) -> Order:
    """The order in which rows are sampled; rows without a label are left out. UsageError where too few are left.

    labels: int64 [rows, M], negative where one is missing. people: the person of each row.
    """
    batch, seed = run.schedule.batch, run.seed
    known = (labels >= 0).any(axis=1)
    if run.data.sampling == "people":
        numbers = np.unique(np.asarray(people, dtype=str), return_inverse=True)[1].astype(np.int64)
        return PKSampler(np.where(known, numbers, -1), batch, run.data.each, seed)
    if run.data.sampling == "plain":
        return RoundRobinSampler([np.flatnonzero(known)], batch, seed)
    groups = (np.flatnonzero(labels[:, 0] == number) for number in range(int(labels.max()) + 1))
    return RoundRobinSampler([group for group in groups if len(group)], batch, seed)


def describe(questions: Sequence[Question]) -> str:
    """Questions and their classes in a line for the terminal."""
    if questions[0].label == SUBJECT:
        return f"who of {len(questions[0].classes):,} people it is"
    return "; ".join(f"{one.label}: {', '.join(one.classes)}" for one in questions)


def finetune_rank(config: Mapping[str, Any]) -> None:
    """Runs on every rank."""
    run = build(FinetuneRun, config["run"])
    enter(FinetuneWork(run, read_start(folder_of(run))), config)
