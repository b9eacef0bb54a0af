"""What a rank trains on: sequences from one memory-mapped copy of their contours a node, and what loads their clips."""

import os
import shutil
import tempfile
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import ray
import torch.distributed as dist

from datasets.contours import codec
from datasets.loading.corpus import Corpus, write_map
from datasets.schema.collection import CollectionSpec
from datasets.store.reader import Store
from datasets.store.selection import Selection, training_tables
from orchestration.run.settings import Cluster

_MOST_LOADERS = 16  # of a rank, where nothing is asked for: each has two batches in memory


@lru_cache(maxsize=1)  # a worker of a study trains several cells on the same sequences, one after the other
def map_corpus(shards: str, selection: Selection) -> tuple[Corpus, Mapping[str, CollectionSpec]]:
    """The selected sequences of a store, and the specs of their collections, by name.

    Every rank must call it: the first of each node writes the copy, which all of them map. Ranks and nodes are those of
    the process group and of torchrun's environment variables.
    """
    codec.use_one_thread()  # OpenCV in a thread of this rank: others need the other cores
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


def loader_processes(cluster: Cluster) -> int:
    """The number of processes that load the clips of this rank; 0 for a thread."""
    if cluster.loaders is not None:
        return cluster.loaders
    if not cluster.gpu:
        return 0  # a rank without a GPU has one core, and trains on fewer clips than a thread loads
    here = ray.get_runtime_context().get_node_id()
    (node,) = (one["Resources"] for one in ray.nodes() if one["NodeID"] == here)
    return cores_left(node.get("CPU", 1), node.get("GPU", 1))


def cores_left(cores: float, gpus: float) -> int:
    """The cores that a GPU's share of a machine has beside the one that its rank computes on."""
    return min(max(int(cores / gpus) - 1, 0), _MOST_LOADERS)
