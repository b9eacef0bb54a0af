"""Memory of long-running processes: give back to the system what the allocator of C holds and nothing uses.

The tensors of each step have other shapes, since clips have different numbers of tokens. So glibc's heap gets gaps that
fit no later tensor, and a process of 1.4 GB takes 8 GB after 700 steps. Few sizes of chunks (model/packing.py) prevent
most of them; the pages of the rest are returned here.
"""

import ctypes

EVERY = 50  # steps of training from one release to the next: the pages that are needed again cost little of the time


def release_free_memory() -> None:
    """Return free pages of all heaps to the system, where the C library can (glibc)."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
