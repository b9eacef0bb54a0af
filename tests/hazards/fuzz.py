"""Mutates the sound files of one reader and holds it to what readers promise.

    python -m tests.hazards.fuzz <reader> --examples 80 --seed 0

Every mutated file is refused by a reason, or read; nothing else may be raised, run, or take longer than SECONDS. Prints
how many files were read and refused, the longest time, and the largest memory of the process. It is a process of its
own, so that its memory is that of the reader, and a reader that ends its process is seen.
"""

import argparse
import json
import os
import resource
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.hazards.readers import READERS, REFUSALS, Reader

SECONDS = 10  # for one file
_NUMBERS = [0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF]


@st.composite
def mutated(draw: st.DrawFn, sound: list[bytes]) -> bytes:
    """One of the sound files after one to three mutations."""
    data = bytearray(draw(st.sampled_from(sound)))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        length = draw(st.integers(1, 64))
        kind = draw(st.sampled_from(["flip", "set", "number", "cut", "double", "insert", "end", "splice"]))
        if kind == "flip" and data:
            data[at] ^= 1 << draw(st.integers(0, 7))
        elif kind == "set" and data:
            data[at] = draw(st.integers(0, 255))
        elif kind == "number":
            width, order = draw(st.sampled_from([2, 4, 8])), draw(st.sampled_from(["little", "big"]))
            value = draw(st.sampled_from(_NUMBERS)) % (1 << 8 * width)
            data[at : at + width] = value.to_bytes(width, order)
        elif kind == "cut":
            del data[at : at + length]
        elif kind == "double":
            data[at:at] = data[at : at + length]
        elif kind == "insert":
            data[at:at] = draw(st.binary(max_size=length))
        elif kind == "end":
            del data[at:]
        elif kind == "splice":
            other = draw(st.sampled_from(sound))
            data[at:] = other[draw(st.integers(0, len(other))) :]
    return bytes(data)


@contextmanager
def _at_most(seconds: int) -> Iterator[None]:
    def stop(*_: object) -> None:
        raise TimeoutError(f"longer than {seconds} s")

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)


def run(reader: Reader, examples: int, start: int, home: Path) -> dict[str, float]:
    """Read mutated files; returns counts. Fails with the smallest file that breaks a promise."""
    sound, numbers = reader.sound(), count()
    right = [_outcome(reader, data, home / f"sound{number}")[1] for number, data in enumerate(sound)]
    found = {"read": 0, "refused": 0, "longest": 0.0}

    @seed(start)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )
    @given(mutated(sound))
    def check(data: bytes) -> None:
        begun = time.monotonic()
        with _at_most(SECONDS):
            was_read, made = _outcome(reader, reader.repair(data) if reader.repair else data, home / str(next(numbers)))
        found["longest"] = max(found["longest"], time.monotonic() - begun)
        found["read" if was_read else "refused"] += 1
        if was_read and reader.checked:
            assert made in right, "a damaged file was read as if it were sound"

    check()
    return found


def _outcome(reader: Reader, data: bytes, folder: Path) -> tuple[bool, object]:
    """Whether the file was read, and what was made of it."""
    folder.mkdir()
    os.chdir(folder)
    try:
        return True, reader.read(data, folder)
    except REFUSALS:
        return False, None
    finally:
        assert not (folder / "owned").exists(), "a file ran its code"
        os.chdir(folder.parent)
        shutil.rmtree(folder)


def main() -> None:
    """Fuzz one reader."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reader", choices=[reader.name for reader in READERS])
    parser.add_argument("--examples", type=int, default=80)
    parser.add_argument("--seed", type=int, default=0)
    given_here = parser.parse_args()
    (reader,) = [one for one in READERS if one.name == given_here.reader]
    with tempfile.TemporaryDirectory() as folder:
        found = run(reader, given_here.examples, given_here.seed, Path(folder))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"reader": reader.name, **found, "megabytes": round(peak)}))


if __name__ == "__main__":
    main()
