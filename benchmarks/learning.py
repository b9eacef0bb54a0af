"""python -m benchmarks.learning --shards <store> [--recipe casia-b-walks] [--arms "as it is" "whole body"]

Ablations at equal time: each arm differs from a recipe in one setting, is trained on one core for the same processor
time, and is scored on the recipe's held-out subjects on the way, next to baselines without training. One process trains
one arm after the other in a plain PyTorch loop; real runs are those of jobs.pretrain. Training and scores are in bf16
where the processor has it, else in fp32. Every score is also appended to `--out` as a line of JSON.
"""

import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import tyro

from benchmarks.plain_loop import PlainLoop, map_training_data, pairs_of
from datasets.contours import codec
from datasets.loading import corpus
from datasets.schema.collection import CollectionSpec
from datasets.store.reader import Store
from datasets.store.selection import held_out
from evaluation import baselines
from evaluation.retrieval.protocols import single_view_gallery
from jobs.recipes import RECIPES
from model.objectives.pairs import PairObjective
from orchestration.embedding.sequences import decode_walk, embed_walks
from orchestration.run.folder import with_precision
from orchestration.run.hardware import bf16_support
from orchestration.run.precision import fastest, resolved
from orchestration.run.settings import PretrainRun

_TICKS = 10_000  # into which the time of a training is divided for its schedule
_SCORED_FRAMES = 32  # of a sequence, the first ones: scoring must not take longer than training


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """The arms, and how long they are trained."""

    shards: str
    """The store."""
    recipe: str = "casia-b-walks"
    """The recipe that all arms change; it must hold out subjects."""
    arms: tuple[str, ...] = ("as it is", "whole body")
    """Names of ARMS."""
    minutes: float = 6
    """Processor time of each arm's training."""
    scores: int = 3
    """How many times an arm is scored, evenly spaced."""
    seeds: tuple[int, ...] = (1,)
    """Runs of each arm."""
    out: str = ""
    """A file to which every score is added."""


def _with(**parts: dict[str, object]) -> Callable[[PretrainRun], PretrainRun]:
    """A function that changes some settings of a run, by the group in which they are."""

    def change(run: PretrainRun) -> PretrainRun:
        return replace(run, **{part: replace(getattr(run, part), **settings) for part, settings in parts.items()})

    return change


ARMS: dict[str, Callable[[PretrainRun], PretrainRun]] = {
    "as it is": _with(),
    "whole body": _with(objective={"strips": False}),
    "no coats, no bags": _with(clips={"coat": 0.0, "bag": 0.0}),
    "walks": _with(data={"positives": "walk"}),
    "clips": _with(data={"positives": "clip"}),
    "teacher from the start": _with(objective={"teacher_from": 0}),
    "16 frames": _with(clips={"frames": 16}),
    "every tubelet": _with(network={"every_tubelet": True}),
    "size xs": _with(network={"size": "xs"}),
    "p3d-tiny": _with(network={"size": "p3d-tiny"}),
    "p3d-small": _with(network={"size": "p3d-small"}),
}


class Subjects:
    """The held-out subjects of a collection: their walks, and scores of embeddings of them."""

    def __init__(self, store: Store, spec: CollectionSpec, holdout: tuple[str, ...]) -> None:
        rows = store.rows([spec.name], "train")
        rows = rows.filter(held_out(rows["sequence_id"], holdout))
        self._spec = spec
        self._names = [rows[name].to_pylist() for name in ("subject", "condition", "view")]
        self.walks = [decode_walk(row, _SCORED_FRAMES) for row in rows.to_pylist()]

    def score(self, embeddings: np.ndarray) -> dict[str, list[float]]:
        """Rank-1 in % of each probe set, without the identical view and with it alone. embeddings: [n, C, P]."""
        subjects, conditions, views = self._names
        assert self._spec.protocol is not None
        tables = single_view_gallery(embeddings, subjects, conditions, views, self._spec.protocol, "euc")
        return {
            "cross": [round(table.excluding_identical(), 1) for table in tables],
            "same": [round(table.identical_only(), 1) for table in tables],
        }


def main(arguments: Arguments) -> None:
    """Train, score and print."""
    torch.set_num_threads(1)
    codec.use_one_thread()
    store = Store.open(arguments.shards)
    precision, _ = fastest({"this machine": bf16_support(gpu=False)})
    base = with_precision(RECIPES[arguments.recipe](arguments.shards, ""), precision)
    (name,) = {subject.split("/")[0] for subject in base.data.holdout}
    spec = store.spec(name)
    subjects = Subjects(store, spec, base.data.holdout)
    masks = [frames for frames, _ in subjects.walks]
    for method in (baselines.gei, baselines.gei_strips):
        _report(arguments, method.__name__, 0, 0, 0, subjects.score(np.stack([method(one) for one in masks])))
    with tempfile.TemporaryDirectory() as folder:
        map_training_data(base, Path(folder))
        sequences = corpus.Corpus(Path(folder))
        for seed in arguments.seeds:
            for arm in arguments.arms:
                _train(arguments, arm, replace(ARMS[arm](base), seed=seed), sequences, subjects)


def _train(arguments: Arguments, arm: str, run: PretrainRun, sequences: corpus.Corpus, subjects: Subjects) -> None:
    """Train one arm for its time: the warm-up is in steps, the cool-down a share of the time."""
    loop, loader = PlainLoop(run), pairs_of(run, sequences)
    limit, spent, scored = 60 * arguments.minutes, 0.0, 0
    cooling = replace(run.schedule, steps=_TICKS, warmup=0)
    for batch in loader.steps(0, 10**6):
        if spent >= scored * limit / arguments.scores:
            results = subjects.score(_embeddings(loop.module, subjects, run))
            _report(arguments, arm, run.seed, batch.step, spent, results)
            scored += 1
        if spent >= limit:
            return
        started = time.thread_time()
        warm = min(1.0, (batch.step + 1) / max(run.schedule.warmup, 1))
        loop.step(batch, warm * cooling.lr_at(int(_TICKS * spent / limit)))
        spent += time.thread_time() - started


def _embeddings(module: PairObjective, subjects: Subjects, run: PretrainRun) -> np.ndarray:
    cpu, precision = torch.device("cpu"), resolved(run.cluster.precision)
    return embed_walks(module.teacher, subjects.walks, run.clips.frames, cpu, precision)


def _report(
    arguments: Arguments, arm: str, seed: int, step: int, seconds: float, results: dict[str, list[float]]
) -> None:
    means = {which: float(np.mean(values)) for which, values in results.items()}
    text = "; ".join(
        f"{which} {' '.join(map(str, values))} mean {means[which]:.1f}" for which, values in results.items()
    )
    print(f"{arm:<24} seed {seed} step {step:5d} {seconds / 60:5.1f} min: {text}", flush=True)
    if arguments.out:
        line = {"arm": arm, "recipe": arguments.recipe, "seed": seed, "step": step, "seconds": seconds, **results}
        with Path(arguments.out).open("a") as file:
            file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main(tyro.cli(Arguments))
