"""A process that loads batches for a rank: python -m datasets.loading.worker <descriptors of its pipe and its slots>

It gets the loader, then one step after the other, and answers each with where its arrays lie, or with the error that
loading it raised. It ends when the other end of its pipe is closed, which the system does when the rank dies, however
that happens. Started by datasets/loading/prefetch.py.
"""

import signal
import sys
import traceback
from multiprocessing.connection import Connection

from datasets.contours import codec
from datasets.loading.prefetch import StepLoader
from datasets.loading.shared_batch import Packed, Slot


def main(pipe: int, *slots: int) -> None:
    """Load until the rank has ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is for the rank, which ends this process
    codec.use_one_thread()
    memory = [Slot(one) for one in slots]
    with Connection(pipe) as rank:
        try:
            loader: StepLoader[object] = rank.recv()
            while True:
                step, slot = rank.recv()
                rank.send(_load(loader, step, memory[slot]))
        except (EOFError, ConnectionError):
            return


def _load(loader: StepLoader[object], step: int, slot: Slot) -> Packed | Exception:
    try:
        return slot.write(loader.at(step))
    except Exception as error:
        error.add_note(f"in a process that loads batches, at step {step}:\n{traceback.format_exc()}")
        return error


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
