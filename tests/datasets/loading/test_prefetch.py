"""Batches from processes: the same data, what they raise, and when they end."""

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import fields
from itertools import islice
from pathlib import Path

import numpy as np
import psutil
import pytest

from datasets.catalog.registry import CATALOG
from datasets.loading.clips import ClipSettings
from datasets.loading.corpus import Corpus, write_map
from datasets.loading.labelled import LabelledBatch, LabelledLoader, RoundRobinSampler
from datasets.loading.pairs import PairBatch, PairLoader
from datasets.loading.prefetch import LoaderLost
from datasets.loading.sampler import GlobalSampler
from datasets.store.reader import Store
from datasets.store.selection import Selection, training_tables

ROOT = Path(__file__).resolve().parents[3]
WORKER = "datasets.loading.worker"


@pytest.fixture(scope="module")
def sequences(store: Path, tmp_path_factory) -> Corpus:
    """A corpus whose files are removed already, as those of a rank are."""
    folder = tmp_path_factory.mktemp("map")
    write_map(training_tables(Store.open(store), Selection()), CATALOG, folder)
    corpus = Corpus(folder)
    shutil.rmtree(folder)
    return corpus


def pairs(sequences: Corpus, rank: int = 0, ranks: int = 1) -> PairLoader:
    sampler = GlobalSampler(sequences.sizes(), {}, 8, 3, "batch")
    return PairLoader(sequences, sampler, ClipSettings(), 8, 3, rank, ranks, "walk")


def labelled(sequences: Corpus, labels: np.ndarray) -> LabelledLoader:
    sampler = RoundRobinSampler([np.arange(len(sequences))], 8, 3)
    return LabelledLoader(sequences, labels, sampler, ClipSettings(), 8, 3)


def assert_equal(one: PairBatch | LabelledBatch, other: PairBatch | LabelledBatch) -> None:
    for field in fields(one):
        mine, its = getattr(one, field.name), getattr(other, field.name)
        assert type(mine) is type(its)
        np.testing.assert_array_equal(mine, its, err_msg=field.name)


def loader_processes(parent: int | None = None) -> list[psutil.Process]:
    return [one for one in psutil.Process(parent).children(recursive=True) if is_loader(one)]


def is_loader(process: psutil.Process) -> bool:
    try:
        return WORKER in process.cmdline()
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize("count", [0, 1, 2, 3])
@pytest.mark.parametrize("start", [0, 7])
def test_any_number_of_processes_loads_the_same_pairs_in_the_same_order(
    sequences: Corpus, count: int, start: int
) -> None:
    loader, steps = pairs(sequences, rank=1, ranks=2), list(range(start, 12))
    for step, batch in zip(steps, loader.steps(start, 12, count), strict=True):
        assert_equal(batch, loader.at(step))
        assert count == 0 or len(loader_processes()) == count
    assert loader_processes() == []


def test_labelled_clips_come_from_processes_too_and_fewer_steps_than_processes_are_loaded(sequences: Corpus) -> None:
    loader = labelled(sequences, np.arange(2 * len(sequences)).reshape(-1, 2))
    for batch in loader.steps(3, 5, processes=3):
        assert_equal(batch, loader.at(batch.step))
        batch.clips[:] = 0  # a rank may change what it got
    assert list(loader.steps(5, 5, processes=3)) == []


def test_a_step_that_cannot_be_loaded_raises_its_error_at_its_turn(sequences: Corpus) -> None:
    last = len(sequences) - 1
    loader = labelled(sequences, np.zeros((last, 1), dtype=np.int64))  # without a label for the last row
    bad = next(step for step in range(100) if last in loader.sampler.at(step))
    steps = loader.steps(0, 100, processes=2)
    for step in range(bad):
        assert_equal(next(steps), loader.at(step))
    with pytest.raises(IndexError, match="out of bounds") as raised:
        next(steps)
    (note,) = raised.value.__notes__
    assert f"at step {bad}:" in note and "labelled.py" in note
    assert loader_processes() == []


def test_the_death_of_a_process_is_raised_as_a_loss(sequences: Corpus) -> None:
    steps = pairs(sequences).steps(0, 100, processes=2)
    next(steps)
    for one in loader_processes():
        one.send_signal(signal.SIGKILL)
    with pytest.raises(LoaderLost, match=r"lost connection .* killed by signal 9"):
        list(islice(steps, 6))
    assert loader_processes() == []


def test_processes_end_where_the_rest_is_not_wanted(sequences: Corpus) -> None:
    steps = pairs(sequences).steps(0, 100, processes=2)
    next(steps)
    assert len(loader_processes()) == 2
    steps.close()
    assert loader_processes() == []


RANK = """
import sys, time
from pathlib import Path
from datasets.catalog.registry import CATALOG
from datasets.loading.clips import ClipSettings
from datasets.loading.corpus import Corpus, write_map
from datasets.loading.pairs import PairLoader
from datasets.loading.sampler import GlobalSampler
from datasets.store.reader import Store
from datasets.store.selection import Selection, training_tables
write_map(training_tables(Store.open(sys.argv[1]), Selection()), CATALOG, Path(sys.argv[2]))
corpus = Corpus(Path(sys.argv[2]))
loader = PairLoader(corpus, GlobalSampler(corpus.sizes(), {}, 8, 0), ClipSettings(), 8, 0)
for _ in loader.steps(0, 10**6, processes=2):
    print("loaded", flush=True)
    time.sleep(600)
"""


def test_processes_end_with_a_rank_that_is_killed(store: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", RANK, str(store), str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as rank:
        assert rank.stdout is not None and rank.stdout.readline() == b"loaded\n"
        started = loader_processes(rank.pid)
        assert len(started) == 2
        os.kill(rank.pid, signal.SIGKILL)
    deadline = time.monotonic() + 30
    while any(one.is_running() for one in started) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(one.is_running() for one in started)
