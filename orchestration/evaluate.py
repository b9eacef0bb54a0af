"""Driver of evaluation: each protocol of a store, for a run and its baselines; table, CSV and MLflow out."""

import math
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from datasets import own, storage
from datasets.declared import declared_in
from datasets.manifest import read_manifest
from datasets.schema import CollectionSpec, UsageError
from evaluation import plots, tables
from evaluation.retrieval import single_view_gallery
from evaluation.tables import ResultRow
from orchestration import checkpoint, embed, run_folder, runs, tracking

SCORED = ("view-pairs",)  # the kinds of protocol that `evaluation` can score


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


def evaluate(settings: EvaluateRun, uri: str) -> list[ResultRow]:
    """Score every collection of the store that has a protocol; the rows also go to MLflow and the run's folder."""
    folder, store = storage.at(settings.run), storage.at(settings.shards)
    run = run_folder.read_run(folder)
    chosen = checkpoint.chosen(folder, settings.step)
    step = checkpoint.step_of(chosen)
    if settings.step is None and step < run.schedule.steps:
        print(f"{folder} is not trained to its end: these are its weights after step {step} of {run.schedule.steps}")
    rows = [row for spec in _scored(store, settings.split, run) for row in _score(spec, settings, run, chosen, store)]
    tags = {"job": "evaluate", "run": str(folder), "step": str(step)}
    if parent := run_folder.tracked_run(folder):
        tags["mlflow.parentRunId"] = parent
    with tracking.open_run(uri, f"evaluate {folder.name} {settings.split}", runs.to_json(settings), tags) as tracker:
        tracker.log(0, _metrics(rows))
        with tempfile.TemporaryDirectory() as made:
            tables.to_frame(rows).to_csv(Path(made) / "results.csv", index=False)
            plots.rank1_figure(rows, Path(made) / "rank1.png")
            for path in sorted(Path(made).iterdir()):
                tracker.attach(path)
                (results_folder(settings) / path.name).adopt(path)
    return rows


def results_folder(settings: EvaluateRun) -> storage.Place:
    """Where the results lie; those of a step that was asked for lie apart, a release does not tell of them."""
    folder = storage.at(settings.run) / "evaluation"
    return folder / settings.split if settings.step is None else folder / f"steps/{settings.split}-{settings.step:08d}"


def _scored(store: storage.Place, split: str, run: runs.PretrainRun) -> list[CollectionSpec]:
    """The collections of a store that have sequences of the split and a protocol that can be scored."""
    manifest = read_manifest(store)
    entries = manifest["collections"]
    if split == "holdout":
        names = {subject.split("/")[0] for subject in run.data.holdout} & set(entries)
    else:
        names = {name for name, entry in entries.items() if split in entry["splits"]}
    specs = [declared_in(manifest, name) for name in sorted(names)]
    unscored = [_without_protocol(spec.name) for spec in specs if spec.protocol is None and own.is_own(spec.name)]
    kinds = {spec.name: spec.protocol.kinds for spec in specs if spec.protocol is not None}
    for name, asked in kinds.items():
        if unknown := [kind for kind in asked if kind not in SCORED]:
            print(f"{name}: its protocol asks for {', '.join(unknown)} retrieval, which is not scored yet")
    scored = [spec for spec in specs if set(kinds.get(spec.name, ())) & set(SCORED)]
    if not scored:
        other = "test" if split == "holdout" else "holdout"
        fix = f"ingest a collection with a {' or '.join(SCORED)} protocol" if kinds else f"try --split {other}"
        if any(own.is_own(name) for name in entries):
            fix += ", or let a spec file say who is tested and how (docs/own-walks.md)"
        nothing = f"{store} has nothing to score in the split {split!r} of this run: {fix}"
        raise UsageError(unscored[0] if unscored else nothing)
    split_otherwise = [
        f"{spec.name} is split by {spec.partition}: compare its results with others on that partition alone"
        for spec in scored
        if spec.partition
    ]
    for line in unscored + split_otherwise:
        print(line)
    return scored


def _without_protocol(name: str) -> str:
    return (
        f"{name} has no protocol to be scored by: put `protocol` into a spec file and run the same ingest again, "
        f"with --spec {name}=<json> (docs/own-walks.md)"
    )


def _score(
    spec: CollectionSpec, settings: EvaluateRun, run: runs.PretrainRun, chosen: storage.Place, store: storage.Place
) -> list[ResultRow]:
    rows = embed.sequences_of(store, spec.name, settings.split, run)
    table = embed.embed_rows(rows, chosen)
    results = []
    for method, embeddings in table.embeddings.items():
        scored = single_view_gallery(
            embeddings, table.subjects, table.conditions, table.views, spec.protocol, settings.metric
        )
        results += tables.from_tables(method, spec.name, scored)
    return results


def _metrics(rows: list[ResultRow]) -> dict[str, float]:
    """Metrics named `<method>/<collection>/<probe set>/rank1_<which>`; missing numbers are left out."""
    metrics = {}
    for row in rows:
        for which in ("excluding_identical", "identical_only"):
            value = getattr(row, which)
            if not math.isnan(value):
                metrics[f"{row.method}/{row.collection}/{row.probe_set}/rank1_{which}"] = value
    return metrics
