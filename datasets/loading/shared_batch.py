"""Batches in memory that two processes share: one writes the arrays there, and the other one reads them in place.

What is not an array travels as a pickle beside them (protocol 5 with buffers out of band), so that any dataclass of
arrays is a batch.
"""

import mmap
import os
import pickle
import tempfile
import weakref
from dataclasses import dataclass

import numpy as np

from datasets.contours.chains import offsets

_ALIGNED = 64  # bytes: arrays begin at multiples, as those of NumPy and torch do


@dataclass(frozen=True)
class Packed:
    """A batch whose arrays lie in a slot. pickled: all but their bytes. sizes: bytes of each array, in order."""

    pickled: bytes
    sizes: tuple[int, ...]


class Slot:
    """Memory for one batch, which grows to the largest that was written; known to other processes by its descriptor."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        weakref.finalize(self, os.close, descriptor)
        self._mapped = memoryview(b"")

    @classmethod
    def new(cls) -> "Slot":
        """An empty slot. It has no name, so that nothing is left behind, however its processes end."""
        if hasattr(os, "memfd_create"):  # not limited by the size of /dev/shm, which is 64 MB in many containers
            return cls(os.memfd_create("batch"))
        with tempfile.TemporaryFile() as file:
            return cls(os.dup(file.fileno()))

    def write(self, batch: object) -> Packed:
        """Put a batch here, over the last one."""
        buffers: list[pickle.PickleBuffer] = []
        pickled = pickle.dumps(batch, protocol=5, buffer_callback=buffers.append)
        arrays = [buffer.raw() for buffer in buffers]
        sizes = tuple(array.nbytes for array in arrays)
        places = _places(sizes)
        if places[-1] > os.fstat(self.descriptor).st_size:
            os.ftruncate(self.descriptor, places[-1])
        memory = self._map(places[-1])
        for begin, array in zip(places, arrays, strict=False):
            memory[begin : begin + array.nbytes] = array
        return Packed(pickled, sizes)

    def read(self, packed: Packed) -> object:
        """The batch that was written; its arrays are views of this memory, until the next one is written."""
        places = _places(packed.sizes)
        memory = self._map(places[-1])
        views = [memory[begin : begin + size] for begin, size in zip(places, packed.sizes, strict=False)]
        return pickle.loads(packed.pickled, buffers=views)

    def _map(self, size: int) -> memoryview:
        if size > len(self._mapped):
            self._mapped = memoryview(mmap.mmap(self.descriptor, size))
        return self._mapped


def _places(sizes: tuple[int, ...]) -> list[int]:
    """Where each array begins, and the end of the last one."""
    return offsets(-(-np.array(sizes, dtype=np.int64) // _ALIGNED) * _ALIGNED).tolist()
