"""python -m benchmarks.cluster.ranks [--ranks 64] [--repeats 5] [--json ranks.json]

Many ranks on one machine, without a network to train: how long they take to meet, what the collectives of a training
step cost over gloo and whether they are right, what a rank takes of memory, and how many heartbeats the status actor
takes. Ranks share the cores of one machine, so that times are those of a crowded one, and what grows with the number of
ranks shows.
"""

import json
import multiprocessing
import os
import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil
import ray
import torch
import torch.distributed as dist
import tyro
from torch import Tensor

from evaluation.text_table import markdown_table
from model.parts import PARTS
from orchestration.cluster import session
from orchestration.rank import collectives
from orchestration.rank.status import start_status_actor

PAIRS, CHANNELS = 8, 256  # of a rank, and of the embedding of a part
GRADIENTS = 2**20  # numbers that are summed over the ranks: those of an empty model
_TIMEOUT = timedelta(seconds=300)


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """What to measure."""

    ranks: tuple[int, ...] = (2, 8, 64)
    """Numbers of ranks."""
    repeats: int = 5
    """Of each collective; the median counts."""
    json: str = ""
    """A file for the figures."""


@dataclass(frozen=True)
class Measured:
    """Of a number of ranks. Times in seconds: of the slowest rank to meet, and of rank 0 for the rest."""

    ranks: int
    meet: float
    gather: float  # of keys, with their gradients
    all_reduce: float  # of 4 MiB
    broadcast: float  # of 4 MiB
    rank_mib: float  # proportional set size of a rank, mean


def main(arguments: Arguments) -> None:
    """Measure, and print a table."""
    found = [measure(ranks, arguments.repeats) for ranks in arguments.ranks]
    heartbeats = [heartbeats_per_second(ranks) for ranks in arguments.ranks]
    header = ["ranks", "meet, s", "gather keys, ms", "sum 4 MiB, ms", "broadcast 4 MiB, ms", "MiB a rank"]
    rows = [
        [
            str(one.ranks),
            f"{one.meet:.1f}",
            *(f"{1e3 * seconds:.0f}" for seconds in (one.gather, one.all_reduce, one.broadcast)),
            f"{one.rank_mib:.0f}",
            f"{taken:,.0f}",
            f"{one.ranks / 3:.0f}",
        ]
        for one, taken in zip(found, heartbeats, strict=True)
    ]
    print(markdown_table([[*header, "heartbeats/s", "needed"], *rows]))
    if arguments.json:
        both = [asdict(one) | {"heartbeats": taken} for one, taken in zip(found, heartbeats, strict=True)]
        Path(arguments.json).write_text(json.dumps(both, indent=1))


def measure(ranks: int, repeats: int) -> Measured:
    """Start so many ranks, let them communicate, and end them. AssertionError where a collective is wrong."""
    context = multiprocessing.get_context("spawn")  # forks of one process often never meet over gloo
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False, timeout=_TIMEOUT)
    pipes, processes = [], []
    for rank in range(ranks):
        ours, theirs = context.Pipe()
        processes.append(context.Process(target=_run_rank, args=(rank, ranks, store.port, repeats, theirs)))
        processes[-1].start()
        pipes.append(ours)
    try:
        times = [pipe.recv() for pipe in pipes]  # all have done all, and wait
        memory = statistics.fmean(psutil.Process(process.pid).memory_full_info().pss / 2**20 for process in processes)
    finally:
        for process, pipe in zip(processes, pipes, strict=True):
            pipe.close()
            process.join(timeout=30)
            process.kill()
    meet = max(one[0] for one in times)
    _, gather, all_reduce, broadcast = times[0]
    return Measured(ranks, meet, gather, all_reduce, broadcast, memory)


def _run_rank(rank: int, ranks: int, port: int, repeats: int, pipe: Connection) -> None:
    torch.set_num_threads(1)
    started = time.monotonic()
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    store = dist.TCPStore("127.0.0.1", port, timeout=_TIMEOUT)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=ranks, timeout=_TIMEOUT)
    dist.barrier()
    met = time.monotonic() - started
    work = (_gather_keys, _sum_gradients, _broadcast)
    pipe.send((met, *(_median_time(one, repeats) for one in work)))
    pipe.poll(60)  # until the other end is closed, when memory has been read
    dist.destroy_process_group()


def _median_time(work: Callable[[], None], repeats: int) -> float:
    times = []
    for _ in range(repeats):
        dist.barrier()
        started = time.monotonic()
        work()
        times.append(time.monotonic() - started)
    return statistics.median(times)


def _gather_keys() -> None:
    rank, ranks = dist.get_rank(), dist.get_world_size()
    keys = torch.full((PAIRS, PARTS, CHANNELS), float(rank), requires_grad=True)
    gathered, offset = collectives.gather(keys)
    assert offset == rank * PAIRS and torch.equal(gathered[::PAIRS, 0, 0], torch.arange(ranks).float())
    gathered[offset].sum().backward()  # of each rank's own first key alone
    assert isinstance(keys.grad, Tensor) and keys.grad[0].eq(1).all() and keys.grad[1:].eq(0).all()


def _sum_gradients() -> None:
    ranks = dist.get_world_size()
    summed = collectives.all_reduce(torch.full((GRADIENTS,), float(dist.get_rank())))
    assert summed.eq(ranks * (ranks - 1) / 2).all()


def _broadcast() -> None:
    sent = torch.full((GRADIENTS,), float(dist.get_rank()))
    assert collectives.broadcast(sent, torch.device("cpu")).eq(0).all()


def heartbeats_per_second(ranks: int, seconds: float = 3.0) -> float:
    """Heartbeats that a status actor takes from threads in the place of ranks, which send without a pause."""
    session.start(num_cpus=2)
    status, deadline = start_status_actor(), time.monotonic() + seconds
    counts = [0] * ranks

    def send(rank: int) -> None:
        while time.monotonic() < deadline:
            ray.get(status.heartbeat.remote(rank, counts[rank], "train"))
            counts[rank] += 1

    threads = [threading.Thread(target=send, args=(rank,)) for rank in range(ranks)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    drained: Any = ray.get(status.drain.remote())
    assert not drained[0] and len(drained[1]) == ranks
    ray.kill(status)
    return sum(counts) / seconds


if __name__ == "__main__":
    main(tyro.cli(Arguments))
