"""python -m benchmarks.embedding --shards <store> [--sizes xs xl] [--sequences 64]

How fast sequences become embeddings, and which share of the time is not the encoder's.
One process on one core does what an actor of `jobs.embed` does: read rows of a store, draw their contours, embed all
frames, round to bytes, write Parquet. The weights are random; no number of theirs is looked at.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
import tyro

from datasets.contours import codec
from datasets.storage import open_place
from datasets.store.reader import Store
from model.embedding import TOKENS_AT_ONCE, embed
from model.network import GaitNetwork, NetworkSettings
from model.sizes import DEPTHS
from orchestration.embedding import table
from orchestration.embedding.sequences import decode_walk


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """What to measure."""

    shards: str
    """A store to take walks from, at random."""
    sizes: tuple[str, ...] = ("xs", "xl")
    """Of the encoder."""
    sequences: int = 64
    """Walks; an eighth of them for sizes of more than eight layers."""
    frames: int = 8
    """Of a chunk."""
    budgets: tuple[int, ...] = (TOKENS_AT_ONCE,)
    """Tokens that go through the encoder at once."""
    seed: int = 0
    """Of the choice of walks."""


class Clock:
    """Seconds by what they were spent on."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = {}

    @contextmanager
    def on(self, what: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self.spent[what] = self.spent.get(what, 0.0) + time.perf_counter() - began

    def timed(self, what: str, work: Callable) -> Callable:
        def run(*given: object) -> object:
            with self.on(what):
                return work(*given)

        return run


def measure(rows: pa.Table, size: str, frames: int, budget: int) -> dict[str, float]:
    """Seconds a sequence for each part of the work."""
    network = GaitNetwork(NetworkSettings(size=size))
    clock = Clock()
    network.pool = clock.timed("encoder", network.pool)
    network.embed = clock.timed("encoder", network.embed)
    with tempfile.TemporaryDirectory() as made:
        for start in range(0, rows.num_rows, 64):
            some = rows.slice(start, 64)
            with clock.on("draw"):
                walks = [decode_walk(row) for row in some.to_pylist()]
            with clock.on("embed"):
                found = embed(network, walks, frames, torch.device("cpu"), budget)
            with clock.on("write"):
                table.write_part(open_place(f"{made}/{start}.parquet"), some, {"pretrained": found}, "int8")
    clock.spent["cut"] = clock.spent.pop("embed") - clock.spent["encoder"]
    return {name: seconds / rows.num_rows for name, seconds in clock.spent.items()}


def main(arguments: Arguments) -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    codec.use_one_thread()
    rows = Store.open(arguments.shards).rows()
    chosen = np.random.default_rng(arguments.seed).permutation(rows.num_rows)
    print(f"{'size':<6}{'tokens at once':>15}{'sequences/s':>13}{'outside':>9}   ms a sequence")
    for size in arguments.sizes:
        few = DEPTHS[size] > 8
        some = rows.take(pa.array(np.sort(chosen[: arguments.sequences // (8 if few else 1)])))
        for budget in arguments.budgets:
            spent = measure(some, size, arguments.frames, budget)
            total = sum(spent.values())
            parts = ", ".join(f"{name} {1000 * seconds:.1f}" for name, seconds in spent.items())
            print(f"{size:<6}{budget:>15,}{1 / total:>13.2f}{1 - spent['encoder'] / total:>9.1%}   {parts}", flush=True)


if __name__ == "__main__":
    main(tyro.cli(Arguments))
