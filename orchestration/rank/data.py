"""The sequences that a rank trains on, from one memory-mapped copy of their contours a node."""

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

import ray.train
import torch.distributed as dist

from datasets.loading.corpus import Corpus, write_map
from datasets.schema.collection import CollectionSpec
from datasets.store.reader import Store
from datasets.store.selection import Selection, training_tables


def map_corpus(shards: str, selection: Selection) -> tuple[Corpus, Mapping[str, CollectionSpec]]:
    """The selected sequences of a store, and the specs of their collections, by name.

    Every rank must call it: the first of each node writes the copy, which all of them map.
    """
    context = ray.train.get_context()
    store = Store.open(shards)
    specs = store.specs(selection.collections)
    folder = None
    if context.get_local_rank() == 0:
        folder = Path(tempfile.mkdtemp(prefix="foundationgait-"))
        write_map(training_tables(store, selection), specs, folder)
    everyone: list[tuple[int, Path | None]] = [(0, None)] * context.get_world_size()
    dist.all_gather_object(everyone, (context.get_node_rank(), folder))
    (mapped,) = (one for node, one in everyone if node == context.get_node_rank() and one is not None)
    sequences = Corpus(mapped)
    dist.barrier()
    if folder is not None:
        shutil.rmtree(folder)  # the mappings stay valid; nothing is left behind, however the run ends
    return sequences, specs
