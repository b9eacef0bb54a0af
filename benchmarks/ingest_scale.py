"""python -m benchmarks.ingest_scale [--sequences 20000 200000] [--walks 4000] [--repeats 3]

How ingest grows. Memory: the largest driver and the largest worker on trees of ever more sequences of one small frame,
where listing is most of the work. Throughput: sequences a second with one worker and with two, on masks of 320x240 in
PNG. What a run takes however small it is (Ray Data's start, the first look at the store, manifest and report) is
measured on a few walks, reported apart as Ray's own start is, and taken off.
"""

import pickle
import shutil
import tempfile
import threading
import time
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import psutil
import tyro

from datasets.catalog.registry import CASIA_B
from datasets.synthetic.scenes import casia_b
from datasets.synthetic.trees import write_tree
from orchestration.cluster import session
from orchestration.ingest.ingest import IngestRun, ingest

_LINKS = 50_000  # to one file: file systems allow about as many
_FEW = 80  # walks that take little more time than none


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """What to measure."""

    sequences: tuple[int, ...] = (20_000, 200_000)
    """Sizes of the trees of one-frame sequences; none where empty."""
    walks: int = 4000
    """Sequences of 60 masks for the throughput; none where 0."""
    repeats: int = 3
    """Rounds; every round measures one worker, then two."""


def main(arguments: Arguments) -> None:
    """Measure and print."""
    started = time.monotonic()
    session.start(num_cpus=2)
    print(f"Ray: {time.monotonic() - started:.1f} s to start")
    with tempfile.TemporaryDirectory() as folder:
        for count in arguments.sequences:
            _memory(Path(folder) / str(count), count)
        if arguments.walks:
            _throughput(Path(folder) / "walks", arguments.walks, arguments.repeats)


def _memory(folder: Path, count: int) -> None:
    _write_tiny(folder / "tree", count)
    started = time.monotonic()
    with _Watch() as watch:
        ingest(IngestRun(roots={"GaitLU-1M": str(folder / "tree")}, out=str(folder / "store")))
    seconds = time.monotonic() - started
    driver, worker = watch.driver / 2**20, watch.worker / 2**20
    print(f"{count:,} sequences: {seconds:.0f} s; largest driver {driver:.0f} MiB, largest worker {worker:.0f} MiB")
    shutil.rmtree(folder)


def _write_tiny(root: Path, count: int) -> None:
    """Sequences of one frame, as GaitLU-1M lies on disk; their files are links to a few."""
    frame = np.zeros((1, 64, 44), np.uint8)
    frame[:, 8:56, 16:28] = 255
    source = root
    for number in range(count):
        parts = [f"{digits:03d}" for digits in (number // 10_000, number // 100 % 100, number % 100)]
        path = root.joinpath(*parts, "_".join(parts) + ".pkl")
        path.parent.mkdir(parents=True)
        if number % _LINKS:
            path.hardlink_to(source)
        else:
            path.write_bytes(pickle.dumps(frame))
            source = path


class _Watch:
    """Resident memory of this process and of its largest worker while the block runs, in bytes."""

    def __enter__(self) -> "_Watch":
        self.driver = self.worker = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        me = psutil.Process()
        while not self._ended.wait(0.2):
            self.driver = max(self.driver, me.memory_info().rss)
            for child in me.children(recursive=True):
                try:
                    if child.cmdline()[0].startswith("ray::"):
                        memory = child.memory_info()
                        self.worker = max(self.worker, memory.rss - memory.shared)  # Ray's object store is shared
                except (psutil.Error, IndexError):
                    continue


def _throughput(folder: Path, about: int, repeats: int) -> None:
    few, many = (_write_walks(folder / name, size) for name, size in (("few", _FEW), ("many", about)))
    fixed, rates = (np.empty((repeats, 2)) for _ in range(2))
    for workers in (1, 2):  # warms the page cache and Ray's workers
        _seconds(folder / "few", workers)
    for repeat, workers in product(range(repeats), (1, 2)):
        little = _seconds(folder / "few", workers)
        each = (_seconds(folder / "many", workers) - little) / (many - few)
        rates[repeat, workers - 1] = 1 / each
        fixed[repeat, workers - 1] = little - few * each
    print(f"fixed: {np.median(fixed[:, 0]):.1f} s a run with one worker, {np.median(fixed[:, 1]):.1f} s with two")
    one, two = np.median(rates, axis=0)
    print(f"{many:,} sequences of 60 masks: {one:.0f} a second with one worker, {two:.0f} with two, beside that")
    print("ratios " + ", ".join(f"{ratio:.2f}" for ratio in rates[:, 1] / rates[:, 0]))


def _write_walks(folder: Path, about: int) -> int:
    """A tree of CASIA-B's masks as they are released; returns how many walks it has."""
    subjects = [f"{number:03d}" for number in range(1, about // 20 + 1)]
    conditions, views = ["nm-01", "nm-02", "bg-01", "cl-01"], ["000", "036", "072", "108", "144"]
    walks = [casia_b(*walk) for walk in product(subjects, conditions, views)]
    return write_tree(folder, CASIA_B.layouts[0], walks, num_frames=60, seed=1)


def _seconds(tree: Path, workers: int) -> float:
    """One whole ingest of a tree into a store of its own."""
    out = tree.with_name(f"{tree.name}-store")
    started = time.monotonic()
    ingest(IngestRun(roots={"CASIA-B": str(tree)}, out=str(out), workers=workers))
    seconds = time.monotonic() - started
    shutil.rmtree(out)
    return seconds


if __name__ == "__main__":
    main(tyro.cli(Arguments))
