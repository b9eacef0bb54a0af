"""The sequences that a rank trains on, from one memory-mapped copy of their contours a node."""

import os
import shutil
import tempfile
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import torch.distributed as dist

from datasets.loading.corpus import Corpus, write_map
from datasets.schema.collection import CollectionSpec
from datasets.store.reader import Store
from datasets.store.selection import Selection, training_tables


@lru_cache(maxsize=1)  # a worker of a study trains several cells on the same sequences, one after the other
def map_corpus(shards: str, selection: Selection) -> tuple[Corpus, Mapping[str, CollectionSpec]]:
    """The selected sequences of a store, and the specs of their collections, by name.

    Every rank must call it: the first of each node writes the copy, which all of them map. Ranks and nodes are those of
    the process group and of torchrun's environment variables.
    """
    node = int(os.environ["NODE_RANK"])
    store = Store.open(shards)
    specs = store.specs(selection.collections)
    folder = None
    if dist.get_node_local_rank() == 0:
        folder = Path(tempfile.mkdtemp(prefix="foundationgait-"))
        write_map(training_tables(store, selection), specs, folder)
    everyone: list[tuple[int, Path | None]] = [(0, None)] * dist.get_world_size()
    dist.all_gather_object(everyone, (node, folder))
    (mapped,) = (one for other, one in everyone if other == node and one is not None)
    sequences = Corpus(mapped)
    dist.barrier()
    if folder is not None:
        shutil.rmtree(folder)  # the mappings stay valid; nothing is left behind, however the run ends
    return sequences, specs
