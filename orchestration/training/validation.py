"""Validation during training: a Ray task scores each checkpoint on the held-out subjects.

Training does not wait for it: tasks reserve no CPU of Ray and run at the lowest priority. Scores go to the run in
MLflow, and into the checkpoint for `--keep.best`. This is a quick estimate (the first frames of each sequence, one
number a probe set); jobs/evaluate.py runs the whole protocols and baselines.
"""

import logging
import os
from collections import deque

import numpy as np
import pyarrow as pa
import ray
import torch
from ray.exceptions import RayError

from datasets import storage
from datasets.schema.collection import CollectionSpec
from datasets.store.reader import Store
from evaluation.retrieval.protocols import single_view_gallery
from model.network import GaitNetwork
from orchestration.embedding.networks import teacher_of
from orchestration.embedding.sequences import embed_rows, held_out_rows
from orchestration.run import checkpoint
from orchestration.run.folder import folder_of, read_run
from orchestration.run.precision import resolved
from orchestration.run.settings import PretrainRun, Run
from orchestration.run.tracking import Tracker

logger = logging.getLogger(__name__)


class Scorer:
    """Scores checkpoints one at a time and in order, and records the scores."""

    def __init__(self, run: Run, tracker: Tracker, names: list[str], every: int) -> None:
        """names: the collections whose held-out subjects are scored. every: checkpoints from one scored to the next."""
        self._run, self._tracker, self._names, self._every = run, tracker, names, every
        self._queue: deque[int] = deque()
        self._running: tuple[int, ray.ObjectRef] | None = None
        self._latest: tuple[int, float] | None = None

    def add(self, step: int) -> None:
        """Queue the checkpoint of a step, if it is to be scored."""
        last = step == self._run.schedule.steps
        if self._names and (last or step // self._run.keep.every % self._every == 0):
            self._queue.append(step)

    def pending(self) -> set[int]:
        """The steps of checkpoints that are not scored yet."""
        return set(self._queue) | ({self._running[0]} if self._running else set())

    def update(self, timeout: float = 0) -> None:
        """Log the running task's score if it is done, and start to score the next checkpoint."""
        if self._running is not None:
            step, task = self._running
            if not ray.wait([task], timeout=timeout)[0]:
                return
            self._running = None
            try:
                self._record(step, ray.get(task))
            except RayError as error:
                reason = " ".join(str(error).split())[-300:]
                logger.warning(f"scoring the checkpoint of step {step} failed: {reason}")
        if self._queue:
            step = self._queue.popleft()
            self._running = (step, self._start(step))

    def latest(self) -> dict[str, str]:
        """The latest score, for the terminal."""
        return {} if self._latest is None else {"rank1": f"{self._latest[1]:.1f} at {self._latest[0]}"}

    def _start(self, step: int) -> ray.ObjectRef:
        spare_gpu = self._run.cluster.gpu and ray.cluster_resources().get("GPU", 0) > self._run.cluster.workers
        # max_calls: a process of its own, since a process cannot raise its priority again.
        task = ray.remote(num_cpus=0, num_gpus=int(spare_gpu), max_calls=1, max_retries=3)(_score_in_task)
        return task.remote(str(checkpoint.at_step(folder_of(self._run), step)), self._names)

    def _record(self, step: int, score: dict[str, float]) -> None:
        if "mean" in score:
            checkpoint.write_score(checkpoint.at_step(folder_of(self._run), step), score)
            self._tracker.log(step, {f"score/{name}": value for name, value in score.items()})
            self._latest = (step, score["mean"])


def scored_collections(run: PretrainRun, store: Store) -> list[str]:
    """The collections whose held-out subjects can be scored between pairs of views."""
    if not run.data.holdout or not run.score.every:
        return []
    names = sorted({subject.split("/")[0] for subject in run.data.holdout} & set(store.collections))
    specs = store.specs(names).values()
    return [spec.name for spec in specs if spec.protocol is not None and "view-pairs" in spec.protocol.kinds]


def _score_in_task(address: str, names: list[str]) -> dict[str, float]:
    """Runs in a Ray task, at the lowest priority."""
    os.nice(19)
    torch.set_num_threads(1)
    return score(address, names)


def score(address: str, names: list[str]) -> dict[str, float]:
    """Rank-1 of each probe set, `<collection>/<set>`, and their `mean`, in percent and without the identical view.

    Probe sets without a comparison are left out, and the mean where there is none at all.
    """
    place = storage.open_place(address)
    run = read_run(place)
    network = teacher_of(place)
    store = Store.open(run.shards)
    found: dict[str, float] = {}
    for name in names:
        found |= _score_collection(store.spec(name), held_out_rows(store, name, run), network, run)
    known = {name: value for name, value in found.items() if not np.isnan(value)}
    return known | ({"mean": float(np.mean(list(known.values())))} if known else {})


def _score_collection(spec: CollectionSpec, rows: pa.Table, network: GaitNetwork, run: PretrainRun) -> dict[str, float]:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network, precision = network.to(device), resolved(run.cluster.precision)
    embeddings = embed_rows(network, rows, run.clips.frames, device, precision, max_frames=run.score.frames)
    subjects, conditions, views = (rows[column].to_pylist() for column in ("subject", "condition", "view"))
    assert spec.protocol is not None  # see scored_collections
    tables = single_view_gallery(embeddings, subjects, conditions, views, spec.protocol, "euc")
    return {f"{spec.name}/{table.name}": table.excluding_identical() for table in tables}
