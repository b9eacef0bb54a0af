"""python -m benchmarks.metrics [--metrics 10000] [--one-by-one 500]

Time that the driver spends on writing metrics to a SQLite file, in batches and one by one. Ranks do not wait for it.
"""

import tempfile
import time
from dataclasses import dataclass

import tyro

from orchestration.run import tracking


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """How many metrics to write."""

    metrics: int = 10_000
    """Metrics that are written in batches; they have ten names."""
    one_by_one: int = 500
    """Metrics that are written with a flush each."""


def main(arguments: Arguments) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as made:
        uri = f"sqlite:///{made}/mlflow.db"
        with tracking.open_run(uri, "metrics", {}, {}) as tracker:
            for count, together in ((arguments.metrics, arguments.metrics), (arguments.one_by_one, 1)):
                began = time.perf_counter()
                for number in range(count):
                    tracker.log(number // 10, {f"{together}/{number % 10}": float(number)})
                    if (number + 1) % together == 0:
                        tracker.flush()
                spent = time.perf_counter() - began
                print(f"{count:,} metrics, {together:,} at once: {spent:.2f} s, {count / spent:,.0f} a second")


if __name__ == "__main__":
    main(tyro.cli(Arguments))
