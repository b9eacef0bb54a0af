"""Workers of a study that stay: one trains cell after cell, each as if it was the first, and failures replace it."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file

from datasets.schema.errors import Unfinished
from datasets.storage import open_place
from orchestration.run import checkpoint
from orchestration.run.settings import PretrainRun
from orchestration.scaling.plan import Cell, StudyPlan
from orchestration.scaling.runners import StandingWorker
from orchestration.training.pretrain import pretrain

CELL = Cell(size="xxs", unique=None, seed=0, steps=8)


@pytest.fixture(scope="module")
def worker(plan: StudyPlan, local_ray) -> Iterator[StandingWorker]:
    worker = StandingWorker(plan)
    yield worker
    worker.stop()


@pytest.fixture(scope="module")
def first(plan: StudyPlan, worker: StandingWorker, uri: str) -> PretrainRun:
    """A cell, trained on the worker."""
    run = plan.run_of(CELL)
    pretrain(run, uri, parent="study", launcher=worker)
    return run


def weights(run: PretrainRun) -> dict[str, torch.Tensor]:
    steps = run.schedule.steps
    return load_file(f"{run.out}/checkpoints/step-{steps:08d}/weights.safetensors")


def process_of(title: str = "ray::CellWorker") -> psutil.Process:
    """The newest process of our Ray with a title; the one before it may not have ended yet."""
    ours = [one for one in psutil.Process().children(recursive=True) if title in " ".join(one.cmdline()[:1])]
    return max(ours, key=lambda one: one.create_time())


def same(one: PretrainRun, other: PretrainRun) -> bool:
    a, b = weights(one), weights(other)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_a_cell_that_failed_leaves_nothing_behind(
    first: PretrainRun, worker: StandingWorker, uri: str, tmp_path: Path
) -> None:
    """Neither another cell before it nor one that ended in NaN changes a cell, to the bit."""
    before = process_of().pid
    bad = replace(first, out=str(tmp_path / "bad"), seed=5, schedule=replace(first.schedule, lr=1e30))
    with pytest.raises(Unfinished, match="rank 0 produced NaN or Inf at step"):
        pretrain(bad, uri, parent="study", launcher=worker)
    again = replace(first, out=str(tmp_path / "again"))
    other = replace(first, out=str(tmp_path / "other"), seed=7)
    for run in (other, again):
        pretrain(run, uri, parent="study", launcher=worker)
    assert same(again, first) and not same(other, first)
    assert process_of().pid != before


def test_a_cell_whose_worker_dies_resumes_on_another_one(
    first: PretrainRun, worker: StandingWorker, uri: str, tmp_path: Path, caplog
) -> None:
    """Killed after the checkpoint of step 4 (the beginning of the cool-down): the cell is the same, to the bit."""
    run = replace(first, out=str(tmp_path / "run"), keep=replace(first.keep, at=(4,)))
    stopped = process_of()

    def kill() -> None:
        while checkpoint.newest_step(open_place(run.out)) < 4:
            time.sleep(0.01)
        os.kill(stopped.pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    pretrain(run, uri, parent="study", launcher=worker)
    killer.join()
    assert any("after step 4" in message for message in caplog.messages)
    assert same(run, first)


@pytest.mark.slow
def test_the_memory_of_a_worker_does_not_grow_with_the_cells(
    first: PretrainRun, worker: StandingWorker, uri: str, tmp_path: Path
) -> None:
    used = []
    for number in range(12):
        run = replace(first, out=str(tmp_path / f"run-{number}"))
        pretrain(run, uri, parent="study", launcher=worker)
        used.append(process_of().memory_info().rss)
    assert max(used[-3:]) < 1.03 * max(used[1:4]), [f"{one / 2**20:.0f} MiB" for one in used]
