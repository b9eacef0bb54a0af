"""Memory of long-running processes: give back to the system what the allocator of C holds and nothing uses.

The tensors of each step have other shapes, since clips have different numbers of tokens. So glibc's heap fills with
gaps that fit no later tensor: a rank that needed 1.4 GB at first took 8 GB after 700 steps.
"""

import ctypes

EVERY = 50  # steps of training from one release to the next: the pages that are needed again cost 0.3% of the time


def release_free_memory() -> None:
    """Return free pages of all heaps to the system, where the C library can (glibc)."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
