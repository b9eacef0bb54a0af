"""The sequences that a rank trains on, from one memory-mapped copy of their contours a node.

Knows Ray Train's places of ranks, and nothing of what is trained.
"""

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

import ray.train
import torch.distributed as dist

from datasets import storage
from datasets.loading import corpus
from datasets.loading.corpus import write_map
from datasets.schema.collection import CollectionSpec
from datasets.schema.rows import Modality
from datasets.specs.resolve import from_manifest
from datasets.store.reader import read_manifest
from datasets.store.selection import training_tables


def map_corpus(
    shards: str,
    collections: tuple[str, ...] | None,
    holdout: tuple[str, ...],
    *,
    modalities: tuple[Modality, ...] = ("silhouette",),
    unique: int | None = None,
) -> tuple[corpus.Corpus, Mapping[str, CollectionSpec]]:
    """The train split of some collections (all where None), less what is held out; and their specs, by name.

    modalities and unique: as in datasets/loading/corpus.py.

    Every rank must call it: the first of each node writes the copy, which all of them map.
    """
    context = ray.train.get_context()
    store = storage.open_place(shards)
    manifest = read_manifest(store)
    specs = {name: from_manifest(manifest, name) for name in collections or manifest["collections"]}
    folder = None
    if context.get_local_rank() == 0:
        folder = Path(tempfile.mkdtemp(prefix="foundationgait-"))
        tables = training_tables(store, collections, holdout, modalities=modalities, unique=unique)
        write_map(tables, specs, folder)
    everyone: list[tuple[int, Path | None]] = [(0, None)] * context.get_world_size()
    dist.all_gather_object(everyone, (context.get_node_rank(), folder))
    (mapped,) = (one for node, one in everyone if node == context.get_node_rank() and one is not None)
    sequences = corpus.Corpus(mapped)
    dist.barrier()
    if folder is not None:
        shutil.rmtree(folder)  # the mappings live on; nothing is left behind, however the run ends
    return sequences, specs
