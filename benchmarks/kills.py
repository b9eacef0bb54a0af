"""Cost of a killed rank: seconds from a SIGKILL at a random moment until the next step is on disk.

    python -m benchmarks.kills --shards <store> [--kills 20]

Each step writes a checkpoint, so that the next checkpoint to appear is of the next optimizer step. Also checks that no
checkpointed step was lost, and that the losses are those of a run without kills.
"""

import random
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace

import psutil
import tyro

from datasets.storage import Place, open_place
from jobs.recipes import RECIPES
from orchestration.run import checkpoint, tracking
from orchestration.run.folder import tracked_run
from orchestration.run.settings import Keep, PretrainRun, Schedule
from orchestration.training.pretrain import pretrain

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
    """Seed of the moments and of the ranks."""


def main(arguments: Arguments) -> None:
    """Kill, wait, and compare with a run without kills."""
    steps = 16 * arguments.kills  # about a dozen pass before each kill
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
        with ThreadPoolExecutor(1) as beside:
            killing = beside.submit(_kill, disturbed, arguments)
            pretrain(disturbed, uri)
            found = killing.result()
        alone = replace(run, out=f"{folder}/alone")
        pretrain(alone, uri)
        same = _losses(disturbed, uri) == _losses(alone, uri)
    seconds = sorted(one for one, _ in found)
    lost = sum(steps for _, steps in found)
    print(f"{len(seconds)} kills: {seconds[0]:.1f} to {seconds[-1]:.1f} s, median {statistics.median(seconds):.1f} s")
    print(f"checkpointed steps lost: {lost}; losses equal to those of a run without kills, bit for bit: {same}")


def _kill(run: PretrainRun, arguments: Arguments) -> list[tuple[float, int]]:
    """Kill ranks one after another; returns the seconds to the next step of each, and the steps that were lost."""
    chance, folder = random.Random(arguments.seed), open_place(run.out)
    found: list[tuple[float, int]] = []
    for number in range(arguments.kills):
        _wait_for_step_after(folder, 5 * number)
        time.sleep(chance.random() * 1.5)
        chance.choice(_ranks()).kill()
        began = time.monotonic()
        time.sleep(0.05)  # in which a checkpoint that was almost complete may still appear
        committed = checkpoint.newest_step(folder)
        reached = _wait_for_step_after(folder, committed)
        found.append((time.monotonic() - began, max(reached - committed - 1, 0)))
        print(f"kill {number + 1} after step {committed}: {found[-1][0]:.1f} s", flush=True)
    return found


def _ranks() -> list[psutil.Process]:
    """The processes of the ranks, once there are some: Ray may be starting them anew."""
    found: list[psutil.Process] = []
    while not found:
        for one in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):  # gone already
                if WORKER in " ".join(one.cmdline()):
                    found.append(one)
        time.sleep(0.02)
    return found


def _wait_for_step_after(folder: Place, step: int) -> int:
    """The first checkpoint of a later step, once it is there."""
    while (newest := checkpoint.newest_step(folder)) <= step:
        time.sleep(0.02)
    return newest


def _losses(run: PretrainRun, uri: str) -> list[tuple[int, float]]:
    run_id = tracked_run(open_place(run.out))
    assert run_id is not None
    return tracking.history(uri, run_id, "loss")


if __name__ == "__main__":
    main(tyro.cli(Arguments))
