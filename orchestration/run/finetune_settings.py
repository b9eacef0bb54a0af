"""The settings of a run of fine-tuning, and what it found when it began: its network, its questions, its collections.

The settings go where those of pretraining go; what was found lies beside them in the run's folder, so that the run goes
on, and can be read, without the pretrained one.

    <run>/start.json        what the run started from
"""

import json
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from datasets.loading.clips import ClipSettings
from datasets.loading.labels import Question, TaskName
from datasets.schema.errors import UsageError
from datasets.storage import Place
from datasets.store.selection import Selection
from model.network import NetworkSettings
from model.objectives.classification import Classifier, HeadSettings, TrainedPart
from orchestration.run.serialise import build, to_json
from orchestration.run.settings import Cluster, Keep, Run, Schedule

START_FILE = "start.json"
Sampling = Literal["people", "balanced", "plain"]


@dataclass(frozen=True, kw_only=True)
class LabelledData:
    """Which sequences of the store are trained on (those of the train split with a label), and in what order."""

    collections: tuple[str, ...] | None = None  # those with labels of the task where None
    holdout: tuple[str, ...] = ()  # subjects kept to choose settings by, as <collection>/<subject>
    # people: P people with `each` sequences; balanced: classes take turns; plain: as often as they are in the store
    sampling: Sampling = "balanced"
    each: int = 4  # sequences of a person in a batch, where people are sampled

    def __post_init__(self) -> None:
        if self.each < 1:
            raise UsageError(f"--data.each {self.each} must be at least 1")

    @property
    def selection(self) -> Selection:
        """The rows that training may see, with a label or not: silhouettes."""
        return Selection(collections=self.collections, holdout=self.holdout)


@dataclass(frozen=True, kw_only=True)
class FinetuneRun(Run):
    """One run of fine-tuning: everything that its result depends on."""

    items: ClassVar[str] = "clips"

    recipe: str  # the name that the run is recorded under
    task: TaskName
    run: str  # the pretrained run that it starts from, the folder that `jobs.pretrain` wrote
    step: int | None = None  # which of its checkpoints, by the steps behind it; the newest where None
    shards: str  # the store to train on
    out: str  # the run's folder
    train: TrainedPart = "all"  # the head alone is a linear probe: the encoder and its embedding stay as they are
    seed: int = 0
    data: LabelledData = field(default_factory=LabelledData)
    clips: ClipSettings = field(default_factory=ClipSettings)
    head: HeadSettings = field(default_factory=HeadSettings)
    schedule: Schedule = field(default_factory=Schedule)
    keep: Keep = field(default_factory=Keep)
    cluster: Cluster = field(default_factory=Cluster)

    def __post_init__(self) -> None:
        if not self.schedule.steps:
            raise UsageError("--schedule.steps 0 trains nothing: give at least 1, or evaluate the pretrained run")
        if self.data.sampling == "people" and self.schedule.batch % self.data.each:
            raise UsageError(
                f"--schedule.batch {self.schedule.batch} is no multiple of --data.each {self.data.each}: a batch is "
                "whole people"
            )
        if self.task == "identification" and self.data.sampling == "balanced":
            raise UsageError("--data.sampling balanced is for classes: identification takes people, or plain")
        if self.task == "attributes" and self.data.sampling == "balanced":
            raise UsageError("--data.sampling balanced is for one question, and attributes are several: take plain")
        if self.head.triplet and self.data.sampling == "people" and self.data.each < 2:
            raise UsageError("--data.each 1 leaves triplets no positive: give at least 2, or --head.triplet 0")
        self.check_shares()


@dataclass(frozen=True)
class Start:
    """What a run of fine-tuning found when it began.

    network: of the pretrained run. checkpoint: where its weights lay. collections: that it trains on.
    """

    network: NetworkSettings
    checkpoint: str
    collections: tuple[str, ...]
    questions: tuple[Question, ...]

    def module(self, run: FinetuneRun) -> Classifier:
        """The module of a run that starts so, with random weights."""
        return Classifier(self.network, [len(one.classes) for one in self.questions], run.head, run.train)


def write_start(folder: Place, start: Start) -> None:
    """Keep it in the run's folder."""
    (folder / START_FILE).write(json.dumps(to_json(start), indent=1).encode())


def read_start(folder: Place) -> Start:
    """What a run's folder says; UsageError where it says nothing."""
    try:
        return build(Start, json.loads((folder / START_FILE).read()), str(folder / START_FILE))
    except OSError as error:
        raise UsageError(f"{folder} is no run of fine-tuning (no {START_FILE})") from error
