"""Driver of evaluation: each protocol of a store, for a run and its baselines; a page, tables, CSV files and MLflow."""

import hashlib
import json
import logging
import tempfile
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import chain
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
from evaluation.metrics import legend
from evaluation.reports import pictures
from evaluation.reports.rank1_bars import rank1_figure
from evaluation.reports.results import ResultRow, ZeroShot, to_frame, to_rows
from evaluation.reports.tables import to_markdown
from evaluation.retrieval.metrics import METRICS
from evaluation.retrieval.outcomes import ProtocolResult
from evaluation.retrieval.pooled import submission
from evaluation.retrieval.protocols import evaluate_protocol
from evaluation.retrieval.sequences import Sequences
from orchestration.cluster import session
from orchestration.embedding.embed import EmbedRun, Method, embed_store
from orchestration.embedding.gpus import Gpus, check_gpus
from orchestration.embedding.networks import PRETRAINED
from orchestration.embedding.sequences import decode_walk
from orchestration.embedding.table import EmbeddingTable, Form, read_table, recorded_precision
from orchestration.pages.evaluation_page import evaluation_page
from orchestration.run import checkpoint, lease, tracking
from orchestration.run.folder import read_run, tracked_run
from orchestration.run.precision import RequestedPrecision, resolved
from orchestration.run.serialise import to_json
from orchestration.scoring.scored_collections import scored, zero_shot

logger = logging.getLogger(__name__)

METHODS: tuple[Method, ...] = ("GEI", "GEI in strips", "hand-made statistics", "random initialisation", PRETRAINED)


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
    """Evaluate only these kinds of protocol; all that a collection declares if none is given."""
    probe_modality: Modality = "silhouette"
    """The modality of the probes."""
    gallery_modality: Modality = "silhouette"
    """The modality of the gallery: the same, or another one for retrieval across modalities."""
    form: Form = "float32"
    """Storage of the embeddings: numbers of four bytes, or of one with a scale for each body part."""
    precision: RequestedPrecision = "auto"
    """Of the matrix products of the encoder. auto: bf16 if all machines have it in hardware, else fp32."""
    gpus: Gpus = "auto"
    """The number of GPUs to embed on; 0: on the CPU. auto: all that Ray has. A cluster starts those that it lacks."""
    pictures: tuple[str, ...] | None = None
    """The collections whose curves, heat maps, sheets of walks and maps are drawn; all if none is given."""
    seed: int = 0
    """Of the random choice of walks for pictures."""
    embeddings: str | None = None
    """The folder in which the table of embeddings is kept and read again; deleted after use if none is given."""

    def __post_init__(self) -> None:
        check_gpus(self.gpus)


def evaluate(settings: EvaluateRun, uri: str) -> list[ResultRow]:
    """Evaluate every collection of the store that has a protocol; the rows also go to MLflow and the run's folder."""
    folder = storage.open_place(settings.run)
    run = read_run(folder)
    chosen = checkpoint.select(folder, settings.step)
    step = checkpoint.step_of(chosen)
    if settings.step is None and step < run.schedule.steps:
        logger.warning(f"the training of {folder} is not finished: evaluating step {step} of {run.schedule.steps}")
    store = Store.open(settings.shards)
    specs = scored(store, settings.split, run, settings.kinds)
    tags = {"job": "evaluate", "run": str(folder), "step": str(step)}
    if parent := tracked_run(folder):
        tags["mlflow.parentRunId"] = parent
    name = f"evaluate {folder.name} {settings.split}"
    kinds = zero_shot(run, [spec.name for spec in specs])
    with lease.hold(results_folder(settings), "jobs.evaluate"):
        session.start(meanwhile=partial(tracking.prepare, uri))
        table = _embed(settings, store, chosen, [spec.name for spec in specs])
        settings = replace(settings, precision=resolved(recorded_precision(table) or settings.precision))
        with tempfile.TemporaryDirectory() as made:
            rows, drawn = [], {}
            for spec in specs:
                found, drawn[spec.name] = _evaluate(spec, settings, kinds[spec.name], store, table, Path(made))
                rows += found
            _write_reports(settings, step, rows, drawn, Path(made))
            with tracking.open_run(uri, name, to_json(settings), tags) as tracker:
                tracker.log(0, {name: value for row in rows for name, value in row.tracked().items()})
                for path in sorted(Path(made).iterdir()):
                    tracker.attach(path)
                    (results_folder(settings) / path.name).move_from(path)
        if settings.embeddings is None:
            table.remove_folder()
        return rows


def _write_reports(
    settings: EvaluateRun, step: int, rows: list[ResultRow], drawn: dict[str, list[Path]], folder: Path
) -> None:
    """Write the results of all collections: a page, the same in Markdown, a table, and Rank-1 as bars."""
    to_frame(rows).to_csv(folder / "results.csv", index=False)
    rank1_figure(rows, folder / "rank1.png")
    name = storage.open_place(settings.run).name
    shown = (f"![{one.stem}]({one.name})" for one in [folder / "rank1.png", *chain(*drawn.values())])
    tables = f"{to_markdown(rows)}\n## Metrics"
    report = "\n\n".join([f"# {name}: {settings.split} split", tables, legend(METRICS), *shown]) + "\n"
    (folder / "report.md").write_text(report, encoding="utf-8")
    facts = [f"{settings.split} split", f"checkpoint of step {step:,}", str(storage.open_place(settings.shards))]
    page = evaluation_page(f"Evaluation of {name}", facts, rows, drawn)
    (folder / "report.html").write_text(page, encoding="utf-8")


def results_folder(settings: EvaluateRun) -> storage.Place:
    """Where the results lie. Other steps and other modalities have folders of their own, which no release reads."""
    folder = storage.open_place(settings.run) / "evaluation"
    modalities = (settings.probe_modality, settings.gallery_modality)
    between = "" if modalities == ("silhouette", "silhouette") else "-{}-in-{}".format(*modalities)
    if settings.step is None:
        return folder / (settings.split + between)
    return folder / f"steps/{settings.split}{between}-{settings.step:08d}"


def _embed(settings: EvaluateRun, store: Store, chosen: storage.Place, names: list[str]) -> storage.Place:
    """The table of all methods' embeddings of some collections."""
    given = EmbedRun(
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
    # Named by its settings, so that an evaluation that was killed continues with it.
    digest = hashlib.sha256(json.dumps([str(chosen), to_json(given)]).encode()).hexdigest()[:12]
    out = settings.embeddings or str(storage.open_place(settings.run) / f"embeddings/{digest}")
    return embed_store(replace(given, out=out, gpus=settings.gpus), store).place


def _evaluate(
    spec: CollectionSpec, settings: EvaluateRun, kind: ZeroShot, store: Store, place: storage.Place, made: Path
) -> tuple[list[ResultRow], list[Path]]:
    """The rows and pictures of one collection; these, and submissions for its owners, become files in `made`."""
    assert spec.protocol is not None, "collections without a protocol are left out before"
    table = read_table(place, spec.name)
    names = [table.names[column].to_pylist() for column in ("subject", "condition", "view")]
    between = table.names["modality"].to_pylist(), settings.probe_modality, settings.gallery_modality
    rows: list[ResultRow] = []
    results: dict[str, list[ProtocolResult]] = {}
    for method in table.methods:  # the embeddings of one at a time are in memory; the pictures are of the last one
        sequences = Sequences.of(table.embeddings(method), *names).between(*between)
        results[method] = evaluate_protocol(sequences, spec.protocol, settings.metric, settings.kinds)
        _submit(spec, settings, sequences, method, made)
        rows += to_rows(method, spec.name, results[method], kind if method == PRETRAINED else "")
    if settings.pictures is not None and spec.name not in settings.pictures:
        return rows, []
    frames_of, shown = Silhouettes(store, table), {method: sequences}
    drawn = pictures.draw(spec.name, spec.protocol, shown, results, settings.metric, frames_of, made, settings.seed)
    return rows, drawn


def _submit(spec: CollectionSpec, settings: EvaluateRun, sequences: Sequences, method: str, made: Path) -> None:
    """Write a submission for each probe set that the collection's owners evaluate themselves."""
    assert spec.protocol is not None
    for kind, probe_set in spec.protocol.scored():
        if kind != "submission" or (settings.kinds and kind not in settings.kinds):
            continue
        table = submission(sequences, spec.protocol, probe_set, settings.metric)
        if len(table):
            name = f"submission {spec.name} {probe_set.name} {method}.csv".replace(" ", "-")
            table.to_csv(made / name, index=False)


_FILES = 32  # files of the store that are kept in memory, a megabyte each


class Silhouettes:
    """The silhouettes of the sequences of a table, by their numbers."""

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
