"""python -m benchmarks.galleries [--metric cos] [--views 14 --subjects 5153] [--sample 4]

The view-pair protocol on a gallery of OU-MVLP's size, against a baseline: the whole table of embeddings in memory, and
for each pair of views the distances part by part, with float32 matrix products, and a full sort. Both run in processes
of their own and take turns; the baseline, which needs a quarter of an hour, on a sample of the pairs, and its time is
multiplied. Printed: CPU time (all threads) and wall time, the least of the repeats; the largest resident memory of each
process; and whether both find the same Rank-1 in every pair that both computed.

Embeddings are synthetic: subjects, views and walks are points of a low dimension, mapped into the channels of each part
at unit length, and a little noise in every channel. They lie in a file in the order of a store: subject, walk, view.
"""

import os
import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import tyro
from numpy.typing import NDArray

from datasets.schema.protocol import ProbeSet, Protocol
from evaluation.distances.metric import Metric, distances
from model.parts import PARTS

PROBES, GALLERY = "00", "01"  # conditions
NM = ProbeSet(name="NM", probe=frozenset({PROBES}), gallery=frozenset({GALLERY}))

Job = TypeVar("Job")
Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """The size of the gallery, and the repeats."""

    views: int = 14
    """Views; each has two walks of each subject, one a probe and one of the gallery."""
    subjects: int = 5153
    """Subjects."""
    channels: int = 256
    """Of an embedding, for each part."""
    parts: int = PARTS
    """Of an embedding."""
    metric: Metric = "euc"
    """Distance between embeddings."""
    sample: int = 4
    """Pairs of views that the baseline computes in each round; 0 for all of them."""
    repeats: int = 2
    """Rounds: a sample by the baseline, then the whole protocol by ours."""
    threads: int = 2
    """Of each process."""
    spread: float = 1.0
    """Of walks and views around their subject, in the low dimension: the larger, the harder the recognition."""
    noise: float = 0.2
    """Length of the noise in all channels of a part, of which 1 is the length without it."""
    folder: str = ""
    """Where the embeddings are written (4.6 GB at full size); a temporary folder if none is given."""


class Stored:
    """Rows of a file of float32 [n, C, P], read on access: nothing of it stays in memory."""

    def __init__(self, path: Path, shape: tuple[int, ...]) -> None:
        self.shape = shape
        self._file = os.open(path, os.O_RDONLY)

    def __getitem__(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        found = np.empty((len(rows), *self.shape[1:]), dtype=np.float32)
        bytes_a_row = found[:1].nbytes
        for index, row in enumerate(rows.tolist()):
            assert os.preadv(self._file, [found[index]], row * bytes_a_row) == bytes_a_row
        return found


def main(arguments: Arguments) -> None:
    """Make embeddings, let both take turns, and print."""
    os.environ |= {name: str(arguments.threads) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    with tempfile.TemporaryDirectory(dir=arguments.folder or None) as folder:
        path = Path(folder) / "embeddings.f32"
        with get_context("spawn").Pool(1) as pool:
            pool.apply(_write, (arguments, path))
        baseline: _Worker[tuple[int, int], int] = _Worker(_baseline, arguments, path)
        ours: _Worker[None, NDArray[np.int64]] = _Worker(_ours, arguments, path)
        pairs = [(row, column) for row in range(arguments.views) for column in range(arguments.views)]
        drawn = np.random.default_rng(0).permutation(len(pairs))[: arguments.sample or None]
        slow, fast, hits = [], [], {}
        for _ in range(arguments.repeats):
            for number in drawn:
                hits[pairs[number]], taken = baseline.run(pairs[number])
                slow.append(taken)
            every, taken = ours.run(None)
            fast.append(taken)
        _report(arguments, len(pairs) * np.min(slow, axis=0), np.min(fast, axis=0), baseline.end(), ours.end())
        assert all(every[pair] == found for pair, found in hits.items()), "Rank-1 differs"
        accuracy = 100 * np.mean(every) / arguments.subjects
        print(f"equal hits in all {len(hits)} pairs of views that both computed; Rank-1 of all pairs {accuracy:.2f}%")


def _report(arguments: Arguments, slow: NDArray, fast: NDArray, slow_memory: float, fast_memory: float) -> None:
    print(f"{arguments.views} views, {arguments.subjects:,} subjects, {arguments.metric}, {arguments.threads} threads")
    print(f"{'':<34}{'processor':>12}{'wall':>12}{'memory':>12}")
    for name, (cpu, wall), memory in (("baseline", slow, slow_memory), ("exact ranks", fast, fast_memory)):
        print(f"{name:<34}{cpu:>10.0f} s{wall:>10.0f} s{memory:>9.0f} MB")
    cpu, wall = slow / fast
    print(f"{'ratio':<34}{cpu:>12.1f}{wall:>12.1f}{slow_memory / fast_memory:>12.1f}")


class _Worker(Generic[Job, Result]):
    """A process that runs jobs one by one, and measures the time of each."""

    def __init__(self, work: Callable[[Arguments, Path, Connection], None], arguments: Arguments, path: Path) -> None:
        self._connection, other = get_context("spawn").Pipe()
        self._process = get_context("spawn").Process(target=work, args=(arguments, path, other))
        self._process.start()

    def run(self, job: Job) -> tuple[Result, tuple[float, float]]:
        """The result of a job, and its seconds of CPU and of wall time."""
        self._connection.send(("run", job))
        return self._connection.recv()

    def end(self) -> float:
        """End the process; its largest resident memory in MB."""
        self._connection.send(("end", None))
        memory = self._connection.recv()
        self._process.join()
        return memory


def _serve(connection: Connection, work: Callable[[Job], Result]) -> None:
    while True:
        what, job = connection.recv()
        if what == "end":
            connection.send(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
            return
        cpu, wall = time.process_time(), time.perf_counter()
        result = work(job)
        connection.send((result, (time.process_time() - cpu, time.perf_counter() - wall)))


def _baseline(arguments: Arguments, path: Path, connection: Connection) -> None:
    """Everything in memory; distances of a pair of views part by part, and a full sort."""
    shape = (arguments.subjects, 2, arguments.views, arguments.channels, arguments.parts)
    embeddings = np.fromfile(path, dtype=np.float32).reshape(shape)
    subjects = np.arange(arguments.subjects)

    def pair(views: tuple[int, int]) -> int:
        ranked = distances(embeddings[:, 0, views[0]], embeddings[:, 1, views[1]], arguments.metric).argsort(axis=1)
        return int((ranked[:, 0] == subjects).sum())

    _serve(connection, pair)


def _ours(arguments: Arguments, path: Path, connection: Connection) -> None:
    """The protocol as the evaluation job runs it, from the file."""
    from evaluation.retrieval.sequences import Sequences
    from evaluation.retrieval.view_pairs import view_pairs

    shape = (arguments.subjects, 2, arguments.views)
    subject, walk, view = np.indices(shape).reshape(3, -1)
    subjects, views = np.char.mod("%05d", subject).tolist(), np.char.mod("%03d", view).tolist()
    conditions = np.where(walk, GALLERY, PROBES).tolist()
    stored = Stored(path, (len(subject), arguments.channels, arguments.parts))

    def protocol(_: None) -> NDArray[np.int64]:
        sequences = Sequences.of(stored, subjects, conditions, views)
        outcomes = view_pairs(sequences, Protocol(probe_sets=(NM,)), NM, arguments.metric, max_rank=1).outcomes
        return np.rint(outcomes.cells(1) * arguments.subjects / 100).astype(np.int64)

    _serve(connection, protocol)


def _write(arguments: Arguments, path: Path) -> None:
    """The file of embeddings, float32 [subjects, 2, views, C, P]."""
    low = 32  # dimensions in which subjects, views and walks differ
    rng = np.random.default_rng(0)
    maps = rng.normal(size=(low, arguments.channels, arguments.parts)).astype(np.float32)
    views = arguments.spread * rng.normal(size=(1, 1, arguments.views, low)).astype(np.float32)
    with path.open("wb") as file:
        for start in range(0, arguments.subjects, 64):
            count = min(64, arguments.subjects - start)
            who = rng.normal(size=(count, 1, 1, low))
            # A subject's appearance depends on the view, equally in both walks, and on the walk.
            seen = arguments.spread * rng.normal(size=(count, 1, arguments.views, low))
            walked = arguments.spread / 2 * rng.normal(size=(count, 2, arguments.views, low))
            points = (who + views + seen + walked).astype(np.float32)
            x = np.tanh(np.tensordot(points, maps, axes=1) / np.sqrt(low))
            x /= np.linalg.norm(x, axis=3, keepdims=True)
            x += arguments.noise * rng.standard_normal(x.shape, dtype=np.float32) / np.sqrt(arguments.channels)
            x /= np.linalg.norm(x, axis=3, keepdims=True)
            x.astype(np.float32).tofile(file)


if __name__ == "__main__":
    main(tyro.cli(Arguments))
