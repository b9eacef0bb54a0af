"""Pairs of clips whose step is counted: drawn from a store, or made with as many tokens as real clips have."""

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.plain_loop import map_training_data, pairs_of
from datasets.loading.corpus import Corpus
from datasets.loading.pairs import PairBatch
from datasets.schema.rows import HEIGHT, WIDTH
from jobs.recipes import RECIPES
from model.sizes import CLIP_FRAMES
from model.tokens import GRID_COLUMNS, GRID_ROWS, TUBELET_FRAMES, TUBELET_HEIGHT, TUBELET_WIDTH


def made_pairs(pairs: int, kept: float) -> PairBatch:
    """Pairs whose clips have a share `kept` of their tubelets as tokens, all as many, at random places.

    Only the number of tokens of each clip and strip changes the work of a step, not what they show.
    """
    rng = np.random.default_rng(0)
    grid = (CLIP_FRAMES // TUBELET_FRAMES, GRID_ROWS, GRID_COLUMNS)
    size = int(np.prod(grid))
    order = rng.random((2 * pairs, size)).argsort(axis=1)
    mixed = (order < round(kept * size)).reshape(2 * pairs, grid[0], 1, GRID_ROWS, 1, GRID_COLUMNS, 1)
    first_row = (np.arange(TUBELET_HEIGHT) == 0)[None, None, None, None, :, None, None]
    shape = (2 * pairs, grid[0], TUBELET_FRAMES, GRID_ROWS, TUBELET_HEIGHT, GRID_COLUMNS, TUBELET_WIDTH)
    clips = np.broadcast_to(mixed & first_row, shape).astype(np.uint8)
    query, key = clips.reshape(2, pairs, CLIP_FRAMES, HEIGHT, WIDTH)
    times = np.broadcast_to(np.arange(CLIP_FRAMES, dtype=np.float32), (pairs, CLIP_FRAMES)).copy()
    return PairBatch(0, 0.0, ("made",) * pairs, np.arange(pairs), query, times, key, times)


def stored_pairs(shards: str, collection: str, pairs: int) -> PairBatch:
    """The first pairs, augmented as in training, that a run on one collection of a store draws."""
    run = RECIPES["xl"](shards, "")
    run = replace(
        run,
        data=replace(run.data, collections=(collection,)),
        schedule=replace(run.schedule, batch=pairs),
        cluster=replace(run.cluster, workers=1),
    )
    with tempfile.TemporaryDirectory() as folder:
        map_training_data(run, Path(folder))
        return pairs_of(run, Corpus(Path(folder))).at(0)
