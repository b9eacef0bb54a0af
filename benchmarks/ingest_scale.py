"""python -m benchmarks.ingest_scale [--sequences 20000 200000] [--walks 600] [--repeats 3]

How ingest grows. Memory: the largest driver and the largest worker on trees of ever more sequences of one small frame,
where listing is most of the work. Throughput: sequences a second with one task at a time and with two, on masks of
320x240 in PNG; Ray's start is reported apart.
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

from datasets.catalog import CASIA_B
from datasets.walker_scenes import casia_b
from datasets.walker_trees import write_tree
from orchestration import session
from orchestration.ingest import IngestRun, ingest

_LINKS = 50_000  # to one file: file systems allow about as many


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """What to measure."""

    sequences: tuple[int, ...] = (20_000, 200_000)
    """Sizes of the trees of one-frame sequences; none where empty."""
    walks: int = 600
    """Sequences of 60 masks for the throughput; none where 0."""
    repeats: int = 3
    """Rounds; every round measures one task at a time, then two."""


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
    subjects = [f"{number:03d}" for number in range(1, about // 20 + 1)]
    conditions, views = ["nm-01", "nm-02", "bg-01", "cl-01"], ["000", "036", "072", "108", "144"]
    walks = [casia_b(*walk) for walk in product(subjects, conditions, views)]
    count = write_tree(folder / "tree", CASIA_B.layouts[0], walks, num_frames=60, seed=1)
    rates: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(repeats + 1):  # the first round warms the page cache and Ray's workers
        for workers in rates:
            out = folder / f"store-{workers}"
            started = time.monotonic()
            ingest(IngestRun(roots={"CASIA-B": str(folder / "tree")}, out=str(out), workers=workers))
            rates[workers].append(count / (time.monotonic() - started))
            shutil.rmtree(out)
    ratios = [two / one for one, two in zip(rates[1][1:], rates[2][1:], strict=True)]
    one, two = (float(np.median(rates[workers][1:])) for workers in rates)
    print(f"{count:,} sequences of 60 masks: {one:.0f} a second with one task at a time, {two:.0f} with two")
    print("ratios " + ", ".join(f"{ratio:.2f}" for ratio in ratios) + ", listing, manifest and report included")


if __name__ == "__main__":
    main(tyro.cli(Arguments))
