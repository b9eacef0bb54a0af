"""OMP_NUM_THREADS=1 taskset -c 0 python -m benchmarks.loader --shards <store> [--root <OpenGait pickle tree>]

Clips a second of the clip loader on one core, against packed bits in memory and against reading the pickles: the same
16 frames of the same sequences, and without augmentation the same pixels. Contenders alternate, and the median is
printed. Then the memory of a process with a map of a million sequences. Compare rates with each other, not with those
of other machines.

With `--processes 1 2`, and without taskset: pairs a second that a training loop gets from a thread of it and from so
many processes, which take turns; where it waits for them alone, and where each step also keeps Python's lock for a
while, as launching kernels does.
"""

import pickle
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pyarrow as pa
import tyro

from datasets.contours import codec, raster
from datasets.loading import clips, corpus
from datasets.loading.clips import ClipSettings
from datasets.loading.corpus import write_map
from datasets.loading.pairs import PairBatch, PairLoader
from datasets.loading.random_numbers import ClipRng
from datasets.loading.sampler import GlobalSampler
from datasets.preprocessing.encoder_input import downsample
from datasets.schema.collection import CollectionSpec, Split
from datasets.schema.rows import COLUMNS, HEIGHT, SEQUENCE_SCHEMA, WIDTH
from datasets.store.reader import Store
from datasets.store.selection import Selection, training_tables

STILL = ClipSettings(affine=0, perspective=0, flip=0, dilate=0, blur=0)


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """What to measure on."""

    shards: str
    """A store, ideally of one collection."""
    root: str = ""
    """A tree of OpenGait pickles of the same collection, to measure reading these too."""
    batch: int = 128
    """Pairs a step."""
    repeats: int = 15
    """Steps that each contender loads."""
    sequences: int = 1_000_000
    """Sequences of the synthetic map whose memory is measured."""
    processes: tuple[int, ...] = ()
    """Numbers of processes to load with, beside a thread; nothing of the rest is measured then."""
    busy: float = 0.03
    """Seconds of a step for which the training loop computes in Python."""


def main(arguments: Arguments) -> None:
    """Measure and print."""
    codec.use_one_thread()
    with tempfile.TemporaryDirectory() as folder:
        store = Store.open(arguments.shards)
        started = time.perf_counter()
        write_map(training_tables(store, Selection()), store.specs(), Path(folder))
        sequences = corpus.Corpus(Path(folder))
        size = sum(file.stat().st_size for file in Path(folder).iterdir()) / len(sequences.frame_numbers)
        print(f"{len(sequences):,} sequences mapped in {time.perf_counter() - started:.1f} s, {size:.0f} bytes a frame")
        if arguments.processes:
            _side_by_side(arguments, sequences)
            return
        _rates(arguments, sequences)
    for count in (1_000, arguments.sequences):
        with tempfile.TemporaryDirectory() as folder:
            write_map(_tiny_tables(count), {"many": _SYNCHRONISED}, Path(folder))
            with get_context("spawn").Pool(1) as pool:
                print(f"a process holds {pool.apply(_held, (folder,)) / 1e6:.1f} MB for {count:,} sequences")


def _rates(arguments: Arguments, sequences: corpus.Corpus) -> None:
    sampler = GlobalSampler(sequences.sizes(), {}, arguments.batch, 0)
    plain = PairLoader(sequences, sampler, STILL, arguments.batch, 0, positives="clip")
    augmented = PairLoader(sequences, sampler, ClipSettings(), arguments.batch, 0, positives="clip")
    walks = PairLoader(sequences, sampler, ClipSettings(), arguments.batch, 0, positives="walk")
    packed = _packed(sequences)
    contenders: dict[str, Callable[[int], PairBatch | _Clips]] = {
        "contours, plain": plain.at,
        "packed bits, plain": lambda step: _all(plain, step, lambda row, frames: _unpack(packed[row][frames])),
        "contours, augmented": augmented.at,
        "contours, augmented, positives of walks": walks.at,
    }
    if arguments.root:
        files = [_pickle_of(Path(arguments.root), sequences.sequence_id(row)) for row in range(len(sequences))]
        contenders["pickles, plain"] = lambda step: _all(plain, step, lambda row, frames: _load(files[row])[frames])
    for name, contender in contenders.items():  # warms up, and checks that pixels are the same
        found = contender(0)
        if name.endswith("plain"):
            np.testing.assert_array_equal(found.query, plain.at(0).query, err_msg=name)
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
    for step in range(1, arguments.repeats + 1):
        for name, contender in contenders.items():
            wall, cpu = time.perf_counter(), time.process_time()
            contender(step)
            seconds[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    print(f"{'clips a second, median':<42} {'wall':>8} {'CPU':>8}   (pairs: half)")
    for name, taken in seconds.items():
        wall, cpu = 2 * arguments.batch / np.median(taken, axis=0)
        print(f"{name:<42} {wall:8,.0f} {cpu:8,.0f}")


def _side_by_side(arguments: Arguments, sequences: corpus.Corpus) -> None:
    sampler = GlobalSampler(sequences.sizes(), {}, arguments.batch, 0)
    loader = PairLoader(sequences, sampler, ClipSettings(), arguments.batch, 0)
    for busy in (0.0, arguments.busy):
        numbers = (0, *arguments.processes)
        running = {number: loader.steps(0, 10**6, number) for number in numbers}
        rates: dict[int, list[float]] = {number: [] for number in numbers}
        for _ in range(arguments.repeats):
            for number, batches in running.items():
                _steps(batches, 4 + 2 * number, 0.0)  # what was loaded while it was not its turn
                began = time.perf_counter()
                _steps(batches, 10, busy)
                rates[number].append(10 * arguments.batch / (time.perf_counter() - began))
        for number, found in rates.items():
            what = f"{number} processes" if number else "a thread"
            print(f"{what}, {busy * 1000:.0f} ms of Python a step: {np.median(found):,.0f} pairs a second")


def _steps(batches: Iterator[PairBatch], count: int, busy: float) -> None:
    """Take some batches, and compute in Python for so many seconds of this process after each."""
    for _ in range(count):
        next(batches)
        until = time.thread_time() + busy
        while time.thread_time() < until:
            pass


@dataclass(frozen=True)
class _Clips:
    query: np.ndarray
    key: np.ndarray


def _all(loader: PairLoader, step: int, read: Callable[[int, np.ndarray], np.ndarray]) -> _Clips:
    """The loader's clips, read one after the other. read: a row and its frames' numbers to masks [T, 64, 44]."""
    rows = loader.sampler.at(step).rows
    counts = loader.corpus.num_frames[rows]
    found = []
    for branch in (0, 1):
        rng = ClipRng("pairs", loader.seed, step, 0, loader.batch, branch)
        chosen = clips.sample_positions(counts, loader.settings, rng) % counts[:, None]
        found.append(np.stack([read(row, frames) for row, frames in zip(rows.tolist(), chosen, strict=True)]))
    return _Clips(*found)


def _packed(sequences: corpus.Corpus) -> list[np.ndarray]:
    """All sequences at the encoder's size, eight pixels a byte: [T, 64 * 44 / 8] each."""
    found = []
    for row in range(len(sequences)):
        frames = sequences.first_frames[row] + np.arange(sequences.num_frames[row])
        rows = downsample(raster.masks(sequences.coded.choose(frames, int(sequences.grids[row]))))
        found.append(np.packbits(rows.transpose(1, 0, 2).reshape(len(frames), -1), axis=1))
    return found


def _unpack(bits: np.ndarray) -> np.ndarray:
    return np.unpackbits(bits, axis=1).reshape(-1, HEIGHT, WIDTH)


def _pickle_of(root: Path, sequence_id: str) -> Path:
    (path,) = (root / sequence_id.partition("/")[2]).glob("*.pkl")
    return path


def _load(path: Path) -> np.ndarray:
    frames = pickle.loads(path.read_bytes())
    return (frames[:, :, 10:54] > 127).view(np.uint8)


_SYNCHRONISED = CollectionSpec(
    name="many",
    title="many",
    citation="many",
    access="many",
    layouts=(),
    split=Split(train=frozenset(), test=frozenset(), others="train"),
    synchronised="{subject}/{condition}",
)


def _tiny_tables(count: int) -> Iterator[pa.Table]:
    """Sequences of one frame with one pixel, eleven cameras a walk."""
    dot = {"collection": "many", "grid": 64, "labels": {}, "chain_codes": b"", "frame_numbers": [0]}
    dot |= {"contour_counts": [1], "contour_starts": [2080], "contour_lengths": [1]}
    schema = pa.schema([SEQUENCE_SCHEMA.field(name) for name in COLUMNS])
    for start in range(0, count, 50_000):
        rows = []
        for number in range(start, min(start + 50_000, count)):
            names = f"{number // 110:06d}", f"nm-{number // 11 % 10:02d}", f"{number % 11 * 18:03d}"
            parts = dict(zip(("subject", "condition", "view"), names, strict=True))
            rows.append({**dot, **parts, "sequence_id": "/".join(("many", *names))})
        yield pa.Table.from_pylist(rows, schema=schema)


def _held(folder: str) -> int:
    """Private bytes that a corpus, its sampler and a first step add to a process; mapped files do not count."""
    before = _own_bytes()
    sequences = corpus.Corpus(Path(folder))
    loader = PairLoader(sequences, GlobalSampler(sequences.sizes(), {}, 64, 0), STILL, 64, 0, positives="walk")
    loader.at(0)
    return _own_bytes() - before


def _own_bytes() -> int:
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon"))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main(tyro.cli(Arguments))
