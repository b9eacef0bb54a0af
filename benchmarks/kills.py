"""What a killed rank costs: SIGKILL at random moments of a run, and the seconds until a step beyond is on disk.

    python -m benchmarks.kills --shards <store> [--kills 20]

Each step is a checkpoint, so that the next one that appears is the next optimizer step, plus its writing. After all
kills the run must have lost no step that was committed, and its losses must be those of a run that was left alone.
"""

import random
import statistics
import tempfile
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path

import mlflow
import psutil
import tyro

from datasets.storage import at
from jobs.recipes import RECIPES
from orchestration import checkpoint
from orchestration.pretrain import pretrain
from orchestration.run_folder import tracked_run
from orchestration.runs import Keep, PretrainRun, Schedule

WORKER = "ray::RayTrainWorker"


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Seconds from the kill of a rank to the next step."""

    shards: str
    """The store to train on."""
    collection: str = "CASIA-B"
    """The collection of the store to train on."""
    kills: int = 20
    """How many ranks are killed, one after the other."""
    seed: int = 0
    """Of the moments and of the ranks."""


def main(arguments: Arguments) -> None:
    """Kill, wait, and compare with an undisturbed run."""
    steps = 6 * arguments.kills
    run = RECIPES["tiny"](arguments.shards, "")
    run = replace(
        run,
        data=replace(run.data, collections=(arguments.collection,), holdout=()),
        schedule=Schedule(steps=steps, batch=16, log_every=1, guard_every=0),
        keep=Keep(every=1, last=3),
    )
    with tempfile.TemporaryDirectory() as folder:
        uri = f"sqlite:///{folder}/mlflow.db"
        disturbed = replace(run, out=f"{folder}/disturbed")
        found: list[tuple[float, int]] = []
        beside = threading.Thread(target=_kill, args=(disturbed, arguments, found), daemon=True)
        beside.start()
        pretrain(disturbed, uri)
        beside.join()
        alone = replace(run, out=f"{folder}/alone")
        pretrain(alone, uri)
        same = _losses(disturbed, uri) == _losses(alone, uri)
    seconds = sorted(one for one, _ in found)
    lost = sum(steps for _, steps in found)
    print(f"{len(seconds)} kills: {seconds[0]:.1f} to {seconds[-1]:.1f} s, median {statistics.median(seconds):.1f} s")
    print(f"committed steps lost: {lost}; losses equal to the undisturbed run's, bit for bit: {same}")


def _kill(run: PretrainRun, arguments: Arguments, found: list[tuple[float, int]]) -> None:
    """Kill one rank after another at random moments; seconds to the next step, and committed steps that went missing."""
    chance, folder = random.Random(arguments.seed), at(run.out)
    for number in range(arguments.kills):
        _wait(lambda: _newest(folder) > 5 * number)
        time.sleep(chance.random() * 1.5)
        ranks = [one for one in psutil.Process().children(recursive=True) if one.cmdline()[:1] == [WORKER]]
        ranks = ranks or [p for p in psutil.Process().children(recursive=True) if WORKER in " ".join(p.cmdline())]
        before, began = _newest(folder), time.monotonic()
        chance.choice(ranks).kill()
        time.sleep(0.05)
        at_kill = _newest(folder)  # one that was being renamed may still appear
        _wait(lambda: _newest(folder) > at_kill)
        found.append((time.monotonic() - began, max(before - _newest(folder) + 1, 0)))
        print(f"kill {number} after step {before}: {found[-1][0]:.1f} s", flush=True)


def _newest(folder: object) -> int:
    found = checkpoint.complete(folder)
    return checkpoint.step_of(found[-1]) if found else 0


def _wait(until: object) -> None:
    while not until():
        time.sleep(0.02)


def _losses(run: PretrainRun, uri: str) -> list[tuple[int, float]]:
    history = mlflow.MlflowClient(tracking_uri=uri).get_metric_history(tracked_run(at(run.out)), "loss")
    return sorted((one.step, one.value) for one in history)


if __name__ == "__main__":
    main(tyro.cli(Arguments))
