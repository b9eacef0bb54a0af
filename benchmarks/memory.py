"""python -m benchmarks.memory --shards <store> [--what pretrain finetune embed study] [--steps 2000] [--batch 8]

Memory of processes that run long, on the walks of CASIA-B: a rank of pretraining and one of fine-tuning over their
steps, an embedder over the parts that it writes, and the workers of a study over their cells. Each prints a line of
JSON: memory in MiB near the beginning and at the end, and their ratio.
"""

import json
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import psutil
import tyro

from datasets.storage import open_place
from datasets.store.reader import Store
from jobs.plans import miniature
from jobs.recipes import FINETUNING, casia_b_walks
from orchestration.embedding import embed
from orchestration.embedding.embed import Embedder, EmbedRun
from orchestration.run import checkpoint, tracking
from orchestration.run.folder import tracked_run
from orchestration.run.settings import Cluster, Keep, PretrainRun
from orchestration.scaling.study import run_study
from orchestration.training.finetune import finetune
from orchestration.training.pretrain import pretrain

MEMORY = "system/worker_memory_mib"


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """What is measured, and for how long."""

    shards: str
    """A store with CASIA-B."""
    what: tuple[Literal["pretrain", "finetune", "embed", "study"], ...] = ("pretrain", "finetune", "embed", "study")
    """The processes to measure."""
    steps: int = 2000
    """Steps of training."""
    batch: int = 8
    """Pairs, or clips, of a step."""
    first: int = 100
    """The step, part or cell from which memory should not grow any more."""
    parts: int = 400
    """Parts of eight walks that the embedder writes."""
    cells: int = 12
    """Lengths of training in the study, each a cell of one size."""


def main(arguments: Arguments) -> None:
    """Measure one after the other."""
    with tempfile.TemporaryDirectory() as made:
        uri = f"sqlite:///{made}/mlflow.db"
        run = pretraining(arguments, f"{made}/run")
        if "pretrain" in arguments.what:
            pretrain(run, uri)
            show("pretrain", run_memory(uri, run.out), arguments.first)
        else:
            pretrain(replace(run, schedule=replace(run.schedule, steps=2, warmup=1)), uri)
        if "finetune" in arguments.what:
            finetune_rank(arguments, run.out, f"{made}/tuned", uri)
        if "embed" in arguments.what:
            show("embed", embedder(arguments, run.out, f"{made}/table"), arguments.first)
        if "study" in arguments.what:
            plan = replace(miniature(arguments.shards, f"{made}/study"), sizes=("xxs",), steps=lengths(arguments))
            run_study(plan, uri)
            folders = sorted(Path(f"{made}/study/cells").iterdir(), key=length, reverse=True)  # the longest run first
            show("study", [(n, run_memory(uri, str(cell))[-1][1]) for n, cell in enumerate(folders)], 0)


def lengths(arguments: Arguments) -> tuple[int, ...]:
    """The lengths of training of the cells."""
    return tuple(48 + 12 * number for number in range(arguments.cells))


def length(cell: Path) -> int:
    """The steps of a cell, by its folder."""
    return int(cell.name.rpartition("-b")[2])


def pretraining(arguments: Arguments, out: str) -> PretrainRun:
    """A run of the recipe for walks, with one worker."""
    run = casia_b_walks(arguments.shards, out)
    return replace(
        run,
        data=replace(run.data, collections=("CASIA-B",), holdout=()),
        schedule=replace(run.schedule, batch=arguments.batch, steps=arguments.steps, warmup=10, log_every=10),
        keep=Keep(every=arguments.steps),
        cluster=Cluster(workers=1, device="cpu"),
    )


def finetune_rank(arguments: Arguments, run: str, out: str, uri: str) -> None:
    """Fine-tune for identification, with one worker."""
    tuned = FINETUNING["identification"](run, arguments.shards, out)
    schedule = replace(tuned.schedule, batch=arguments.batch, steps=arguments.steps, warmup=10, log_every=10)
    tuned = replace(
        tuned, schedule=schedule, keep=Keep(every=arguments.steps), cluster=Cluster(workers=1, device="cpu")
    )
    finetune(tuned, uri)
    show("finetune", run_memory(uri, out), arguments.first)


def embedder(arguments: Arguments, run: str, out: str) -> list[tuple[int, float]]:
    """Memory of this process, which writes the parts of a table as an actor does, again and again."""
    store = Store.open(arguments.shards)
    settings = EmbedRun(
        run=run, shards=arguments.shards, out=out, split="train", methods=("pretrained",), precision="fp32"
    )
    parts = [replace(part, stop=min(part.stop, part.start + 8)) for part, _ in embed._parts(store, settings, None)]
    actor = Embedder(settings, str(checkpoint.newest_intact(open_place(run))), None, gpu=False)
    found = []
    for number in range(arguments.parts):
        actor._make(parts[number % len(parts)])
        found.append((number + 1, psutil.Process().memory_info().rss / 2**20))
    return found


def run_memory(uri: str, run: str) -> list[tuple[int, float]]:
    """The memory of a rank by step, as the run has logged it."""
    run_id = tracked_run(open_place(run))
    assert run_id is not None
    return tracking.history(uri, run_id, MEMORY)


def show(name: str, memory: list[tuple[int, float]], first: int) -> None:
    """Print the memory at the first point from `first` on, at its largest after that, and at the end."""
    after = [one for one in memory if one[0] >= first]
    (step, begin), (end, last) = after[0], after[-1]
    most = max(used for _, used in after)
    line = {"process": name, "from": step, "mib": round(begin), "to": end, "mib_then": round(last), "most": round(most)}
    print(json.dumps(line | {"ratio": round(last / begin, 3)}), flush=True)


if __name__ == "__main__":
    main(tyro.cli(Arguments))
