"""python -m benchmarks.ingest_scale [--sequences 20000 200000] [--walks 4000] [--objects 9] [--repeats 3]

How ingest scales. Memory: peak memory of the driver and of the largest worker on trees of more and more sequences of
one small frame, where listing is most of the work; then those of a rank that maps the store and loads its first batch.
Throughput: sequences per second with one worker and with two, on PNG masks of 320x240. The
fixed time of a run (start of Ray Data, opening the store, manifest and report) is measured on a few walks, reported
separately, as Ray's start is, and subtracted. Object storage: pictures per second of one worker
from a local S3 server that delays each request, one request at a time and as many as ingest makes; they take turns.
"""

import os
import pickle
import resource
import shutil
import tempfile
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import product
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from wsgiref.types import StartResponse, WSGIEnvironment

import boto3
import numpy as np
import psutil
import tyro
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

from datasets import storage
from datasets.catalog.registry import CASIA_B
from datasets.ingest import layouts
from datasets.ingest.sequence_to_row import ingest_sequence
from datasets.loading.clips import ClipSettings
from datasets.loading.corpus import Corpus, write_map
from datasets.loading.pairs import PairLoader
from datasets.loading.sampler import GlobalSampler
from datasets.schema.rows import HEIGHT, WIDTH
from datasets.storage import open_place
from datasets.store.reader import Store
from datasets.store.selection import Selection, training_tables
from datasets.synthetic.scenes import casia_b
from datasets.synthetic.trees import write_tree
from orchestration.cluster import session
from orchestration.ingest.ingest import IngestRun, ingest

_MAX_LINKS = 50_000  # hard links to one file: ext4 allows 65,000
_FEW = 80  # walks that take little longer than the fixed time


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """What to measure."""

    sequences: tuple[int, ...] = (20_000, 200_000)
    """Sizes of the trees of one-frame sequences; none where empty."""
    walks: int = 4000
    """Sequences of 60 masks for the throughput; none where 0."""
    objects: int = 9
    """Walks of 60 masks in object storage; none where 0."""
    latency: float = 0.02
    """Seconds that each request to it is delayed."""
    repeats: int = 3
    """Rounds; every round measures one worker, then two."""


def main(arguments: Arguments) -> None:
    """Measure and print."""
    if arguments.objects:
        _object_storage(arguments.objects, arguments.latency, arguments.repeats)
    if not arguments.sequences and not arguments.walks:
        return
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
    with _MemoryMonitor() as peak:
        ingest(IngestRun(roots={"GaitLU-1M": str(folder / "tree")}, out=str(folder / "store")))
    seconds = time.monotonic() - started
    driver, worker = peak.driver / 2**20, peak.worker / 2**20
    print(f"{count:,} sequences: {seconds:.0f} s; peak of the driver {driver:.0f} MiB, of a worker {worker:.0f} MiB")
    with ProcessPoolExecutor(1, get_context("spawn")) as rank:  # whose peak is its own
        print(rank.submit(_load, str(folder / "store")).result(), flush=True)
    shutil.rmtree(folder)


def _load(shards: str) -> str:
    """What a rank does before its first step, with the seconds of each part and the peak memory of this process."""
    store, times = Store.open(shards), [time.monotonic()]
    with tempfile.TemporaryDirectory() as folder:
        write_map(training_tables(store, Selection()), store.specs(), Path(folder))
        times.append(time.monotonic())
        sequences = Corpus(Path(folder))
        order = GlobalSampler(sequences.sizes(), {}, batch=64, seed=0)
        times.append(time.monotonic())
        next(PairLoader(sequences, order, ClipSettings(), 64, seed=0).steps(0, 1))
        times.append(time.monotonic())
    of_map, of_order, of_batch = np.diff(times)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    return f"  map {of_map:.1f} s, order {of_order:.1f} s, batch {of_batch:.2f} s; peak of the rank {peak:.0f} MiB"


def _write_tiny(root: Path, count: int) -> None:
    """Sequences of one frame in the layout of GaitLU-1M; their files are links to a few."""
    frame = np.zeros((1, HEIGHT, WIDTH), np.uint8)
    frame[:, 8:56, 16:28] = 255
    source = root
    for number in range(count):
        parts = [f"{digits:03d}" for digits in (number // 10_000, number // 100 % 100, number % 100)]
        path = root.joinpath(*parts, "_".join(parts) + ".pkl")
        path.parent.mkdir(parents=True)
        if number % _MAX_LINKS:
            path.hardlink_to(source)
        else:
            path.write_bytes(pickle.dumps(frame))
            source = path


class _MemoryMonitor:
    """Peak resident memory, in bytes, of this process and of its largest Ray worker while the block runs."""

    def __enter__(self) -> "_MemoryMonitor":
        self.driver = self.worker = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._poll)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _poll(self) -> None:
        driver = psutil.Process()
        while not self._ended.wait(0.2):
            self.driver = max(self.driver, driver.memory_info().rss)
            for child in driver.children(recursive=True):
                try:
                    if child.cmdline()[0].startswith("ray::"):
                        memory = child.memory_info()
                        self.worker = max(self.worker, memory.rss - memory.shared)  # Ray's object store is shared
                except (psutil.Error, IndexError):
                    continue


def _throughput(folder: Path, walks: int, repeats: int) -> None:
    few, many = (_write_walks(folder / name, size) for name, size in (("few", _FEW), ("many", walks)))
    fixed, rates = (np.empty((repeats, 2)) for _ in range(2))
    for workers in (1, 2):  # warms the page cache and Ray's workers
        _seconds(folder / "few", workers)
    for repeat, workers in product(range(repeats), (1, 2)):
        of_few = _seconds(folder / "few", workers)
        per_walk = (_seconds(folder / "many", workers) - of_few) / (many - few)
        rates[repeat, workers - 1] = 1 / per_walk
        fixed[repeat, workers - 1] = of_few - few * per_walk
    print(f"fixed time: {np.median(fixed[:, 0]):.1f} s with one worker, {np.median(fixed[:, 1]):.1f} s with two")
    one, two = np.median(rates, axis=0)
    print(f"{many:,} sequences of 60 masks: {one:.0f} per second with one worker, {two:.0f} with two")
    print("ratios " + ", ".join(f"{ratio:.2f}" for ratio in rates[:, 1] / rates[:, 0]))


def _write_walks(folder: Path, count: int) -> int:
    """Writes about `count` walks in the released layout of CASIA-B; returns their number."""
    subjects = [f"{number:03d}" for number in range(1, count // 20 + 1)]
    conditions, views = ["nm-01", "nm-02", "bg-01", "cl-01"], ["000", "036", "072", "108", "144"]
    walks = [casia_b(*walk) for walk in product(subjects, conditions, views)]
    return write_tree(folder, CASIA_B.layouts[0], walks, num_frames=60, seed=1)


def _seconds(tree: Path, workers: int) -> float:
    """Seconds of one whole ingest of a tree into a new store."""
    out = tree.with_name(f"{tree.name}-store")
    started = time.monotonic()
    ingest(IngestRun(roots={"CASIA-B": str(tree)}, out=str(out), workers=workers))
    seconds = time.monotonic() - started
    shutil.rmtree(out)
    return seconds


def _object_storage(walks: int, latency: float, repeats: int) -> None:
    os.environ |= {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any", "AWS_EC2_METADATA_DISABLED": "true"}
    mine, its = get_context("spawn").Pipe()
    server = get_context("spawn").Process(target=_serve, args=(walks, latency, its), daemon=True)
    server.start()
    root = layouts.find_root(open_place(mine.recv()), CASIA_B)
    refs = list(layouts.list_sequences(root))
    rates: dict[int, list[float]] = {1: [], storage.IN_FLIGHT: []}
    for repeat, in_flight in product(range(repeats), rates):
        storage.IN_FLIGHT = in_flight
        share = refs[repeat * len(refs) // repeats : (repeat + 1) * len(refs) // repeats]
        started = time.monotonic()
        rows = [ingest_sequence(root, ref).row for ref in share]
        pictures = sum(len(row["frame_numbers"]) + row["dropped_frames"] for row in rows if row is not None)
        rates[in_flight].append(pictures / (time.monotonic() - started))
    server.terminate()
    for in_flight, found in rates.items():
        print(
            f"object storage, {latency * 1000:.0f} ms: {np.median(found):.0f} pictures a second, {in_flight} in flight"
        )


def _serve(walks: int, latency: float, pipe: Connection) -> None:
    """Runs in a process of its own: an S3 server with walks, which answers late once they are there."""
    application = DomainDispatcherApplication(create_backend_app)
    delay = 0.0

    def late(environment: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        time.sleep(delay)
        return application(environment, start)

    server = make_server("127.0.0.1", 0, late, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"s3://walks?scheme=http&endpoint_override=127.0.0.1:{server.port}"
    boto3.client("s3", endpoint_url=f"http://127.0.0.1:{server.port}", region_name="us-east-1").create_bucket(
        Bucket="walks"
    )
    with tempfile.TemporaryDirectory() as folder:
        people = [casia_b(f"{number + 1:03d}", "nm-01", "090") for number in range(walks)]
        write_tree(Path(folder), CASIA_B.layouts[0], people, num_frames=60, seed=1)
        for path in Path(folder).rglob("*.png"):
            (open_place(address) / path.relative_to(folder).as_posix()).write(path.read_bytes())
    delay = latency
    pipe.send(address)
    threading.Event().wait()


if __name__ == "__main__":
    main(tyro.cli(Arguments))
