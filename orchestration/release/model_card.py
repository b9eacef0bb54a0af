"""The model card of a released encoder, written from its run: data, training, results, intended use, limits.

Facts in, Markdown out. What is not known is said to be unknown; nothing is claimed that the run did not measure.
"""

from collections.abc import Mapping, Sequence

from evaluation.reports.tables import PAIRED
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


def write_card(run: PretrainRun, facts: Mapping[str, object], collections: Mapping[str, Mapping[str, object]]) -> str:
    """The card as Markdown.

    facts: `step`, `parameters` (of the encoder), `results` (a data frame's rows, by split). collections: entries of the
    manifest of the store that was trained on; empty where it could not be read.
    """
    lines = [
        f"# {run.recipe}: a gait encoder of FoundationGait",
        "",
        f"Size `{run.network.size}`, {facts['parameters']:,} parameters in the encoder, {_how(run)}.",
        f"An embedding has 31 body parts of {run.network.channels} channels.",
        "",
        "## Data",
        "",
        *_data(run, collections),
        "",
        "## Training",
        "",
        *_training(run, int(facts["step"])),
        "",
        "## Results",
        "",
        *_results(facts["results"]),
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


def _data(run: PretrainRun, collections: Mapping[str, Mapping[str, object]]) -> list[str]:
    if not run.schedule.steps:
        return ["- that of the published weights alone: see their publishers"]
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
    return lines if run.start is None else [*lines, "- before, that of the published weights: see their publishers"]


def _training(run: PretrainRun, trained: int) -> list[str]:
    lines, schedule = [], run.schedule
    if run.start is not None:
        lines.append(
            f"- started from the teacher in `{run.start}`, a checkpoint in OpenGait's format of the published encoder "
            "(Fan et al., arXiv 2303.03301; arXiv 2512.00691), whose licence and conditions hold on"
        )
    if schedule.steps:
        steps = f"{trained:,}" if trained == schedule.steps else f"{trained:,} of {schedule.steps:,}"
        lines += [
            f"- {steps} steps of {schedule.batch} pairs of clips of {run.clips.frames} frames, seed {run.seed}",
            "- no label of any kind was used",
            f"- AdamW, rate {schedule.lr:g}, weight decay {schedule.weight_decay:g}, {run.cluster.precision}",
        ]
    else:
        lines.append("- not a step was trained here: the weights are those of that file")
    return [*lines, "- all settings: `run.json`"]


def _program(run: PretrainRun) -> str:
    """How the exported program is fed."""
    lengths = _WHOLE if run.network.size in sizes.P3D else _CHUNKS
    return _PROGRAM.format(frames=run.clips.frames, channels=run.network.channels, lengths=lengths)


def _results(results: Mapping[str, Sequence[Mapping[str, object]]]) -> list[str]:
    if not any(results.values()):
        return ["Not evaluated."]
    cells = [["split", "collection", "protocol", "probe set", "method", "Rank-1 in %", "subjects"]]
    for split, rows in results.items():
        for row in rows:
            names = [str(row[name]) for name in ("collection", "probe_set", "method")]
            for protocol, rank1 in _rank1(row):
                cells.append([split, names[0], protocol, *names[1:], rank1, str(row["num_gallery_subjects"])])
    return [markdown_table(cells, labels=5)]


def _rank1(row: Mapping[str, object]) -> list[tuple[str, str]]:
    """Rank-1 as published evaluators count it, and what each number is measured on."""
    kind = str(row["kind"])
    if kind not in PAIRED:
        return [(kind.replace("-", " "), number(row["excluding_identical"]))]
    return [
        (f"different {PAIRED[kind]}s", number(row["excluding_identical"])),
        (f"identical {PAIRED[kind]}s", number(row["identical_only"])),
    ]
