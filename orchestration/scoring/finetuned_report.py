"""The report of a fine-tuned run before its results: what was trained on whom, class imbalance, and data leakage."""

import re

import pyarrow.compute as pc

from datasets.loading.labels import subjects_of
from evaluation.classification import census
from evaluation.classification.census import Side
from orchestration.scoring.finetuned_inputs import Inputs

_SAMPLING = {
    "people": "P people a batch with K sequences of each",
    "balanced": "every class equally often, however rare it is",
    "plain": "every sequence equally often: rare classes are rarely seen",
}
_TRAINED = {
    "head": "a linear probe: the head alone; encoder and embedding are frozen",
    "all": "encoder, embedding and head",
}


def head(inputs: Inputs) -> str:
    """The report up to its results, in Markdown."""
    run, positive = inputs.run, [label for label in inputs.start.labels if label.positive]
    lines = [
        f"# {run.task} on {', '.join(inputs.start.collections)}",
        "",
        f"- Trained: {_TRAINED[run.train]}.",
        f"- {run.schedule.steps:,} steps of {run.schedule.batch} clips, seed {run.seed}.",
        f"- Sampling: {_SAMPLING[run.data.sampling]}.",
        f"- Scored: the last checkpoint, on the {inputs.scoring.split} split. No checkpoint was chosen by its scores.",
    ]
    lines += [f"- {label.name}: found means {', '.join(label.positive)}; all else is not found." for label in positive]
    lines += [f"- {name}: split by {spec.partition}" for name, spec in inputs.specs.items() if spec.partition]
    blocks = ["\n".join(lines), "## Classes" if run.task != "identification" else "## People", *_counts(inputs)]
    leakage = census.leakage(subjects_of(inputs.train), subjects_of(inputs.test), _anonymous(inputs))
    return "\n\n".join([*blocks, "## People in both splits", leakage])


def _counts(inputs: Inputs) -> list[str]:
    """A table for each label; for identification the numbers of people and sequences."""
    splits = {"train": inputs.train, "test": inputs.test}
    if inputs.run.task == "identification":
        whose = {name: subjects_of(rows) for name, rows in splits.items()}
        lines = (f"- {name}: {len(who):,} sequences of {len(set(who)):,} people" for name, who in whose.items())
        return ["\n".join(lines)]
    blocks = []
    for label in inputs.start.labels:
        sides = []
        for rows in splits.values():
            classes = tuple(dict(one).get(label.name) for one in rows["labels"].to_pylist())
            sides.append(Side(labels=classes, people=tuple(subjects_of(rows))))
        blocks.append(census.class_counts(label.name, label.classes, *sides))
    return blocks


def _anonymous(inputs: Inputs) -> list[str]:
    """A line for each collection whose subject numbers do not stand for people."""
    lines = []
    for name, spec in inputs.specs.items():
        mine = inputs.train.filter(pc.equal(inputs.train["collection"], name))["subject"].unique().to_pylist()
        if spec.anonymous and all(re.fullmatch(spec.anonymous, one) for one in mine):
            counts = {what: spec.published.get(what) for what in ("subjects", "sequences")}
            published = ""
            if all(counts.values()):
                published = f" ({counts['subjects']:,} people in {counts['sequences']:,} sequences)"
            lines.append(
                f"{name}: a subject number stands for a sequence and not for a person{published}. Which of them show "
                "one person is not published, so a person may be in both splits: leakage cannot be excluded, metrics "
                "by subject are metrics by sequence, and intervals are too narrow where people occur more than once."
            )
    return lines
