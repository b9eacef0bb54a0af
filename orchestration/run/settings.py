"""The settings of training runs: those that all runs have, and those of pretraining.

Their JSON (serialise.py) goes into the run's folder, into each checkpoint, to every rank and to MLflow. The comment
behind a field is its text in --help.
"""

from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal, get_args

from pydantic import Field

from datasets.loading.clips import ClipSettings
from datasets.loading.pairs import Positives
from datasets.loading.sampler import Mixing
from datasets.schema.errors import UsageError
from datasets.schema.rows import Modality
from datasets.store.selection import Selection
from model import sizes
from model.network import NetworkSettings
from model.objectives.pairs import ShareUnit
from model.objectives.part_contrast import ContrastSettings
from model.objectives.part_regression import RegressionSettings
from orchestration.run.device import RequestedDevice
from orchestration.run.precision import RequestedPrecision

# What a network can be pretrained by. To add an objective, add its settings to the union.
_Objectives = ContrastSettings | RegressionSettings
ObjectiveSettings = Annotated[_Objectives, Field(discriminator="name")]
OBJECTIVES: dict[str, type[_Objectives]] = {kind.name: kind for kind in get_args(_Objectives)}


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """The sequences to train on (of the train split, without held-out subjects), and how pairs are drawn from them."""

    collections: tuple[str, ...] | None = None  # all in the store if None
    leave_out: tuple[str, ...] = ()  # collections not to train on, so that they are scored as unseen
    modalities: tuple[Modality, ...] = ("silhouette",)  # checkpoints are scored on the first (see Score)
    holdout: tuple[str, ...] = ()  # subjects kept for validation, as <collection>/<subject>
    # A positive pair: two clips of one sequence, or of one walk seen by two cameras (or in two modalities) at once
    positives: Positives = "clip"
    mixing: Mixing = "step"  # whether a batch is of one collection (step) or of several
    unique: int | None = None  # number of sequences to train on (datasets/store/selection.py); all if None

    def __post_init__(self) -> None:
        if self.unique is not None and self.unique < 1:
            raise UsageError(f"--data.unique {self.unique} must be at least 1")
        if both := sorted(set(self.collections or ()) & set(self.leave_out)):
            raise UsageError(f"--data.leave-out {both[0]} is among --data.collections: name it in one of them")
        if not self.modalities or len(set(self.modalities)) < len(self.modalities):
            raise UsageError(f"--data.modalities {' '.join(self.modalities)} must name some, each of them once")

    @property
    def selection(self) -> Selection:
        """The sequences that are trained on; `leave_out` must have been resolved into `collections`."""
        return Selection(
            collections=self.collections, holdout=self.holdout, modalities=self.modalities, unique=self.unique
        )


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Length and learning rate: warm-up, a constant rate, and a cool-down as 1 - sqrt (arXiv 2405.18392)."""

    steps: int = 1000  # 0 keeps the weights of `start`
    batch: int = 64  # sequences per step, over all workers
    lr: float = 1e-3  # peak learning rate of AdamW
    warmup: int = 50  # steps
    cooldown: float = 0.2  # fraction of the steps
    weight_decay: float = 0.05
    clip_norm: float = 3.0  # maximum norm of the gradient
    log_every: int = 10  # steps
    guard_every: int = 100  # steps between checks for collapse (model/objectives/guards.py); 0: never

    def __post_init__(self) -> None:
        if self.steps < 0:
            raise UsageError(f"--schedule.steps {self.steps} must not be negative")
        for name in ("batch", "log_every"):
            if getattr(self, name) < 1:
                raise UsageError(f"--schedule.{name.replace('_', '-')} {getattr(self, name)} must be at least 1")
        for name in ("lr", "clip_norm"):
            if getattr(self, name) <= 0:
                raise UsageError(f"--schedule.{name.replace('_', '-')} {getattr(self, name)} must be positive")
        if self.guard_every < 0:
            raise UsageError(f"--schedule.guard-every {self.guard_every} must not be negative: give 0 for no guards")
        if self.warmup < 0 or self.warmup > self.steps > 0:
            raise UsageError(f"--schedule.warmup {self.warmup} must lie within --schedule.steps {self.steps}")
        if not 0 <= self.cooldown <= 1:
            raise UsageError(f"--schedule.cooldown {self.cooldown} is a fraction of the steps: give 0 to 1")

    @property
    def branch(self) -> int:
        """The steps before the cool-down, which a longer run with the same settings shares."""
        return self.steps - self._cooling

    @property
    def _cooling(self) -> int:
        return int(self.cooldown * self.steps)

    def guards_at(self, done: int) -> bool:
        """Whether to check for collapse after `done` steps: after the first, then at regular intervals."""
        return self.guard_every > 0 and (done == 1 or done % self.guard_every == 0)

    def lr_at(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        left = (self.steps - step) / self._cooling if self._cooling else 1.0
        return self.lr * min(1.0, (step + 1) / max(self.warmup, 1)) * (1 - (1 - min(left, 1.0)) ** 0.5)


@dataclass(frozen=True, kw_only=True)
class Keep:
    """Which checkpoints are written, and which are kept. The last step is always written."""

    every: int = 200  # steps between checkpoints
    last: int = 3  # number of newest checkpoints to keep; 0: all
    best: int = 1  # number of further checkpoints to keep, those with the highest score (see Score)
    at: tuple[int, ...] = ()  # steps after which an additional checkpoint is written and kept

    def __post_init__(self) -> None:
        for name, least in (("every", 1), ("last", 0), ("best", 0)):
            if getattr(self, name) < least:
                raise UsageError(f"--keep.{name} {getattr(self, name)} must be at least {least}")

    def due(self, done: int) -> bool:
        """Whether a checkpoint is written after `done` steps, even if they are not the last."""
        return done % self.every == 0 or done in self.at


@dataclass(frozen=True, kw_only=True)
class Score:
    """How checkpoints are scored on the held-out subjects during training: mean Rank-1, zero-shot."""

    every: int = 1  # score every n-th checkpoint; 0: none
    frames: int = 32  # first frames of each sequence that are embedded: enough to rank checkpoints

    def __post_init__(self) -> None:
        for name, least in (("every", 0), ("frames", 2)):
            if getattr(self, name) < least:
                raise UsageError(f"--score.{name} {getattr(self, name)} must be at least {least}")


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """The workers (ranks), their resources, and how DeepSpeed shards the training state over them."""

    workers: int = 2
    at_least: int | None = None  # minimum number of workers to start or continue with; all if None
    device: RequestedDevice = "auto"  # gpu: one per worker. auto: gpu if Ray has one for each worker, else cpu
    zero_stage: Literal[0, 1, 2, 3] = 0  # what is sharded: 1 optimizer state, 2 also gradients, 3 also weights
    # Of matrix products; weights and optimizer stay in fp32. auto: bf16 if all workers have it in hardware, else fp32
    precision: RequestedPrecision = "auto"
    micro_batch: int | None = None  # items a worker processes at once, to save memory; its whole share if None
    recompute: bool = False  # recompute activations in the backward pass, to save memory
    compile: bool = False  # torch.compile the contour encoder's blocks: on a GPU faster from the second step on
    # Processes of each worker that load its clips; 0: a thread. None: one for each core that a GPU's share leaves
    loaders: int | None = None
    restarts: int = 3  # failures in a row, without a checkpoint in between, after which the run ends
    patience: float = 600.0  # seconds without a step, after which the run ends
    resize_every: float = 60.0  # seconds between checks for room for more workers

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise UsageError(f"--cluster.workers {self.workers} must be at least 1")
        if self.at_least is not None and not 1 <= self.at_least <= self.workers:
            raise UsageError(
                f"--cluster.at-least {self.at_least} must lie within 1 and --cluster.workers {self.workers}"
            )
        if self.micro_batch is not None and self.micro_batch < 1:
            raise UsageError(f"--cluster.micro-batch {self.micro_batch} must be at least 1")
        if self.loaders is not None and self.loaders < 0:
            raise UsageError(f"--cluster.loaders {self.loaders} must not be negative: give 0 for a thread")
        if self.restarts < 0:
            raise UsageError(f"--cluster.restarts {self.restarts} must not be negative")
        if min(self.patience, self.resize_every) <= 0:
            raise UsageError("--cluster.patience and --cluster.resize-every must be positive")

    @property
    def gpu(self) -> bool:
        """Whether each worker trains on a GPU; `auto` must have been resolved before."""
        assert self.device != "auto", "auto is resolved before anything is computed"
        return self.device == "gpu"

    @property
    def fewest_workers(self) -> int:
        """The number of workers that training starts with at least."""
        return self.at_least or self.workers


class Run:
    """Settings that every training run has, and the arithmetic of its batch; dataclasses derive from it."""

    items: ClassVar[str]  # that a batch is made of, for messages
    recipe: str
    shards: str
    out: str
    seed: int
    clips: ClipSettings
    schedule: Schedule
    keep: Keep
    cluster: Cluster

    @property
    def unit(self) -> ShareUnit:
        """What a worker's share, and a micro batch, must be a multiple of."""
        return ShareUnit()

    def micro_batch(self, workers: int) -> int:
        """The items that each of `workers` processes at once: the most allowed that divides its share of the batch."""
        share = self.schedule.batch // workers
        most = min(self.cluster.micro_batch or share, share)
        return max(size for size in range(self.unit.clips, most + 1, self.unit.clips) if share % size == 0)

    def worker_counts(self) -> list[int]:
        """The allowed numbers of workers that divide the batch, ascending."""
        counts = range(self.cluster.fewest_workers, self.cluster.workers + 1)
        return [count for count in counts if self.schedule.batch % (count * self.unit.clips) == 0]

    def check_seed(self) -> None:
        """UsageError for a seed that random streams do not take (datasets/random_streams.py)."""
        if not 0 <= self.seed < 2**63:
            raise UsageError(f"--seed {self.seed} must be at least 0 and below 2**63")

    def check_shares(self) -> None:
        """UsageError unless the batch divides among the workers, and their shares into micro batches."""
        batch, workers, micro = self.schedule.batch, self.cluster.workers, self.cluster.micro_batch
        unit, reason, option = self.unit
        if batch % workers:
            raise UsageError(
                f"--schedule.batch {batch} does not divide among --cluster.workers {workers}: make it a multiple"
            )
        if batch // workers % unit:
            raise UsageError(
                f"--schedule.batch {batch} gives each of --cluster.workers {workers} no "
                f"multiple of {unit} clips, {reason}: change one of them, or {option}"
            )
        if micro is not None and micro < unit:
            raise UsageError(f"--cluster.micro-batch {micro} must be at least {unit}, {reason}: raise it, or {option}")

    def check_encoder(self, size: str) -> None:
        """UsageError for settings of the cluster that the encoder of a size does not take."""
        if size not in sizes.P3D:
            return
        share, micro = self.schedule.batch // self.cluster.workers, self.cluster.micro_batch
        if micro is not None and micro < share:
            raise UsageError(
                f"--cluster.micro-batch {micro}: the norms of {size} need a worker's whole share of "
                f"{share} {self.items} at once: take more --cluster.workers, or --cluster.recompute"
            )
        if self.cluster.compile:
            raise UsageError(f"--cluster.compile is for the contour encoder, which {size} is not: leave it out")


@dataclass(frozen=True, kw_only=True)
class PretrainRun(Run):
    """A pretraining run: everything that its result depends on."""

    items: ClassVar[str] = "pairs"

    recipe: str  # name of the run in MLflow
    shards: str  # store to train on
    out: str  # folder of the run
    start: str | None = None  # OpenGait checkpoint of the published P3D encoder; random weights if None
    seed: int = 0
    data: DataSettings = field(default_factory=DataSettings)
    clips: ClipSettings = field(default_factory=ClipSettings)
    network: NetworkSettings = field(default_factory=NetworkSettings)
    objective: ObjectiveSettings = field(default_factory=ContrastSettings)
    schedule: Schedule = field(default_factory=Schedule)
    keep: Keep = field(default_factory=Keep)
    score: Score = field(default_factory=Score)
    cluster: Cluster = field(default_factory=Cluster)

    def __post_init__(self) -> None:
        if self.start is None and not self.schedule.steps:
            raise UsageError("--schedule.steps 0 trains nothing: give at least 1, or a published checkpoint as --start")
        if self.start is not None and self.network.size not in sizes.P3D:
            raise UsageError(
                "--start is for checkpoints of the published P3D encoder, of which "
                f"{self.network.size!r} is not a size: "
                f"take the recipe p3d-0.03b or p3d-0.13b, or give --network.size as one of {', '.join(sizes.P3D)}"
            )
        least = self.objective.least_batch
        if self.schedule.batch < least:
            raise UsageError(
                f"--schedule.batch {self.schedule.batch} must be at least {least} for {self.objective.name}"
            )
        self.check_seed()
        self.check_shares()
        self.check_encoder(self.network.size)

    @property
    def unit(self) -> ShareUnit:
        """What the objective needs."""
        return self.objective.unit
