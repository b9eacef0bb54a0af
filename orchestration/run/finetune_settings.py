"""The settings of a fine-tuning run, and what it resolved at its start: network, collections and labels.

What was resolved is stored in the run's folder, so that the run can be resumed and read without the pretrained one.

    <run>/start.json
"""

import json
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from datasets.loading.clips import ClipSettings
from datasets.loading.labels import Label, TaskName
from datasets.schema.errors import UsageError
from datasets.storage import Place, read_json
from datasets.store.selection import Selection
from model.network import NetworkSettings
from model.objectives.classification import Classifier, HeadSettings, TrainedPart
from orchestration.run.serialise import to_json
from orchestration.run.settings import Cluster, Keep, Run, Schedule

START_FILE = "start.json"
Sampling = Literal["people", "balanced", "plain"]


@dataclass(frozen=True, kw_only=True)
class LabelledData:
    """The sequences to train on (of the train split, with a label), and how batches are sampled from them."""

    collections: tuple[str, ...] | None = None  # those with labels of the task if None
    holdout: tuple[str, ...] = ()  # subjects kept to tune settings on, as <collection>/<subject>
    # people: P people with `each` (K) sequences; balanced: all classes equally often; plain: all sequences equally
    sampling: Sampling = "balanced"
    each: int = 4  # sequences per person in a batch, if people are sampled

    def __post_init__(self) -> None:
        if self.each < 1:
            raise UsageError(f"--data.each {self.each} must be at least 1")

    @property
    def selection(self) -> Selection:
        """The rows that training may see, with a label or not: silhouettes."""
        return Selection(collections=self.collections, holdout=self.holdout)


@dataclass(frozen=True, kw_only=True)
class FinetuneRun(Run):
    """A fine-tuning run: everything that its result depends on."""

    items: ClassVar[str] = "clips"

    recipe: str  # name of the run in MLflow
    task: TaskName
    run: str  # pretrained run to start from: the folder that `jobs.pretrain` wrote
    step: int | None = None  # step of its checkpoint; the newest if None
    shards: str  # store to train on
    out: str  # folder of the run
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
                f"--schedule.batch {self.schedule.batch} is no multiple of --data.each {self.data.each}: a batch "
                "holds all sequences of each of its people"
            )
        if self.task == "identification" and self.data.sampling == "balanced":
            raise UsageError("--data.sampling balanced is for classes: identification takes people, or plain")
        if self.task == "attributes" and self.data.sampling == "balanced":
            raise UsageError("--data.sampling balanced is for one question, and attributes are several: take plain")
        if self.head.triplet and self.data.sampling == "people" and self.data.each < 2:
            raise UsageError("--data.each 1 leaves triplets no positive: give at least 2, or --head.triplet 0")
        self.check_seed()
        self.check_shares()


@dataclass(frozen=True)
class Start:
    """What a fine-tuning run resolved at its start.

    network: of the pretrained run. checkpoint: path of its weights. collections: to train on.
    """

    network: NetworkSettings
    checkpoint: str
    collections: tuple[str, ...]
    labels: tuple[Label, ...]

    def module(self, run: FinetuneRun) -> Classifier:
        """The module of such a run, with random weights."""
        return Classifier(self.network, [len(one.classes) for one in self.labels], run.head, run.train)


def write_start(folder: Place, start: Start) -> None:
    """Write start.json into the run's folder."""
    (folder / START_FILE).write(json.dumps(to_json(start), indent=1).encode())


def read_start(folder: Place) -> Start:
    """Read start.json from the run's folder; UsageError if there is none."""
    try:
        mend = "the labels of its classes are lost: fine-tune again, with another --out"
        return read_json(Start, folder / START_FILE, mend)
    except OSError as error:
        raise UsageError(f"{folder} is not the folder of a fine-tuning run (no {START_FILE})") from error
