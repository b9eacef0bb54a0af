"""The inputs of the evaluation of a fine-tuned run: its settings, its rows, and their embeddings."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from datasets.schema.collection import CollectionSpec
from datasets.storage import Place, open_place
from datasets.store.reader import Store
from orchestration.embedding.embed import EmbedRun, Method, Split, embed_store
from orchestration.embedding.networks import PRETRAINED, RANDOM, TUNED
from orchestration.embedding.table import read_table
from orchestration.run.finetune_settings import FinetuneRun, Start
from orchestration.run.folder import folder_of

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """On which rows a fine-tuned run is evaluated, and against which baselines."""

    split: Literal["test", "holdout"] = "test"
    """The test split of the collections, or the subjects that the run held back: choose settings on these alone."""
    baselines: bool = True
    """Whether linear probes of simpler features are evaluated too; they need embeddings of the training rows."""
    metric: Literal["euc", "cos"] = "euc"
    """Distance between embeddings, for identification."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Inputs:
    """A trained run, and the rows that it was trained on (WALK_COLUMNS) and is evaluated on (all columns)."""

    store: Store
    run: FinetuneRun
    start: Start
    scoring: Scoring
    train: pa.Table
    test: pa.Table
    specs: Mapping[str, CollectionSpec]


def methods_of(inputs: Inputs) -> tuple[Method, ...]:
    """The embeddings that are compared. Where only the head was trained, the run's own embedding is the pretrained."""
    if not inputs.scoring.baselines:
        return (TUNED,)
    if inputs.run.train == "head":
        return ("GEI", RANDOM, TUNED)
    if not (open_place(inputs.start.checkpoint) / "state.json").exists():
        logger.warning(f"{inputs.start.checkpoint} is gone: the pretrained embedding is not compared")
        return ("GEI", RANDOM, TUNED)
    return ("GEI", RANDOM, PRETRAINED, TUNED)


def embed_split(inputs: Inputs, split: Split, methods: tuple[Method, ...]) -> Place:
    """A table of the embeddings of a split by some methods, in the run's folder."""
    run = inputs.run
    out = folder_of(run) / f"embeddings/{split}-{run.schedule.steps}-{'-'.join(methods).replace(' ', '-')}"
    asked = EmbedRun(
        run=run.out,
        shards=run.shards,
        out=str(out),
        split=split,
        collections=inputs.start.collections,
        methods=methods,
    )
    return embed_store(asked, inputs.store).place


def of_rows(place: Place, rows: pa.Table, method: Method, collection: str | None = None) -> np.ndarray:
    """The embeddings [n, C, P] of some rows (of one collection, where it is named) by one method of a table."""
    table = read_table(place, collection)
    wanted = pc.is_in(table.names["sequence_id"], rows["sequence_id"].combine_chunks()).to_numpy()
    assert wanted.sum() == rows.num_rows, "both are in order of sequence_id, and the table has all of the rows"
    return table.embeddings(method)[np.flatnonzero(wanted)]


def embeddings_by_method(inputs: Inputs) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The embeddings [n, C, P] of the test rows by method, and of the training rows by the methods that are probed."""
    methods = methods_of(inputs)
    test = _embed_rows(inputs, inputs.scoring.split, inputs.test, methods)
    probed = tuple(method for method in methods if method != TUNED)
    return test, _embed_rows(inputs, "train", inputs.train, probed) if probed else {}


def _embed_rows(inputs: Inputs, split: Split, rows: pa.Table, methods: tuple[Method, ...]) -> dict[str, np.ndarray]:
    """The embeddings [n, C, P] of some rows of a split by method; the table of the split is deleted afterwards."""
    place = embed_split(inputs, split, methods)
    found: dict[str, np.ndarray] = {method: of_rows(place, rows, method) for method in methods}
    place.remove_folder()
    return found
