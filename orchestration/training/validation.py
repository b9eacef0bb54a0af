"""Validation during training: a Ray task scores each checkpoint on the held-out subjects.

Training does not wait for it: tasks reserve no CPU of Ray and run at the lowest priority. Where checkpoints come faster
than scores, those that wait for the longest are left out. Scores go to the run in MLflow, and into the checkpoint for
`--keep.best`. This is a quick estimate (the first frames of each sequence, one number a probe set); jobs/evaluate.py
runs the whole protocols and baselines.
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
from orchestration.run.hardware import bf16_support
from orchestration.run.precision import resolved
from orchestration.run.settings import PretrainRun, Run
from orchestration.run.tracking import Tracker

logger = logging.getLogger(__name__)
_MOST_WAITING = 2  # checkpoints that wait for their score, of which the run keeps all files


class Scorer:
    """Scores checkpoints one at a time and in order, the last one of a run in any case, and records the scores."""

    def __init__(self, run: Run, tracker: Tracker, names: list[str], every: int) -> None:
        """names: the collections whose held-out subjects are scored. every: checkpoints from one scored to the next."""
        self._run, self._tracker, self._names, self._every = run, tracker, names, every
        self._queue: deque[int] = deque()
        self._left_out: list[int] = []  # since a checkpoint was last begun
        self._running: tuple[int, ray.ObjectRef] | None = None
        self._latest: tuple[int, float] | None = None

    def add(self, step: int) -> None:
        """Queue the checkpoint of a step, if it is to be scored; where too many wait, the oldest is left out."""
        last = step == self._run.schedule.steps
        if self._names and (last or step // self._run.keep.every % self._every == 0):
            self._queue.append(step)
        if len(self._queue) > _MOST_WAITING:
            self._left_out.append(self._queue.popleft())

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
            self._say_left_out()
            step = self._queue.popleft()
            self._running = (step, self._start(step))

    def _say_left_out(self) -> None:
        if self._left_out:
            steps = ", ".join(map(str, self._left_out))
            logger.warning(
                f"checkpoints come faster than their scores: left out those of steps {steps}; "
                "--score.every scores fewer of them, --score.frames makes each faster"
            )
            self._left_out = []

    def latest(self) -> dict[str, str]:
        """The latest score, for the terminal."""
        return {} if self._latest is None else {"rank1": f"{self._latest[1]:.1f} at {self._latest[0]}"}

    def _start(self, step: int) -> ray.ObjectRef:
        spare_gpu = self._run.cluster.gpu and ray.cluster_resources().get("GPU", 0) > self._run.cluster.workers
        # max_calls: a process of its own, since a process cannot raise its priority again.
        task = ray.remote(num_cpus=0, num_gpus=int(spare_gpu), max_calls=1, max_retries=3)(_score_in_task)
        return task.remote(str(checkpoint.at_step(folder_of(self._run), step)), self._names, spare_gpu)

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


def _score_in_task(address: str, names: list[str], gpu: bool) -> dict[str, float]:
    """Runs in a Ray task, at the lowest priority."""
    os.nice(19)
    torch.set_num_threads(1)
    return score(address, names, gpu)


def score(address: str, names: list[str], gpu: bool) -> dict[str, float]:
    """Rank-1 of each probe set, `<collection>/<set>`, and their `mean`, in percent and without the identical view.

    Probe sets without a comparison are left out, and the mean where there is none at all. gpu: whether this process has
    a GPU to itself; one that it merely sees may be that of a rank.
    """
    place = storage.open_place(address)
    run = read_run(place)
    device = torch.device("cuda" if gpu else "cpu")
    network = teacher_of(place).to(device)
    store = Store.open(run.shards)
    found: dict[str, float] = {}
    for name in names:
        found |= _score_collection(store.spec(name), held_out_rows(store, name, run), network, run, device)
    known = {name: value for name, value in found.items() if not np.isnan(value)}
    return known | ({"mean": float(np.mean(list(known.values())))} if known else {})


def _score_collection(
    spec: CollectionSpec, rows: pa.Table, network: GaitNetwork, run: PretrainRun, device: torch.device
) -> dict[str, float]:
    # Of a run on GPUs that is scored on a processor without bf16: to emulate it would take eight times as long.
    precision = resolved(run.cluster.precision) if bf16_support(device.type == "cuda").instructions else "fp32"
    embeddings = embed_rows(network, rows, run.clips.frames, device, precision, max_frames=run.score.frames)
    subjects, conditions, views = (rows[column].to_pylist() for column in ("subject", "condition", "view"))
    assert spec.protocol is not None  # see scored_collections
    tables = single_view_gallery(embeddings, subjects, conditions, views, spec.protocol, "euc")
    return {f"{spec.name}/{table.name}": table.excluding_identical() for table in tables}
