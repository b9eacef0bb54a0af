"""python -m benchmarks.startup [--repeats 3] [--metrics 10000] [--one-by-one 500]

Overhead of the jobs: wall time of ingest, pretrain, embed and evaluate on eight short sequences, a process for each;
and the time that a driver spends on writing metrics to a SQLite file, in batches and one by one: no rank waits for it.
"""

import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import tyro

from datasets.catalog.registry import find
from datasets.synthetic import scenes
from datasets.synthetic.trees import write_tree
from orchestration.run import tracking


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Number of repetitions, and of metrics."""

    repeats: int = 3
    """How often each job runs."""
    metrics: int = 10_000
    """Metrics that are written in batches; they have ten names."""
    one_by_one: int = 500
    """Metrics that are written with a flush each."""


def main(arguments: Arguments) -> None:
    """Run the jobs, and print the median and range of their times."""
    seconds: dict[str, list[float]] = {}
    for _ in range(arguments.repeats):
        with tempfile.TemporaryDirectory() as made:
            for job, argv in jobs(Path(made)).items():
                began = time.monotonic()
                subprocess.run([sys.executable, "-m", f"jobs.{job}", *argv], check=True, capture_output=True)
                seconds.setdefault(job, []).append(time.monotonic() - began)
    for job, took in seconds.items():
        print(f"{job:<9} {np.median(took):5.1f} s, {min(took):.1f} to {max(took):.1f}")
    write_metrics(arguments.metrics, arguments.one_by_one)


def jobs(made: Path) -> dict[str, list[str]]:
    """The arguments of each job, in the order in which each uses the output of the one before."""
    walks = [scenes.casia_b(*one) for one in product(("001", "075"), ("nm-01", "nm-05"), ("000", "090"))]
    write_tree(made / "walks", find("CASIA-B").layouts[0], walks, num_frames=16, seed=0)
    store, run = ["--shards", str(made / "shards")], str(made / "run")
    tracked = ["--tracking", f"sqlite:///{made / 'mlflow.db'}"]
    one_step = ["--schedule.steps", "1", "--schedule.warmup", "1", "--schedule.batch", "4", "--objective.no-strips"]
    return {
        "ingest": ["--root", f"CASIA-B={made / 'walks'}", "--out", str(made / "shards")],
        "pretrain": ["tiny", *store, "--out", run, *one_step, *tracked],
        "embed": ["--run", run, *store, "--out", str(made / "table")],
        "evaluate": ["--run", run, *store, *tracked],
    }


def write_metrics(batched: int, one_by_one: int) -> None:
    """Write metrics in one batch, then others with a flush each, and print the times."""
    with (
        tempfile.TemporaryDirectory() as made,
        tracking.open_run(f"sqlite:///{made}/mlflow.db", "metrics", {}, {}) as tracker,
    ):
        for count, together in ((batched, batched), (one_by_one, 1)):
            began = time.perf_counter()
            for number in range(count):
                tracker.log(number // 10, {f"{together}/{number % 10}": float(number)})
                if (number + 1) % together == 0:
                    tracker.flush()
            spent = time.perf_counter() - began
            print(f"{count:,} metrics, {together:,} at once: {spent:.2f} s, {count / spent:,.0f} a second")


if __name__ == "__main__":
    main(tyro.cli(Arguments))
