"""Random numbers by name: each decision draws from a stream of its own, so that a new decision moves no other one."""

import hashlib
from functools import lru_cache

import numpy as np

_BLOCK = 4  # numbers that Philox makes at a time


def stream(seed: int, decision: str, *at: int, skip: int = 0) -> np.random.Generator:
    """The generator of one decision: a pure function of its arguments, whatever else is drawn.

    Counter-based (Philox; Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011): seed and name are the
    key, so a stream can be entered anywhere without what comes before.

    Args:
        seed: of the run or the study, from 0.
        decision: a name that no other decision of this seed has.
        at: up to three counters, each from 0, such as the step or the epoch.
        skip: how many numbers of `Generator.random` to leave out at the beginning.
    """
    counter = np.zeros(4, dtype=np.uint64)
    counter[0] = skip // _BLOCK
    counter[1 : 1 + len(at)] = at
    key = np.array([seed, _hash_of(decision)], dtype=np.uint64)
    generator = np.random.Generator(np.random.Philox(key=key, counter=counter))
    if skip % _BLOCK:
        generator.random(skip % _BLOCK)
    return generator


@lru_cache(maxsize=4096)
def _hash_of(name: str) -> int:
    """64 bits, the same on every machine and in every version of Python."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little")
