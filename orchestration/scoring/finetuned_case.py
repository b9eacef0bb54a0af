"""What is scored of a fine-tuned run, and the embeddings that it is scored on."""

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
    """What a fine-tuned run is scored on, and beside what."""

    split: Literal["test", "holdout"] = "test"
    """The test split of the collections, or the subjects that the run held back: choose settings on these alone."""
    baselines: bool = True
    """Whether the same is read off simpler features, which takes an embedding of the training rows, too."""
    metric: Literal["euc", "cos"] = "euc"
    """Distance between embeddings, for identification."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """A trained run, and the rows that it was trained on (WALK_COLUMNS) and is scored on (all columns)."""

    store: Store
    run: FinetuneRun
    start: Start
    scoring: Scoring
    train: pa.Table
    test: pa.Table
    specs: Mapping[str, CollectionSpec]


def methods_of(case: Case) -> tuple[Method, ...]:
    """The embeddings that are compared. A probe leaves the pretrained one as it is, so that it is the run's own."""
    if not case.scoring.baselines:
        return (TUNED,)
    if case.run.train == "head":
        return ("GEI", RANDOM, TUNED)
    if not (open_place(case.start.checkpoint) / "state.json").exists():
        logger.warning(f"{case.start.checkpoint} is gone: the pretrained embedding is not compared")
        return ("GEI", RANDOM, TUNED)
    return ("GEI", RANDOM, PRETRAINED, TUNED)


def embed_split(case: Case, split: Split, methods: tuple[Method, ...]) -> Place:
    """A table of the embeddings of a split by some methods, in the run's folder."""
    run = case.run
    out = folder_of(run) / f"embeddings/{split}-{run.schedule.steps}-{'-'.join(methods).replace(' ', '-')}"
    given = {"split": split, "collections": case.start.collections, "methods": methods}
    return embed_store(EmbedRun(run=run.out, shards=run.shards, out=str(out), **given), case.store).place


def of_rows(place: Place, rows: pa.Table, method: Method, collection: str | None = None) -> np.ndarray:
    """The embeddings [n, C, P] of some rows (of one collection, where it is named) by one method of a table."""
    table = read_table(place, collection)
    there = pc.is_in(table.names["sequence_id"], rows["sequence_id"].combine_chunks()).to_numpy()
    assert there.sum() == rows.num_rows, "both are in order of sequence_id, and the table has all of the rows"
    return table.embeddings(method)[np.flatnonzero(there)]


def embedded(case: Case) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The embeddings [n, C, P] of the test rows by method, and of the training rows by those that are probed."""
    found: list[dict[str, np.ndarray]] = []
    methods = methods_of(case)
    simple = tuple(method for method in methods if method != TUNED)
    for split, rows, which in ((case.scoring.split, case.test, methods), ("train", case.train, simple)):
        place = embed_split(case, split, which) if which else None
        found.append({method: of_rows(place, rows, method) for method in which})
        if place:
            place.remove_folder()
    return found[0], found[1]
