"""Sequences of a store to embeddings: which rows a run held out, their frames, and batches of them."""

from collections.abc import Iterable
from itertools import islice

import numpy as np
import pyarrow as pa
import torch

from datasets.contours import codec
from datasets.contours.codec import contours_of
from datasets.preprocessing.encoder_input import to_input
from datasets.schema.errors import UsageError
from datasets.store.files import Row
from datasets.store.reader import Store
from datasets.store.selection import held_out, of_modalities
from model.embedding import MAX_FRAMES, Walk, embed
from model.network import GaitNetwork
from orchestration.run.finetune_settings import FinetuneRun
from orchestration.run.precision import Precision
from orchestration.run.settings import PretrainRun

BATCH = 32  # sequences, or clips, that are embedded together


def decode_walk(row: Row, max_frames: int = MAX_FRAMES) -> Walk:
    """The first frames of a row as the encoder takes them, uint8 0/1 [T, 64, 44], and their numbers, float32 [T]."""
    frames = np.arange(min(row["num_frames"], max_frames))
    masks = to_input(codec.decode(contours_of(row), frames))
    return masks, np.asarray(row["frame_numbers"], dtype=np.float32)[frames]


def embed_rows(
    network: GaitNetwork,
    rows: pa.Table,
    chunk_frames: int,
    device: torch.device,
    precision: Precision,
    max_frames: int = MAX_FRAMES,
) -> np.ndarray:
    """Embeddings of the first frames of some rows, float32 [n, C, P]; a batch of them is decoded at a time."""
    batches = (rows.slice(start, BATCH).to_pylist() for start in range(0, rows.num_rows, BATCH))
    walks = (decode_walk(row, max_frames) for batch in batches for row in batch)
    return embed_walks(network, walks, chunk_frames, device, precision)


def embed_walks(
    network: GaitNetwork,
    walks: Iterable[Walk],
    chunk_frames: int,
    device: torch.device,
    precision: Precision,
    batch: int = BATCH,
) -> np.ndarray:
    """Embeddings of whole sequences, float32 [n, C, P], in batches. precision: of the matrix products."""
    left, embedded = iter(walks), []
    while some := list(islice(left, batch)):
        with autocast(device, precision):
            embedded.append(embed(network, some, chunk_frames, device))
    return np.concatenate(embedded)


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """The context in which a network computes with a precision."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")


def held_out_rows(store: Store, collection: str, run: PretrainRun) -> pa.Table:
    """The rows of the subjects of a collection that the run held out of its training, in its first modality.

    UsageError where there are none.
    """
    rows = store.rows([collection], "train")
    rows = rows.filter(of_modalities(rows, run.data.modalities[:1]))
    return rows.filter(held_out(rows["sequence_id"], held_out_subjects(run, (collection,))))


def held_out_subjects(run: PretrainRun | FinetuneRun, collections: tuple[str, ...] | None) -> list[str]:
    """The subjects that the run held out, of some collections; of all where None. UsageError where there are none."""
    mine = [one for one in run.data.holdout if collections is None or one.split("/")[0] in collections]
    if not mine:
        which = "" if collections is None else f" of {', '.join(collections)}"
        raise UsageError(f"{run.out} held out no subject{which}: take another --split, such as test")
    return mine
