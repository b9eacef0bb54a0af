"""Driver of the scores of a fine-tuned run, on people it was not trained on: tables, a report, and MLflow.

Classes are scored by sequence and by subject, beside the majority class and linear probes of the gait energy image, of
random weights and of the pretrained embedding; identification by each collection's own protocol. What the report says
of the data is in orchestration/scoring/finetuned_report.py.
"""

import math
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.compute as pc
import torch

from datasets.loading import labels as tasks
from datasets.schema.errors import UsageError
from datasets.schema.rows import WALK_COLUMNS
from datasets.storage import Place
from datasets.store.reader import Store
from datasets.store.selection import held_out, of_modalities, training_rows
from evaluation.classification import census
from evaluation.classification import tables as class_tables
from evaluation.classification.intervals import SCORES
from evaluation.classification.probe import majority, probe
from evaluation.classification.scores import Classification, probabilities
from evaluation.classification.tables import ClassRow, class_rows
from evaluation.reports import tables
from evaluation.reports.confusion import confusion_figure
from evaluation.retrieval.protocols import score as score_protocol
from evaluation.retrieval.sequences import Sequences
from orchestration.embedding.networks import TUNED
from orchestration.run import checkpoint, tracking
from orchestration.run import folder as run_folder
from orchestration.run.finetune_settings import FinetuneRun, Start, read_start
from orchestration.run.folder import folder_of
from orchestration.run.serialise import to_json
from orchestration.scoring.finetuned_case import Case, Scoring, embed_split, embedded, methods_of, of_rows
from orchestration.scoring.finetuned_report import head

MAJORITY = "majority class"


def score(run: FinetuneRun, scoring: Scoring, uri: str) -> str:
    """Score a trained run; its tables go to <run>/evaluation/<split> and MLflow. Returns the report in Markdown."""
    run = run_folder.with_absolute_paths(run)
    folder = folder_of(run)
    case = _case(run, read_start(folder), scoring)
    tags = {"job": "score", "task": run.task, "run": run.out}
    if parent := run_folder.tracked_run(folder):
        tags["mlflow.parentRunId"] = parent
    with tempfile.TemporaryDirectory() as made:
        metrics, body = (_identify if run.task == "identification" else _classify)(case, Path(made))
        text = f"{head(case)}\n\n{body}\n"
        (Path(made) / "report.md").write_text(text, encoding="utf-8")
        with tracking.open_run(uri, f"score {folder.name} {scoring.split}", to_json(scoring), tags) as tracker:
            tracker.log(0, metrics)
            for path in sorted(Path(made).iterdir()):
                tracker.attach(path)
                (results_folder(run, scoring) / path.name).move_from(path)
    return text


def results_folder(run: FinetuneRun, scoring: Scoring) -> Place:
    """Where the results lie."""
    return folder_of(run) / f"evaluation/{scoring.split}"


def _case(run: FinetuneRun, start: Start, scoring: Scoring) -> Case:
    store = Store.open(run.shards)
    if scoring.split == "holdout":
        if not run.data.holdout:
            raise UsageError(f"{run.out} held no subject back (--data.holdout): score it with --split test")
        test = store.rows(start.collections, "train")
        test = test.filter(held_out(test["sequence_id"], run.data.holdout))
    else:
        test = store.rows(start.collections, "test")
    test = test.filter(of_modalities(test, ("silhouette",)))  # as it was trained
    if not test.num_rows:
        raise UsageError(
            f"{run.shards} has no sequences of {', '.join(start.collections)} in its test split: ingest the whole "
            "collection, or hold subjects back with --data.holdout and score them with --split holdout"
        )
    train = training_rows(store, replace(run.data.selection, collections=start.collections), WALK_COLUMNS)
    specs = store.specs(start.collections)
    return Case(store=store, run=run, start=start, scoring=scoring, train=train, test=test, specs=specs)


def _identify(case: Case, made: Path) -> tuple[dict[str, float], str]:
    """Each collection with a protocol; a table that is written to `made`, and what is to be said."""
    rows, said, methods = [], [], methods_of(case)
    place = embed_split(case, case.scoring.split, methods)
    for name, spec in case.specs.items():
        mine = case.test.filter(pc.equal(case.test["collection"], name))
        if spec.protocol is None or not mine.num_rows:
            said.append(f"{name} has no protocol, or no test sequences: it is not scored")
            continue
        names = [mine[column].to_pylist() for column in ("subject", "condition", "view")]
        for method in methods:
            embedded = of_rows(place, mine, method, name)
            scores = score_protocol(Sequences.of(embedded, *names), spec.protocol, case.scoring.metric)
            rows += tables.from_scores(method, name, scores)
    place.remove_folder()
    if not rows:
        raise UsageError(f"none of {', '.join(case.specs)} has a protocol to be scored by in its {case.scoring.split}")
    tables.to_frame(rows).to_csv(made / "results.csv", index=False)
    metrics = {
        f"{row.method}/{row.collection}/{row.kind}/{row.probe_set}/{name}": getattr(row, name)
        for row in rows
        for name in ("rank1", "rank1_low", "rank1_high", "map")
    }
    text = "\n".join(["## Results", "", "```", tables.render(rows), "```", *said])
    return _known(metrics), text


def _classify(case: Case, made: Path) -> tuple[dict[str, float], str]:
    """Each question; tables that are written to `made`, and what is to be said."""
    test, train = embedded(case)
    logits = _logits(case, test[TUNED])
    rows, answered = [], []
    for number, question in enumerate(case.start.questions):
        of_question = slice(sum(len(one.classes) for one in case.start.questions[:number]), None)
        own = probabilities(logits[:, of_question][:, : len(question.classes)])
        scores = _baselines(case, number, train, test) | {_own_name(case): own}
        found, table = _score_question(case, number, scores)
        rows += found
        answered.append(table)
    class_tables.to_frame(rows).to_csv(made / "results.csv", index=False)
    pd.concat(answered).to_csv(made / "answers.csv", index=False)
    own = [row for row in rows if row.method == _own_name(case) and row.level == "sequence"]
    matrices = [
        f"### {row.collection}: {row.question}\n\n{census.confusion(_classes(case, row.question), row.confusion)}"
        for row in own
    ]
    drawn = {f"{row.collection}: {row.question}": _classification(_classes(case, row.question), row) for row in own}
    if drawn:
        confusion_figure(drawn, made / "confusion.png")
    names = f"Share in percent, [95% interval over subjects]; {', '.join(SCORES[1:4])} are means over classes."
    text = ["## Results", names, class_tables.markdown(rows), "## Confusion of sequences", *matrices]
    text += ["![confusion](confusion.png)"] if drawn else []
    return _known(_metrics(rows)), "\n\n".join(text)


def _logits(case: Case, embeddings: np.ndarray) -> np.ndarray:
    """Logits [n, K, P] of embeddings [n, C, P] by the head that is evaluated."""
    module = case.start.module(case.run)
    checkpoint.load_weights(checkpoint.at_step(folder_of(case.run), case.run.schedule.steps), module)
    with torch.inference_mode():
        return module.teacher.head(torch.from_numpy(embeddings).transpose(1, 2)).numpy()


def _baselines(
    case: Case, number: int, train: dict[str, np.ndarray], test: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Scores [n, K] of all test rows for one question, by who knows less; none where no baselines are wanted."""
    if not case.scoring.baselines:
        return {}
    question = case.start.questions[number]
    labels, classes = tasks.answers([question], case.train)[:, 0], len(question.classes)
    known, who = labels >= 0, np.asarray(tasks.people(case.train))
    found = {MAJORITY: majority(labels[known], case.test.num_rows, classes)}
    balanced = case.run.data.sampling == "balanced"
    for method, features in train.items():
        given = features[known], labels[known], who[known], test[method], classes, balanced
        found[f"probe of {method}"] = probe(*given)
    return found


def _score_question(case: Case, number: int, scores: dict[str, np.ndarray]) -> tuple[list[ClassRow], pd.DataFrame]:
    """Rows for each collection, and what the run answered for each sequence."""
    question = case.start.questions[number]
    labels = tasks.answers([question], case.test)[:, 0]
    collections = np.asarray(case.test["collection"].to_pylist())
    who = np.asarray(tasks.people(case.test))
    rows = []
    for name in case.specs:
        mine = np.flatnonzero((labels >= 0) & (collections == name))
        if not len(mine):
            continue
        truth = [question.classes[label] for label in labels[mine]]
        for method, values in scores.items():
            given = values[mine], truth, who[mine].tolist(), question.classes, question.positive
            rows += class_rows(method, name, question.label, *given)
    own = scores[_own_name(case)]
    columns = {
        "sequence_id": case.test["sequence_id"].to_pylist(),
        "question": question.label,
        "truth": [question.classes[label] if label >= 0 else None for label in labels],
        "answer": [question.classes[place] for place in own.argmax(axis=1)],
    }
    columns |= {f"p_{name}": own[:, place] for place, name in enumerate(question.classes)}
    return rows, pd.DataFrame(columns)


def _own_name(case: Case) -> str:
    return "linear probe, trained here" if case.run.train == "head" else TUNED


def _classes(case: Case, label: str) -> tuple[str, ...]:
    (found,) = (one.classes for one in case.start.questions if one.label == label)
    return found


def _classification(classes: tuple[str, ...], row: ClassRow) -> Classification:
    """A row's confusion, to be drawn."""
    rest = {"sensitivity": row.sensitivity, "specificity": row.specificity, "auroc": row.auroc}
    return Classification(classes=classes, confusion=np.asarray(row.confusion), **rest)


def _metrics(rows: list[ClassRow]) -> dict[str, float]:
    """Metrics named `<method>/<collection>/<question>/<level>/<score>`; MLflow takes no brackets and no commas."""
    found = {}
    for row in rows:
        place = f"{row.method}/{row.collection}/{row.question}/{row.level}".replace(",", "")
        place = place.replace("(", "by ").replace(")", "")
        found |= {f"{place}/{name}{end}": getattr(row, name + end) for name in SCORES for end in ("", "_low", "_high")}
    return found


def _known(metrics: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if not math.isnan(value)}
