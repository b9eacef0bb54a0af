"""Driver of evaluation: each protocol of a store, for a run and its baselines; table, CSV and MLflow out."""

import hashlib
import json
import logging
import math
import tempfile
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from datasets import storage
from datasets.schema.collection import CollectionSpec
from datasets.schema.protocol import ProtocolKind
from datasets.schema.rows import FRAME_COLUMNS, Modality
from datasets.store.files import read_file
from datasets.store.reader import Store
from evaluation.reports import markdown, rank1_bars, tables
from evaluation.reports import pictures as report
from evaluation.reports.tables import ResultRow
from evaluation.retrieval.protocols import score
from evaluation.retrieval.sequences import Sequences
from evaluation.retrieval.submission import submission
from orchestration.embedding import embed
from orchestration.embedding import table as embeddings
from orchestration.embedding.embed import Method
from orchestration.embedding.networks import PRETRAINED
from orchestration.embedding.sequences import decode_walk
from orchestration.embedding.table import EmbeddingTable, Form
from orchestration.run import checkpoint, tracking
from orchestration.run import folder as run_folder
from orchestration.run.serialise import to_json
from orchestration.run.settings import Precision
from orchestration.scoring.collections import ZeroShot, scored, zero_shot

logger = logging.getLogger(__name__)

METHODS: tuple[Method, ...] = ("GEI", "GEI in strips", "hand-made statistics", "random initialisation", PRETRAINED)
_METRICS = ("rank1", "rank1_low", "rank1_high", "rank5", "rank10", "rank20", "map", "map_low", "map_high", "minp")


@dataclass(frozen=True, kw_only=True)
class EvaluateRun:
    """Which run to evaluate, and on what."""

    run: str
    """The folder that `jobs.pretrain` wrote."""
    shards: str
    """The store to evaluate on."""
    split: Literal["test", "holdout"] = "test"
    """The collection's test split, or the subjects that the run held back from its training."""
    step: int | None = None
    """The checkpoint to evaluate, by the steps behind it; the newest if none is given."""
    metric: Literal["euc", "cos"] = "euc"
    """Distance between embeddings: the mean over parts of Euclidean or of cosine distances."""
    kinds: tuple[ProtocolKind, ...] = ()
    """Score only these kinds of protocol; all that a collection declares if none is given."""
    probe_modality: Modality = "silhouette"
    """What shows the probes."""
    gallery_modality: Modality = "silhouette"
    """What shows the gallery: the same, or another one, and then both are compared across modalities."""
    form: Form = "float32"
    """How embeddings are kept for scoring: numbers of four bytes, or of one with a scale for each body part."""
    precision: Precision = "fp32"
    """Of the matrix products of the encoder."""
    pictures: bool = True
    """Whether curves, heat maps, sheets of walks and maps are drawn beside the tables."""
    seed: int = 0
    """Of the walks that are drawn for pictures."""
    embeddings: str | None = None
    """Where the table of embeddings stays, to be read the next time; it goes once there are scores if none is given."""


def evaluate(settings: EvaluateRun, uri: str) -> list[ResultRow]:
    """Score every collection of the store that has a protocol; the rows also go to MLflow and the run's folder."""
    folder = storage.open_place(settings.run)
    run = run_folder.read_run(folder)
    chosen = checkpoint.select(folder, settings.step)
    step = checkpoint.step_of(chosen)
    if settings.step is None and step < run.schedule.steps:
        logger.warning(
            f"{folder} is not trained to its end: these are its weights after step {step} of {run.schedule.steps}"
        )
    store = Store.open(settings.shards)
    specs = scored(store, settings.split, run, settings.kinds)
    tags = {"job": "evaluate", "run": str(folder), "step": str(step)}
    if parent := run_folder.tracked_run(folder):
        tags["mlflow.parentRunId"] = parent
    name = f"evaluate {folder.name} {settings.split}"
    strangers = zero_shot(run, [spec.name for spec in specs])
    table = _embed(settings, store, chosen, [spec.name for spec in specs])
    with tempfile.TemporaryDirectory() as made:
        rows = [row for spec in specs for row in _score(spec, settings, strangers[spec.name], store, table, Path(made))]
        tables.to_frame(rows).to_csv(Path(made) / "results.csv", index=False)
        (Path(made) / "report.md").write_text(
            _report(settings, rows, sorted(Path(made).glob("*.png"))), encoding="utf-8"
        )
        rank1_bars.rank1_figure(rows, Path(made) / "rank1.png")
        with tracking.open_run(uri, name, to_json(settings), tags) as tracker:
            tracker.log(0, _metrics(rows))
            for path in sorted(Path(made).iterdir()):
                tracker.attach(path)
                (results_folder(settings) / path.name).move_from(path)
    if settings.embeddings is None:
        table.remove_folder()
    return rows


def _report(settings: EvaluateRun, rows: list[ResultRow], pictures: list[Path]) -> str:
    """The tables and the pictures on one page."""
    shown = "\n\n".join(f"![{one.stem}]({one.name})" for one in [Path("rank1.png"), *pictures])
    return (
        f"# {storage.open_place(settings.run).name}: {settings.split} split\n\n{markdown.to_markdown(rows)}\n{shown}\n"
    )


def results_folder(settings: EvaluateRun) -> storage.Place:
    """Where the results lie; what was asked for beside the newest step's silhouettes lies apart, and in no release."""
    folder = storage.open_place(settings.run) / "evaluation"
    modalities = (settings.probe_modality, settings.gallery_modality)
    between = "" if modalities == ("silhouette", "silhouette") else "-{}-in-{}".format(*modalities)
    if settings.step is None:
        return folder / (settings.split + between)
    return folder / f"steps/{settings.split}{between}-{settings.step:08d}"


def _embed(settings: EvaluateRun, store: Store, chosen: storage.Place, names: list[str]) -> storage.Place:
    """The table of all methods' embeddings of some collections."""
    given = embed.EmbedRun(
        run=settings.run,
        shards=settings.shards,
        out="",
        split=settings.split,
        collections=tuple(names),
        modalities=tuple(sorted({settings.probe_modality, settings.gallery_modality})),
        step=settings.step,
        methods=METHODS,
        form=settings.form,
        precision=settings.precision,
    )
    # One of its own for whatever is asked: an evaluation that was killed goes on from it.
    asked = hashlib.sha256(json.dumps([str(chosen), to_json(given)]).encode()).hexdigest()[:12]
    out = settings.embeddings or str(storage.open_place(settings.run) / f"embeddings/{asked}")
    return embed.embed_store(replace(given, out=out), store).place


def _score(
    spec: CollectionSpec, settings: EvaluateRun, kind: ZeroShot, store: Store, place: storage.Place, made: Path
) -> list[ResultRow]:
    """The rows of one collection; pictures, and what its owners score themselves, become files in `made`."""
    table = embeddings.read_table(place, spec.name)
    names = [table.names[column].to_pylist() for column in ("subject", "condition", "view")]
    between = table.names["modality"].to_pylist(), settings.probe_modality, settings.gallery_modality
    results, scores = [], {}
    for method in table.methods:  # the embeddings of one at a time are in memory; the pictures are of the last one
        sequences = Sequences.of(table.embeddings(method), *names).between(*between)
        scores[method] = score(sequences, spec.protocol, settings.metric, settings.kinds)
        _submit(spec, settings, sequences, method, made)
        stranger = kind if method == PRETRAINED else ""
        results += [replace(row, zero_shot=stranger) for row in tables.from_scores(method, spec.name, scores[method])]
    if settings.pictures:
        frames_of = Silhouettes(store, table)
        report.draw(
            spec.name, spec.protocol, {method: sequences}, scores, settings.metric, frames_of, made, settings.seed
        )
    return results


def _submit(spec: CollectionSpec, settings: EvaluateRun, sequences: Sequences, method: str, made: Path) -> None:
    """Write what the collection's owners score themselves: a file for each of their probe sets."""
    for kind, probe_set in spec.protocol.scored():
        if kind != "submission" or (settings.kinds and kind not in settings.kinds):
            continue
        table = submission(sequences, spec.protocol, probe_set, settings.metric)
        if len(table):
            name = f"submission {spec.name} {probe_set.name} {method}.csv".replace(" ", "-")
            table.to_csv(made / name, index=False)


def _metrics(rows: list[ResultRow]) -> dict[str, float]:
    """Metrics named `<method>/<collection>/<kind>/<probe set>/<score>`; missing numbers are left out.

    Rank-1 as published evaluators count it is `<method>/<collection>/<probe set>/rank1_<which>` for pairs of views.
    """
    metrics = {}
    for row in rows:
        place = f"{row.method}/{row.collection}"
        metrics |= {f"{place}/{row.kind}/{row.probe_set}/{name}": getattr(row, name) for name in _METRICS}
        if row.kind == "view-pairs":
            for which in ("excluding_identical", "identical_only"):
                metrics[f"{place}/{row.probe_set}/rank1_{which}"] = getattr(row, which)
    return {name: value for name, value in metrics.items() if not math.isnan(value)}


_FILES = 32  # of the store that are kept, a megabyte each


class Silhouettes:
    """The walks of a table, by number."""

    def __init__(self, store: Store, table: EmbeddingTable) -> None:
        self._table = table
        self._ids = table.names["sequence_id"]
        files = {file["path"]: file for file in store.files()}

        @lru_cache(maxsize=_FILES)
        def read(path: str) -> pa.Table:
            return read_file(store.place, files[path], ["sequence_id", "num_frames", *FRAME_COLUMNS])

        self._read = read

    def __call__(self, number: int) -> np.ndarray:
        """The frames of a sequence, uint8 0/1 [T, 64, 44]."""
        rows = self._read(self._table.shard_of(number))
        (row,) = rows.filter(pc.equal(rows["sequence_id"], self._ids[number])).slice(0, 1).to_pylist()
        return decode_walk(row)[0]
