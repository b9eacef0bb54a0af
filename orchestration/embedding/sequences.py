"""The sequences of a store that are embedded: which rows, and which subjects a run held out."""

import numpy as np
import pyarrow as pa

from datasets.contours import codec
from datasets.contours.codec import contours_of
from datasets.preprocessing.encoder_input import to_input
from datasets.schema.errors import UsageError
from datasets.storage import Place
from datasets.store.reader import Row, read_rows
from datasets.store.selection import held_out, of_modalities
from model.embedding import MAX_FRAMES
from orchestration.run.finetune_settings import FinetuneRun
from orchestration.run.settings import PretrainRun


def walk_of(row: Row, most: int = MAX_FRAMES) -> tuple[np.ndarray, np.ndarray]:
    """The frames of a row as the encoder takes them, and their numbers; no more than `most`, from the first."""
    frames = np.arange(min(row["num_frames"], most))
    masks = to_input(codec.decode(contours_of(row), frames))
    return masks, np.asarray(row["frame_numbers"], dtype=np.float32)[frames]


def held_back(store: Place, collection: str, run: PretrainRun) -> pa.Table:
    """The rows of a collection's subjects that the run held back from its training; UsageError where there are none.

    Of its modalities the first.
    """
    rows = read_rows(store, [collection], "train")
    rows = rows.filter(of_modalities(rows, run.data.modalities[:1]))
    return rows.filter(held_out(rows["sequence_id"], _held_back(run, (collection,))))


def _held_back(run: PretrainRun | FinetuneRun, collections: tuple[str, ...] | None) -> list[str]:
    """The subjects that the run held back, of some collections; of all where None."""
    mine = [one for one in run.data.holdout if collections is None or one.split("/")[0] in collections]
    if not mine:
        which = "" if collections is None else f" of {', '.join(collections)}"
        raise UsageError(f"{run.out} held no subject{which} back: take another --split, such as test")
    return mine
