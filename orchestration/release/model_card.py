"""The model card of a released encoder, written from its run: data, training, results, intended use, limits.

The card names what is unknown as unknown, and claims nothing that the run did not measure.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from datasets.store.reader import CollectionEntry
from evaluation.reports.results import PAIRED
from evaluation.text_table import markdown_table, number
from model import sizes
from orchestration.run.settings import PretrainRun

_USE = """\
Research on gait: embedding walking silhouettes, to compare walks by person (retrieval) and as features for further
study (posture, health). Input are binary silhouettes of one walking person, cropped, scaled to 64 rows and centred on
44 columns, in order of time."""

_PROGRAM = """\
Clips as long as those of training, uint8 0 or 1 [B, {frames}, 64, 44], and the numbers of their frames, float32
[B, {frames}], to embeddings [B, {channels}, 31], each part of unit length, with torch alone:

    program = torch.export.load("encoder.pt2").module()
    embeddings = program(clips, times)

{lengths}"""

_CHUNKS = """\
A longer walk needs the program that made this folder, which pools one embedding from all of its clips:
`model.release.load_release("<folder>").embed(walks)`."""

_WHOLE = "A walk is embedded in one piece: clips may also be shorter or longer than that."

_LIMITS = """\
- A gait embedding can identify people without their knowledge. Keep to the agreements under which the training
  data were released, to the law, and to the consent of the people filmed; not for surveillance or decisions on people.
- No diagnosis: nothing here was validated for clinical use.
- Accuracy falls with clothes, bags, cameras and segmentation unlike those of the training data, and for people unlike
  those filmed there; it was not measured by age, sex or origin.
- Numbers hold for the protocols and subjects named above, and for no others."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Facts:
    """The released checkpoint: its step, the number of its encoder's parameters, and results.csv of each split."""

    step: int
    parameters: int
    results: Mapping[str, pd.DataFrame]


def write_card(run: PretrainRun, facts: Facts, collections: Mapping[str, CollectionEntry]) -> str:
    """The card as Markdown.

    collections: entries of the manifest of the store that was trained on; empty where it could not be read.
    """
    lines = [
        f"# {run.recipe}: a gait encoder of FoundationGait",
        "",
        f"Size `{run.network.size}`, {facts.parameters:,} parameters in the encoder, {_how(run)}.",
        f"An embedding has 31 body parts of {run.network.channels} channels.",
        "",
        "## Data",
        "",
        *_data(run, collections),
        "",
        "## Training",
        "",
        *_training(run, facts.step),
        "",
        "## Results",
        "",
        *_results(facts.results),
        "",
        "## Use",
        "",
        _program(run),
        "",
        "## Intended use",
        "",
        _USE,
        "",
        "## Limits",
        "",
        _LIMITS,
        "",
    ]
    return "\n".join(lines)


def _how(run: PretrainRun) -> str:
    if run.start is None:
        return "pretrained without labels"
    return "trained further from published weights, without labels" if run.schedule.steps else "as it is published"


def _data(run: PretrainRun, collections: Mapping[str, CollectionEntry]) -> list[str]:
    if not run.schedule.steps:
        return ["- the data of the published weights alone: see their publishers"]
    wanted = run.data.collections or tuple(collections)
    lines = []
    for name in wanted:
        entry = collections.get(name)
        train = entry["splits"].get("train") if entry else None
        counted = f"{train['sequences']:,} sequences, {train['frames']:,} frames" if train else "counts not known"
        cited = f". Cite: {entry['citation']}" if entry and entry.get("citation") else ""
        lines.append(f"- {name}, train split: {counted}{cited}")
    if run.data.holdout:
        lines.append(f"- of these, held back for validation: {', '.join(run.data.holdout)}")
    lines = lines or ["- not known: the store could not be read when this card was written"]
    return (
        lines
        if run.start is None
        else [*lines, "- before these, the data of the published weights: see their publishers"]
    )


def _training(run: PretrainRun, trained: int) -> list[str]:
    lines, schedule = [], run.schedule
    if run.start is not None:
        lines.append(
            f"- started from the teacher in `{run.start}`, a checkpoint in OpenGait's format of the published encoder "
            "(Fan et al., arXiv 2303.03301; arXiv 2512.00691); its licence and conditions still apply"
        )
    if schedule.steps:
        steps = f"{trained:,}" if trained == schedule.steps else f"{trained:,} of {schedule.steps:,}"
        lines += [
            f"- {steps} steps of {schedule.batch} pairs of clips of {run.clips.frames} frames, seed {run.seed}",
            "- no label of any kind was used",
            f"- AdamW, learning rate {schedule.lr:g}, weight decay {schedule.weight_decay:g}, {run.cluster.precision}",
        ]
    else:
        lines.append("- no further training: the weights are those of that file")
    return [*lines, "- all settings: `run.json`"]


def _program(run: PretrainRun) -> str:
    """The inputs and outputs of the exported program."""
    lengths = _WHOLE if run.network.size in sizes.P3D else _CHUNKS
    return _PROGRAM.format(frames=run.clips.frames, channels=run.network.channels, lengths=lengths)


def _results(results: Mapping[str, pd.DataFrame]) -> list[str]:
    if not any(map(len, results.values())):
        return ["Not evaluated."]
    cells = [["split", "collection", "protocol", "probe set", "method", "Rank-1 in %", "subjects"]]
    for split, table in results.items():
        for _, row in table.iterrows():
            names = [str(row[name]) for name in ("collection", "probe_set", "method")]
            for protocol, rank1 in _rank1(row):
                cells.append([split, names[0], protocol, *names[1:], rank1, str(row["num_gallery_subjects"])])
    return [markdown_table(cells, labels=5)]


def _rank1(row: pd.Series) -> list[tuple[str, str]]:
    """What each number is measured on, and Rank-1 as published evaluators count it."""
    kind = str(row["kind"])
    if kind not in PAIRED:
        return [(kind.replace("-", " "), number(row["excluding_identical"]))]
    return [
        (f"different {PAIRED[kind]}s", number(row["excluding_identical"])),
        (f"identical {PAIRED[kind]}s", number(row["identical_only"])),
    ]
