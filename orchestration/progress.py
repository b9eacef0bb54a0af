"""Progress from wherever the work runs to the terminal of who started it: a queue, and a bar on the driver.

Workers put what they did into the queue; only the driver prints. Knows neither training nor data.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

from ray.util.queue import Queue
from tqdm import tqdm

_END = "end"


@contextmanager
def shown(description: str, unit: str, done: int, total: int) -> Iterator[Queue]:
    """A queue of (how many are done in all, what to show beside the bar); shown until the block ends."""
    queue = Queue(actor_options={"num_cpus": 0})
    bar = tqdm(total=total, initial=done, desc=description, unit=unit, mininterval=1, dynamic_ncols=True)
    printer = Thread(target=_print, args=(queue, bar), daemon=True)
    printer.start()
    try:
        yield queue
    finally:
        queue.put(_END)
        printer.join(timeout=10)
        bar.close()
        queue.shutdown()


def _print(queue: Queue, bar: tqdm) -> None:
    while True:
        message = queue.get()
        if message == _END:
            return
        done, beside = message
        bar.set_postfix(beside, refresh=False)
        bar.update(done - bar.n)
