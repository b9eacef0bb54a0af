"""A look at a few sequences of a collection before hours are spent on all: they are read, and nothing is kept."""

import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import pyarrow as pa

from datasets.ingest.layouts import Root, SequenceRef, list_below, top_folders
from datasets.ingest.sequence_to_row import ingest_sequence
from datasets.schema.rows import REJECT_SCHEMA, SEQUENCE_SCHEMA
from datasets.store.summary import Summary

SEQUENCES = 48  # of a sample
_LISTED = 4096  # sequences at most that are listed below one top folder


@dataclass(frozen=True)
class Sample:
    """Some sequences of a collection as ingest would take them.

    counts: as `Summary.result` gives them. about: how many sequences the collection seems to have. seconds: that
    one of the sampled sequences took, on average.
    """

    root: Root
    counts: Mapping[str, Any]
    sampled: int
    about: int
    seconds: float


def take(root: Root, most: int = SEQUENCES) -> Sample:
    """Read at most `most` sequences of a collection, from all over it. root: as `find_root` gives it."""
    chosen, about = _choose(root, most)
    start = time.perf_counter()
    made = [ingest_sequence(root, ref) for ref in chosen]
    seconds = (time.perf_counter() - start) / max(len(chosen), 1)
    rows = [one.row for one in made if one.row is not None]
    rejects = [reject for one in made for reject in one.rejects]
    counted = Summary({}, root.spec.anonymous)
    counted.add(pa.Table.from_pylist(rows, schema=SEQUENCE_SCHEMA), pa.Table.from_pylist(rejects, schema=REJECT_SCHEMA))
    return Sample(root, counted.result(), len(chosen), about, seconds)


def _choose(root: Root, most: int) -> tuple[list[SequenceRef], int]:
    """Sequences from evenly spaced top folders, and about how many there are in all of them."""
    tops = top_folders(root)
    some = min(len(tops), most)
    chosen: list[SequenceRef] = []
    listed, generator = 0, random.Random(0)
    for visit in range(some):
        below = list(islice(list_below(root, *tops[visit * len(tops) // some]), _LISTED))
        listed += len(below)
        wanted = -(-(most - len(chosen)) // (some - visit))
        chosen += generator.sample(below, min(wanted, len(below)))
    return chosen, round(listed * len(tops) / max(some, 1))
