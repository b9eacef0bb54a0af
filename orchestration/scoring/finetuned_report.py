"""What the report of a fine-tuned run says before its numbers: what was trained, on whom, and what flatters.

Words alone; the numbers are orchestration/scoring/finetuned.py's matter.
"""

import re

import pyarrow.compute as pc

from datasets.loading import labels as tasks
from evaluation.classification import census
from evaluation.classification.census import Side
from orchestration.scoring.finetuned_case import Case

_SAMPLING = {
    "people": "P people a batch with K sequences of each",
    "balanced": "classes take turns, so that rare ones are seen as often as frequent ones",
    "plain": "sequences as often as they are in the store: rare classes are rarely seen",
}
_TRAINED = {
    "head": "a linear probe: encoder and embedding stay as they were pretrained, and only the head is trained",
    "all": "encoder, embedding and head",
}


def head(case: Case) -> str:
    """The report up to its results, in Markdown."""
    run, positive = case.run, [one for one in case.start.questions if one.positive]
    lines = [
        f"# {run.task} on {', '.join(case.start.collections)}",
        "",
        f"- Trained: {_TRAINED[run.train]}.",
        f"- {run.schedule.steps:,} steps of {run.schedule.batch} clips, seed {run.seed}.",
        f"- Sampling: {_SAMPLING[run.data.sampling]}.",
        f"- Scored: the last checkpoint, on the {case.scoring.split} split. No checkpoint was chosen by its scores.",
    ]
    lines += [f"- {one.label}: found means {', '.join(one.positive)}; all else is not found." for one in positive]
    lines += [f"- {name}: split by {spec.partition}" for name, spec in case.specs.items() if spec.partition]
    blocks = ["\n".join(lines), "## Classes" if run.task != "identification" else "## People", *_counts(case)]
    people = tasks.people(case.train), tasks.people(case.test)
    return "\n\n".join([*blocks, "## People in both splits", census.leakage(*people, _anonymous(case))])


def _counts(case: Case) -> list[str]:
    """A table for each question; for identification how many people and sequences there are."""
    people = tasks.people(case.train), tasks.people(case.test)
    if case.run.task == "identification":
        sides = zip(("train", "test"), people, strict=True)
        return ["\n".join(f"- {name}: {len(who):,} sequences of {len(set(who)):,} people" for name, who in sides)]
    blocks = []
    for question in case.start.questions:
        sides = []
        for rows, who in zip((case.train, case.test), people, strict=True):
            labels = tuple(dict(one).get(question.label) for one in rows["labels"].to_pylist())
            sides.append(Side(labels=labels, people=tuple(who)))
        blocks.append(census.class_counts(question.label, question.classes, *sides))
    return blocks


def _anonymous(case: Case) -> list[str]:
    """A line for each collection in which a subject may be anybody."""
    said = []
    for name, spec in case.specs.items():
        mine = case.train.filter(pc.equal(case.train["collection"], name))["subject"].unique().to_pylist()
        if spec.anonymous and all(re.fullmatch(spec.anonymous, one) for one in mine):
            counts = {what: spec.published.get(what) for what in ("subjects", "sequences")}
            published = ""
            if all(counts.values()):
                published = f" ({counts['subjects']:,} people in {counts['sequences']:,} sequences)"
            said.append(
                f"{name}: a subject number stands for a sequence and not for a person{published}. Which of them show "
                "one person is not published, so somebody may be in both splits: leakage cannot be excluded, scores by "
                "subject are scores by sequence, and intervals are too narrow where people occur more than once."
            )
    return said
