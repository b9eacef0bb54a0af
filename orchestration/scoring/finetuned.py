"""Driver of the evaluation of a fine-tuned run, on people it was not trained on: tables, a report, and MLflow.

Classes are evaluated by sequence and by subject, beside the majority class and linear probes of the gait energy image,
of random weights and of the pretrained embedding; identification by each collection's own protocol. The report's text
about the data is written in orchestration/scoring/finetuned_report.py.
"""

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.compute as pc
import torch

from datasets.loading.labels import class_indices, subjects_of
from datasets.schema.errors import UsageError
from datasets.schema.rows import WALK_COLUMNS, Modality
from datasets.storage import Place
from datasets.store.reader import Store
from datasets.store.selection import held_out, of_modalities, training_rows
from evaluation.classification import class_table, metrics
from evaluation.classification.class_table import ClassRow, class_rows, confusion_markdown
from evaluation.classification.predictions import Predictions, class_probabilities
from evaluation.classification.probe import majority, probe
from evaluation.metrics import legend
from evaluation.reports.confusion import confusion_figure
from evaluation.reports.results import ResultRow, to_frame, to_rows
from evaluation.reports.tables import to_text
from evaluation.retrieval.metrics import METRICS
from evaluation.retrieval.protocols import evaluate_protocol
from evaluation.retrieval.sequences import Sequences
from evaluation.text_table import escape
from orchestration.embedding.networks import TUNED
from orchestration.run import checkpoint, lease, tracking
from orchestration.run.finetune_settings import FinetuneRun, Start, read_start
from orchestration.run.folder import folder_of, tracked_run, with_absolute_paths
from orchestration.run.serialise import to_json
from orchestration.scoring.finetuned_inputs import (
    Inputs,
    Scoring,
    embed_split,
    embeddings_by_method,
    methods_of,
    of_rows,
)
from orchestration.scoring.finetuned_report import head

MAJORITY = "majority class"
_MODALITIES: tuple[Modality, ...] = ("silhouette",)  # fine-tuning trains on silhouettes alone


def score(run: FinetuneRun, scoring: Scoring, uri: str) -> str:
    """Evaluate a trained run; its tables go to <run>/evaluation/<split> and MLflow. Returns the report in Markdown."""
    run = with_absolute_paths(run)
    folder = folder_of(run)
    inputs = _inputs(run, read_start(folder), scoring)
    tags = {"job": "score", "task": run.task, "run": run.out}
    if parent := tracked_run(folder):
        tags["mlflow.parentRunId"] = parent
    with lease.hold(results_folder(run, scoring), "jobs.finetune"), tempfile.TemporaryDirectory() as made:
        tracked, body = (_identify if run.task == "identification" else _classify)(inputs, Path(made))
        text = f"{head(inputs)}\n\n{body}\n"
        (Path(made) / "report.md").write_text(text, encoding="utf-8")
        with tracking.open_run(uri, f"score {folder.name} {scoring.split}", to_json(scoring), tags) as tracker:
            tracker.log(0, tracked)
            for path in sorted(Path(made).iterdir()):
                tracker.attach(path)
                (results_folder(run, scoring) / path.name).move_from(path)
    return text


def results_folder(run: FinetuneRun, scoring: Scoring) -> Place:
    """Where the results lie."""
    return folder_of(run) / f"evaluation/{scoring.split}"


def _inputs(run: FinetuneRun, start: Start, scoring: Scoring) -> Inputs:
    store = Store.open(run.shards)
    if scoring.split == "holdout":
        if not run.data.holdout:
            raise UsageError(f"{run.out} held out no subject (--data.holdout): score it with --split test")
        test = store.rows(start.collections, "train")
        test = test.filter(held_out(test["sequence_id"], run.data.holdout))
    else:
        test = store.rows(start.collections, "test")
    test = test.filter(of_modalities(test, _MODALITIES))
    if not test.num_rows:
        raise UsageError(
            f"{run.shards} has no sequences of {', '.join(start.collections)} in its test split: ingest the whole "
            "collection, or hold subjects back with --data.holdout and score them with --split holdout"
        )
    train = training_rows(store, replace(run.data.selection, collections=start.collections), WALK_COLUMNS)
    specs = store.specs(start.collections)
    return Inputs(store=store, run=run, start=start, scoring=scoring, train=train, test=test, specs=specs)


def _identify(inputs: Inputs, made: Path) -> tuple[dict[str, float], str]:
    """Evaluate each collection with a protocol: the metrics to track, and the text of the report.

    A table of results is written to `made`.
    """
    rows: list[ResultRow] = []
    notes, methods = [], methods_of(inputs)
    place = embed_split(inputs, inputs.scoring.split, methods)
    for name, spec in inputs.specs.items():
        mine = inputs.test.filter(pc.equal(inputs.test["collection"], name))
        if spec.protocol is None or not mine.num_rows:
            notes.append(f"{name} has no protocol, or no test sequences: it is not scored")
            continue
        names = [mine[column].to_pylist() for column in ("subject", "condition", "view")]
        for method in methods:
            sequences = Sequences.of(of_rows(place, mine, method, name), *names)
            rows += to_rows(method, name, evaluate_protocol(sequences, spec.protocol, inputs.scoring.metric))
    place.remove_folder()
    if not rows:
        split = inputs.scoring.split
        raise UsageError(f"none of {', '.join(inputs.specs)} has a protocol to be scored by in its {split}")
    to_frame(rows).to_csv(made / "results.csv", index=False)
    tracked = {name: value for row in rows for name, value in row.tracked().items()}
    lines = ["## Results", "", "```", to_text(rows), "```", *notes, "", "## Metrics", "", legend(METRICS)]
    return tracked, "\n".join(lines)


def _classify(inputs: Inputs, made: Path) -> tuple[dict[str, float], str]:
    """Evaluate each label: the metrics to track, and the text of the report.

    Tables of results and of answers, and a figure of confusion, are written to `made`.
    """
    test, train = embeddings_by_method(inputs)
    logits, labels = _logits(inputs, test[TUNED]), inputs.start.labels
    rows: list[ClassRow] = []
    answered = []
    for number, label in enumerate(labels):
        first = sum(len(one.classes) for one in labels[:number])
        own = class_probabilities(logits[:, first : first + len(label.classes)])
        found, table = _evaluate_label(
            inputs, number, _baselines(inputs, number, train, test) | {_own_name(inputs): own}
        )
        rows += found
        answered.append(table)
    class_table.to_frame(rows).to_csv(made / "results.csv", index=False)
    pd.concat(answered).to_csv(made / "answers.csv", index=False)
    mine = [row for row in rows if row.method == _own_name(inputs) and row.level == "sequence"]
    matrices = {f"{row.collection}: {row.question}": row.confusion for row in mine}
    text = ["## Results", "Percent [95% interval over subjects].", class_table.to_markdown(rows)]
    text += ["## Metrics", legend(metrics.METRICS), "## Confusion of sequences"]
    text += [f"### {escape(title)}\n\n{confusion_markdown(one)}" for title, one in matrices.items()]
    if matrices:
        confusion_figure(matrices, made / "confusion.png")
        text.append("![confusion](confusion.png)")
    return {name: value for row in rows for name, value in row.tracked().items()}, "\n\n".join(text)


def _logits(inputs: Inputs, embeddings: np.ndarray) -> np.ndarray:
    """Logits [n, K, P] of embeddings [n, C, P] by the head that is evaluated."""
    module = inputs.start.module(inputs.run)
    checkpoint.load_weights(checkpoint.at_step(folder_of(inputs.run), inputs.run.schedule.steps), module)
    with torch.inference_mode():
        return module.teacher.head(torch.from_numpy(embeddings).transpose(1, 2)).numpy()


def _baselines(
    inputs: Inputs, number: int, train: dict[str, np.ndarray], test: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Class probabilities [n, K] of all test rows for one label by each baseline; none where none are wanted."""
    if not inputs.scoring.baselines:
        return {}
    label = inputs.start.labels[number]
    truth, classes = class_indices([label], inputs.train)[:, 0], len(label.classes)
    known, who = truth >= 0, np.asarray(subjects_of(inputs.train))
    found = {MAJORITY: majority(truth[known], inputs.test.num_rows, classes)}
    balanced = inputs.run.data.sampling == "balanced"
    for method, features in train.items():
        given = features[known], truth[known], who[known].tolist(), test[method]
        found[f"probe of {method}"] = probe(*given, classes, balanced)
    return found


def _evaluate_label(
    inputs: Inputs, number: int, by_method: dict[str, np.ndarray]
) -> tuple[list[ClassRow], pd.DataFrame]:
    """Rows for each collection from class probabilities [n, K], and the run's answer for each sequence."""
    label = inputs.start.labels[number]
    numbers = class_indices([label], inputs.test)[:, 0]
    collections = np.asarray(inputs.test["collection"].to_pylist())
    who = np.asarray(subjects_of(inputs.test))
    rows: list[ClassRow] = []
    for name in inputs.specs:
        mine = np.flatnonzero((numbers >= 0) & (collections == name))
        if not len(mine):
            continue
        truth = [label.classes[one] for one in numbers[mine]]
        for method, values in by_method.items():
            predictions = Predictions.of(values[mine], truth, who[mine].tolist(), label.classes, label.positive)
            rows += class_rows(method, name, label.name, predictions)
    own = by_method[_own_name(inputs)]
    columns = {
        "sequence_id": inputs.test["sequence_id"].to_pylist(),
        "question": label.name,
        "truth": [label.classes[one] if one >= 0 else None for one in numbers],
        "answer": [label.classes[one] for one in own.argmax(axis=1)],
    }
    columns |= {f"p_{name}": own[:, column] for column, name in enumerate(label.classes)}
    return rows, pd.DataFrame(columns)


def _own_name(inputs: Inputs) -> str:
    return "linear probe, trained here" if inputs.run.train == "head" else TUNED
