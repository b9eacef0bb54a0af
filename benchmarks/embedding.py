"""python -m benchmarks.embedding --shards <store> [--sizes xs xl] [--sequences 64]

Sequences embedded a second, and the share of the time that is spent outside the encoder. One process on one core does
the work of an actor of `jobs.embed`: read rows of a store, rasterise their contours, embed all frames, quantise to
int8, write Parquet. Weights are random; embeddings are not looked at.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import torch
import tyro

from datasets.contours import codec
from datasets.storage import open_place
from datasets.store.reader import Store
from model.embedding import MAX_TOKENS, embed
from model.network import GaitNetwork, NetworkSettings
from model.sizes import DEPTHS
from orchestration.embedding import table
from orchestration.embedding.sequences import decode_walk


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """What to measure."""

    shards: str
    """The store from which sequences are chosen at random."""
    sizes: tuple[str, ...] = ("xs", "xl")
    """Sizes of the encoder."""
    sequences: int = 64
    """Sequences to embed; an eighth of them for sizes of more than eight layers."""
    frames: int = 8
    """Frames of a chunk."""
    budgets: tuple[int, ...] = (MAX_TOKENS,)
    """Tokens that go through the encoder together."""
    seed: int = 0
    """Seed of the choice of sequences."""


class Clock:
    """Seconds by kind of work."""

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
    pool, head = clock.timed("encoder", network.pool), clock.timed("encoder", network.embed)
    with (
        patch.object(network, "pool", pool),
        patch.object(network, "embed", head),
        tempfile.TemporaryDirectory() as made,
    ):
        for start in range(0, rows.num_rows, 64):
            some = rows.slice(start, 64)
            with clock.on("decode"):
                walks = [decode_walk(row) for row in some.to_pylist()]
            with clock.on("embed"):
                found = embed(network, walks, frames, torch.device("cpu"), budget)
            with clock.on("write"):
                table.write_part(open_place(f"{made}/{start}.parquet"), some, {"pretrained": found}, "int8")
    clock.spent["chunk"] = clock.spent.pop("embed") - clock.spent["encoder"]
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
