"""Embeddings for the scores of fine-tuning: the same sequences through the networks that are compared.

Beside the run's own network stand the pretrained one that it started from, one of random weights, and the gait energy
image. Ray Data actors hold the networks; the result is in memory.
"""

import numpy as np
import pyarrow as pa
import ray
import torch
from tqdm import tqdm

from datasets import contours
from datasets.storage import Place, at
from evaluation import baselines
from model.embedding import embed
from model.network import GaitNetwork
from model.objective import PartContrast
from orchestration import checkpoint, run_folder, session
from orchestration.embed import walk_of
from orchestration.finetune_runs import FinetuneRun, read_start

GEI, RANDOM, PRETRAINED = "GEI", "random initialisation", "pretrained"
OWN = "fine-tuned"
_BLOCK = 32  # sequences an actor embeds at once


def embed_rows(rows: pa.Table, folder: Place, methods: tuple[str, ...]) -> dict[str, np.ndarray]:
    """The embeddings float32 [n, C, P] of rows by each of some methods, in their order. folder: of the run."""
    session.start()
    ray.data.DataContext.get_current().enable_progress_bars = False
    gpus = int(ray.cluster_resources().get("GPU", 0))
    workers = gpus or max(int(ray.cluster_resources().get("CPU", 1)), 1)
    numbered = rows.append_column("place", pa.array(np.arange(rows.num_rows)))
    blocks = [numbered.slice(start, _BLOCK).combine_chunks() for start in range(0, rows.num_rows, _BLOCK)]
    embedded = ray.data.from_arrow(blocks).map_batches(
        Embedder,
        fn_constructor_args=[str(folder), methods],
        batch_size=None,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=min(workers, len(blocks))),
        num_gpus=1 if gpus else 0,
    )
    found: dict[str, list[np.ndarray]] = {method: [] for method in methods}
    places = []
    with tqdm(total=rows.num_rows, unit="sequences", desc="embed", mininterval=2, smoothing=0) as bar:
        for batch in embedded.iter_batches(batch_size=None, batch_format="pyarrow"):
            places.append(batch["place"].to_numpy())
            for method in methods:
                found[method] += [chunk.to_numpy_ndarray() for chunk in batch[method].chunks]
            bar.update(batch.num_rows)
    order = np.argsort(np.concatenate(places))
    assert len(order) == rows.num_rows, "sequences got lost"
    return {method: np.concatenate(some)[order] for method, some in found.items()}


def pretrained_is_there(folder: Place) -> bool:
    """Whether the checkpoint that a run started from is still where it was."""
    return (at(read_start(folder).checkpoint) / "state.json").exists()


class Embedder:
    """Runs in a Ray actor: blocks of rows to blocks of embeddings."""

    def __init__(self, folder: str, methods: tuple[str, ...]) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        run = run_folder.read_settings(at(folder), FinetuneRun)
        self.methods, self.chunk = methods, run.clips.frames
        self.networks = {name: one.to(self.device) for name, one in _networks(at(folder), run, methods).items()}
        contours.use_one_thread()
        torch.set_num_threads(1)  # an actor a core

    def __call__(self, rows: pa.Table) -> pa.Table:
        walks = [walk_of(row) for row in rows.to_pylist()]
        table = rows.select(["place"])
        for method in self.methods:
            if method == GEI:
                values = np.stack([baselines.gei(frames) for frames, _ in walks])
            else:
                values = embed(self.networks[method], walks, self.chunk, self.device)
            tensors = pa.FixedShapeTensorArray.from_numpy_ndarray(np.ascontiguousarray(values))
            table = table.append_column(method, tensors)
        return table


def _networks(folder: Place, run: FinetuneRun, methods: tuple[str, ...]) -> dict[str, GaitNetwork]:
    """The networks of those methods that have one."""
    start, found = read_start(folder), {}
    torch.manual_seed(run.seed)
    if RANDOM in methods:
        found[RANDOM] = GaitNetwork(start.network)
    if PRETRAINED in methods:
        pretrained = run_folder.read_run(at(start.checkpoint))
        source = PartContrast(pretrained.network, pretrained.contrast)
        checkpoint.load_weights(at(start.checkpoint), source)
        found[PRETRAINED] = source.teacher
    if OWN in methods:
        module = start.module(run)
        checkpoint.load_weights(checkpoint.at_step(folder, run.schedule.steps), module)
        found[OWN] = module.teacher.network
    return found
