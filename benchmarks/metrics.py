"""python -m benchmarks.metrics [--metrics 10000] [--one-by-one 500]

What metrics cost the driver, in batches and one by one, into a SQLite file: seconds in which it does nothing else. No
rank waits for it either way.
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
    """In batches, of ten names."""
    one_by_one: int = 500
    """Each with a flush of its own."""


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
