"""python -m benchmarks.roofline [--sizes xl] [--pairs 64] [--compiled] [--shards <store>]

Counts the operations and bytes of a training step of each size, without a GPU, and prints what machines need for them
by a stated model (benchmarks/roofline/machines.py): the tables of docs/scaling-out.md.
"""

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import tyro

from benchmarks.roofline.clips import made_pairs, stored_pairs
from benchmarks.roofline.compiled import count_compiled_bytes
from benchmarks.roofline.counts import Counts, count
from benchmarks.roofline.machines import MACHINES, SCHEDULE, Forecast, Machine, Shares, forecast
from datasets.loading.pairs import PairBatch
from evaluation.text_table import markdown_table
from model.sizes import LADDER

LOADED = 4300  # pairs a second that one core draws (docs/measurements.md)
# Runs of the largest size: machine, GPUs, and pairs of the whole batch.
RUNS = (
    (MACHINES[0], 4, 256),
    (MACHINES[0], 32, 256),
    (MACHINES[0], 32, 2048),
    (MACHINES[1], 8, 512),
    (MACHINES[1], 64, 4096),
    (MACHINES[1], 512, 4096),
)


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """What to count, and the model."""

    sizes: tuple[str, ...] = tuple(LADDER)
    """Sizes of the encoder; runs on many GPUs are those of the last one."""
    pairs: int = 64
    """Pairs of a GPU; a multiple of 8, as strips need."""
    kept: float = 0.27
    """Share of the tubelets that are tokens: 0.27 in real walks (docs/measurements.md)."""
    shards: str = ""
    """A store whose pairs, augmented as in training, are counted instead."""
    collection: str = "CASIA-B"
    """The collection of the store."""
    shares: Shares = field(default_factory=Shares)
    """Shares of the figures on paper."""
    compiled: bool = False
    """Also count steps with compiled blocks (--cluster.compile); needs a C++ compiler, and a minute for each size."""
    json: str = ""
    """A file for the counts and times."""


def main(arguments: Arguments) -> None:
    """Count and print."""

    def pairs(number: int) -> PairBatch:
        if arguments.shards:
            return stored_pairs(arguments.shards, arguments.collection, number)
        return made_pairs(number, arguments.kept)

    def counts(size: str, number: int) -> list[Counts]:
        eager = count(size, pairs(number))
        if not arguments.compiled:
            return [eager]
        fewer = count_compiled_bytes(size, pairs(number))
        return [eager, replace(eager, size=f"{size}, compiled", elementwise_bytes=fewer)]

    counted = [one for size in arguments.sizes for one in counts(size, arguments.pairs)]
    print(f"A step of {arguments.pairs} pairs\n\n{counts_table(counted)}\n\nMachines\n\n{machines_table()}\n")
    single = [forecast(one, machine, 1, arguments.shares) for machine in MACHINES for one in counted]
    print(f"One GPU, {arguments.pairs} pairs\n\n{single_table(single)}\n")
    shares = {batch // gpus for _, gpus, batch in RUNS}
    largest = {share: counts(arguments.sizes[-1], share) for share in sorted(shares)}
    runs = [
        forecast(one, machine, gpus, arguments.shares)
        for machine, gpus, batch in RUNS
        for one in largest[batch // gpus]
    ]
    print(f"{arguments.sizes[-1]} on many GPUs\n\n{runs_table(runs)}")
    if arguments.json:
        found = {
            "counts": [asdict(one) for one in counted],
            "one_gpu": [asdict(one) for one in single],
            "many_gpus": [asdict(one) for one in runs],
        }
        Path(arguments.json).write_text(json.dumps(found, indent=1))


def counts_table(counted: list[Counts]) -> str:
    """A row for each size."""
    rows = [
        [
            one.size,
            f"{one.parameters / 1e6:.1f} M",
            f"{one.tokens:.0f}",
            f"{one.product_flops / 1e12:.2f}",
            f"{one.attention_flops / 1e12:.2f}",
            f"{one.elementwise_bytes / 1e9:.1f}",
            f"{one.optimizer_bytes / 1e9:.1f}",
            f"{one.activation_bytes / 1e9:.1f}",
            f"{one.activation_bytes / one.pairs / 1e6:.0f}",
        ]
        for one in counted
    ]
    header = ["size", "parameters", "tokens a clip", "products, TFLOP", "attention, TFLOP", "elementwise, GB"]
    return markdown_table([[*header, "optimizer, GB", "activations, GB", "a clip, MB"], *rows])


def machines_table() -> str:
    """A row for each machine."""
    header = ["", "GPUs", "bf16, TFLOP/s", "memory, GB/s", "memory, GB", "in the node, GB/s", "network, GB/s", "source"]

    def row(one: Machine) -> list[str]:
        figures = (one.tflops, one.memory, one.capacity, one.link, one.network)
        return [one.name, f"{one.gpus} {one.gpu}", *(f"{figure:,.6g}" for figure in figures), one.source]

    return markdown_table([header, *map(row, MACHINES)])


def single_table(forecasts: list[Forecast]) -> str:
    """A row for each size on one GPU."""
    header = ["GPU", "size", "products, ms", "elementwise, ms", "optimizer, ms", "step, ms", "pairs/s", "of peak"]
    rows = [
        [
            one.machine.gpu,
            one.counts.size,
            *_milliseconds(one.products, one.elementwise, one.optimizer, one.seconds),
            f"{one.rate:,.0f}",
            f"{one.of_peak:.0%}",
            f"{one.rate / LOADED:.2f}",
        ]
        for one in forecasts
    ]
    return markdown_table([[*header, "cores that load"], *rows], labels=2)


def runs_table(forecasts: list[Forecast]) -> str:
    """A row for each run."""
    header = [
        "GPUs",
        "size",
        "batch, a GPU",
        "products, ms",
        "elementwise, ms",
        "optimizer, ms",
        "gradients, ms",
        "keys, ms",
    ]
    rows = [
        [
            f"{one.gpus} {one.machine.gpu}",
            one.counts.size,
            f"{one.counts.pairs * one.gpus:,}, {one.counts.pairs}",
            *_milliseconds(one.products, one.elementwise, one.optimizer, one.gradients, one.keys, one.seconds),
            f"{one.rate:,.0f}",
            f"{one.of_peak:.0%}",
            f"{one.memory:.0f} of {one.machine.capacity:.0f}",
            f"{SCHEDULE / one.rate / 3600:.1f}",
            f"{SCHEDULE / one.rate / 3600 * one.gpus:.0f}",
        ]
        for one in forecasts
    ]
    return markdown_table(
        [[*header, "step, ms", "pairs/s", "of peak", "GB of a GPU", "41 M pairs, h", "GPU hours"], *rows], labels=2
    )


def _milliseconds(*seconds: float) -> list[str]:
    return [f"{1e3 * one:.1f}" if one < 0.01 else f"{1e3 * one:.0f}" for one in seconds]


if __name__ == "__main__":
    main(tyro.cli(Arguments))
