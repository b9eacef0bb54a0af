"""Driver of embedding: Ray Data from shards to a table of embeddings, one column a method.

Actors hold the networks; each block of sequences is decoded once and goes through every method. Weights are read from
the checkpoint by each actor.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import ray
import torch
from tqdm import tqdm

from datasets import clips, contours, corpus, manifest
from datasets.schema import UsageError
from datasets.storage import Place, at
from evaluation import baselines
from model.embedding import embed
from model.network import GaitNetwork
from model.objective import PartContrast
from orchestration import checkpoint, session
from orchestration.run_folder import read_run
from orchestration.runs import PretrainRun

METHODS = ("GEI", "GEI in strips", "random initialisation", "pretrained")
_BLOCK = 32  # sequences an actor embeds at once


@dataclass(frozen=True, eq=False)
class EmbeddingTable:
    """Embeddings float32 [n, C, P] by method, and the sequences they are of."""

    subjects: list[str]
    conditions: list[str]
    views: list[str]
    embeddings: dict[str, np.ndarray]


def sequences_of(store: Place, collection: str, split: str, run: PretrainRun) -> pa.Table:
    """The rows to evaluate on: a split, or `holdout`, the subjects that the run held back from its training."""
    if split != "holdout":
        rows = manifest.read_rows(store, [collection], split)
        if rows.num_rows == 0:
            raise UsageError(
                f"{store} has no sequences of {collection} in its {split} split: evaluate a run that held "
                "subjects back with --split holdout, or ingest the whole collection"
            )
        return rows
    mine = [subject for subject in run.data.holdout if subject.startswith(f"{collection}/")]
    if not mine:
        raise UsageError(f"{run.out} held no subject of {collection} back: evaluate with --split test")
    rows = manifest.read_rows(store, [collection], "train")
    return rows.filter(corpus.held_out(rows["sequence_id"], mine))


def walk_of(row: dict[str, object], most: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The frames of a row as the encoder takes them, and their numbers; no more than `most`, from the first."""
    frames = np.arange(min(row["num_frames"], most or row["num_frames"]))
    masks = clips.to_input(contours.decode(corpus.contours_of(row), frames))
    return masks, np.asarray(row["frame_numbers"], dtype=np.float32)[frames]


def embed_rows(rows: pa.Table, newest: Place) -> EmbeddingTable:
    """Every method's embeddings of the rows, with the weights of a checkpoint."""
    checkpoint.load_weights(newest, PartContrast(read_run(newest).network, read_run(newest).contrast))
    session.start()
    ray.data.DataContext.get_current().enable_progress_bars = False
    workers = max(int(ray.cluster_resources().get("CPU", 1)), 1)
    gpus = int(ray.cluster_resources().get("GPU", 0))
    blocks = [rows.slice(start, _BLOCK).combine_chunks() for start in range(0, rows.num_rows, _BLOCK)]
    embedded = ray.data.from_arrow(blocks).map_batches(
        Embedder,
        fn_constructor_args=[str(newest)],
        batch_size=None,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=min(gpus or workers, len(blocks))),
        num_gpus=1 if gpus else 0,
    )
    results = []
    with tqdm(total=rows.num_rows, unit="sequences", desc="embed", mininterval=2, smoothing=0) as bar:
        for batch in embedded.iter_batches(batch_size=None, batch_format="pyarrow"):
            results.append(batch)
            bar.update(batch.num_rows)
    table = pa.concat_tables(results).sort_by("sequence_id")
    assert table["sequence_id"].to_pylist() == sorted(rows["sequence_id"].to_pylist()), "sequences got lost"
    names = {name: table[name].to_pylist() for name in ("subject", "condition", "view")}
    return EmbeddingTable(*names.values(), {method: _unpack(table, method) for method in METHODS})


class Embedder:
    """Runs in a Ray actor: blocks of rows to blocks of embeddings."""

    def __init__(self, newest: str) -> None:
        run = read_run(at(newest))
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.chunk = run.clips.frames
        torch.manual_seed(run.seed)  # the weights that the run started from
        untrained, trained = (PartContrast(run.network, run.contrast) for _ in range(2))
        checkpoint.load_weights(at(newest), trained)
        self.networks: dict[str, GaitNetwork] = {
            "random initialisation": untrained.teacher.to(self.device),
            "pretrained": trained.teacher.to(self.device),
        }
        contours.use_one_thread()
        torch.set_num_threads(1)  # an actor a core

    def __call__(self, rows: pa.Table) -> pa.Table:
        sequences = [walk_of(row) for row in rows.to_pylist()]
        result = {
            "GEI": np.stack([baselines.gei(frames) for frames, _ in sequences]),
            "GEI in strips": np.stack([baselines.gei_strips(frames) for frames, _ in sequences]),
        }
        for method, network in self.networks.items():
            result[method] = embed(network, sequences, self.chunk, self.device)
        table = rows.select(["sequence_id", "subject", "condition", "view"])
        for method, embeddings in result.items():
            table = table.append_column(method, _pack(embeddings))
        return table


def _pack(embeddings: np.ndarray) -> pa.Array:
    """[n, C, P] as one tensor column."""
    return pa.FixedShapeTensorArray.from_numpy_ndarray(np.ascontiguousarray(embeddings))


def _unpack(table: pa.Table, column: str) -> np.ndarray:
    return np.concatenate([chunk.to_numpy_ndarray() for chunk in table[column].chunks])
