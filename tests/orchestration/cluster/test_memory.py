"""Free memory goes back to the system, although the heap has gaps."""

import ctypes

import numpy as np
import psutil
import pytest

from orchestration.cluster.memory import release_free_memory

MIB = 2**20


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="the C library is not glibc")
def test_gaps_in_the_heap_are_returned() -> None:
    # Below the size from which glibc maps each array by itself; the arrays that stay keep the heap from shrinking.
    arrays = [np.ones(100_000, np.uint8) for _ in range(3000)]
    kept = arrays[::100]
    del arrays
    before = psutil.Process().memory_info().rss
    release_free_memory()
    assert before - psutil.Process().memory_info().rss > 150 * MIB
    assert all(one.all() for one in kept)
