"""The settings of a pretraining run, composed from those of its parts, and their one JSON form.

The same JSON goes into the run's folder, into each checkpoint, to every rank and to MLflow. Reading it back is strict:
a setting that this program does not know is an error, not a surprise.
"""

import dataclasses
import json
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar

from datasets.clips import ClipSettings
from datasets.order import Mixing
from datasets.pairs import Positives
from datasets.schema import UsageError
from model import sizes, strips
from model.network import NetworkSettings
from model.objective import ContrastSettings

T = TypeVar("T")
RUN_FILE = "run.json"
MAY_CHANGE = ("out", "shards", "cluster.workers", "cluster.gpu", "cluster.zero_stage")  # when a run is resumed


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """Which sequences of the store are trained on (those of the train split, less what is held out), and how."""

    collections: tuple[str, ...] | None = None  # all of the store where None
    holdout: tuple[str, ...] = ()  # subjects kept for validation, as <collection>/<subject>
    positives: Positives = "clip"  # two clips of one sequence, or of one walk as two cameras filmed it at once
    mixing: Mixing = "step"  # whether each step is of one collection, or each batch of several


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How long and how fast: warm-up, a constant rate, and a cool-down of the form 1 - sqrt (arXiv 2405.18392)."""

    steps: int = 1000  # 0 keeps the weights of `start` as they are
    batch: int = 64  # sequences a step, over all workers
    rate: float = 1e-3  # peak learning rate of AdamW
    warmup: int = 50  # steps
    cooldown: float = 0.2  # share of the steps
    weight_decay: float = 0.05
    clip_norm: float = 3.0  # largest norm of the gradient
    checkpoint_every: int = 200  # steps; the last step is always kept
    log_every: int = 10  # steps
    guard_every: int = 100  # steps between looks for collapse (model/guards.py); 0: never

    def __post_init__(self) -> None:
        if self.steps < 0:
            raise UsageError(f"--schedule.steps {self.steps} must not be negative")
        for name in ("batch", "checkpoint_every", "log_every"):
            if getattr(self, name) < 1:
                raise UsageError(f"--schedule.{name.replace('_', '-')} {getattr(self, name)} must be at least 1")
        for name in ("rate", "clip_norm"):
            if getattr(self, name) <= 0:
                raise UsageError(f"--schedule.{name.replace('_', '-')} {getattr(self, name)} must be positive")
        if self.guard_every < 0:
            raise UsageError(f"--schedule.guard-every {self.guard_every} must not be negative: give 0 for no guards")
        if self.warmup < 0 or self.warmup > self.steps > 0:
            raise UsageError(f"--schedule.warmup {self.warmup} must lie within --schedule.steps {self.steps}")
        if not 0 <= self.cooldown <= 1:
            raise UsageError(f"--schedule.cooldown {self.cooldown} is a share of the steps: give 0 to 1")

    def guards_at(self, done: int) -> bool:
        """Whether to look for collapse after so many steps: after the first, and then at even distances."""
        return self.guard_every > 0 and (done == 1 or done % self.guard_every == 0)

    def rate_at(self, step: int) -> float:
        """The learning rate of a step."""
        cooling = int(self.cooldown * self.steps)
        left = (self.steps - step) / cooling if cooling else 1.0
        return self.rate * min(1.0, (step + 1) / max(self.warmup, 1)) * (1 - (1 - min(left, 1.0)) ** 0.5)


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """Where it runs: workers (ranks), what each of them gets, and how DeepSpeed shares the optimizer's state."""

    workers: int = 2
    gpu: bool = False  # one GPU a worker
    zero_stage: Literal[0, 1, 2] = 1
    precision: Literal["fp32", "bf16"] = "bf16"  # of the matrix products; weights and optimizer stay fp32

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise UsageError(f"--cluster.workers {self.workers} must be at least 1")


@dataclass(frozen=True, kw_only=True)
class PretrainRun:
    """One pretraining run: everything that its result depends on."""

    recipe: str  # the name that the run is recorded under
    shards: str  # the store to train on
    out: str  # the run's folder
    start: str | None = None  # an OpenGait checkpoint of the published P3D encoder; random weights of the seed if None
    seed: int = 0
    data: DataSettings = field(default_factory=DataSettings)
    clips: ClipSettings = field(default_factory=ClipSettings)
    network: NetworkSettings = field(default_factory=NetworkSettings)
    contrast: ContrastSettings = field(default_factory=ContrastSettings)
    schedule: Schedule = field(default_factory=Schedule)
    cluster: Cluster = field(default_factory=Cluster)

    def __post_init__(self) -> None:
        if self.start is None and not self.schedule.steps:
            raise UsageError("--schedule.steps 0 trains nothing: give at least 1, or a published checkpoint as --start")
        if self.start is not None and self.network.size not in sizes.P3D:
            raise UsageError(
                f"--start is for checkpoints of the published P3D encoder, of which {self.network.size!r} is no size: "
                f"take the recipe p3d-0.03b or p3d-0.13b, or give --network.size as one of {', '.join(sizes.P3D)}"
            )
        if self.schedule.batch % self.cluster.workers:
            raise UsageError(
                f"--schedule.batch {self.schedule.batch} does not divide among --cluster.workers "
                f"{self.cluster.workers}: make it a multiple"
            )
        if self.contrast.strips and self.schedule.batch // self.cluster.workers % strips.PERIOD:
            raise UsageError(
                f"--schedule.batch {self.schedule.batch} gives each of --cluster.workers {self.cluster.workers} no "
                f"multiple of {strips.PERIOD} clips, which strips take: change one of them, or --contrast.no-strips"
            )
        if self.schedule.batch < 2:
            raise UsageError("--schedule.batch must be at least 2: a contrast needs a negative")


def to_json(settings: object) -> dict[str, object]:
    """Settings as plain values."""
    return json.loads(json.dumps(dataclasses.asdict(settings)))


def flatten(data: dict[str, object], prefix: str = "") -> dict[str, object]:
    """Nested settings with dotted names, as on the command line."""
    flat: dict[str, object] = {}
    for name, value in data.items():
        flat |= flatten(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat


def build(kind: type[T], data: dict[str, object], where: str = "") -> T:
    """Settings from plain values; UsageError for one that is unknown or missing."""
    known = {f.name: f for f in dataclasses.fields(kind)}
    if unknown := sorted(set(data) - set(known)):
        raise UsageError(f"unknown setting '{where}{unknown[0]}': written by another version of this program?")
    required = {n for n, f in known.items() if f.default is f.default_factory is dataclasses.MISSING}
    if missing := sorted(required - set(data)):
        raise UsageError(f"setting '{where}{missing[0]}' is missing")
    hints = typing.get_type_hints(kind)
    values = {}
    for name, value in data.items():
        if dataclasses.is_dataclass(hints[name]):
            values[name] = build(hints[name], value, f"{where}{name}.")
        else:
            values[name] = tuple(value) if isinstance(value, list) else value
    return kind(**values)


def read_run(folder: Path) -> PretrainRun:
    """The settings in a run's folder or a checkpoint; UsageError where there are none."""
    path = folder / RUN_FILE
    if not path.is_file():
        raise UsageError(f"{folder} is not the folder of a run (no {RUN_FILE}): give what `jobs.pretrain --out` wrote")
    return build(PretrainRun, json.loads(path.read_text()))


def check_folder(run: PretrainRun) -> None:
    """UsageError where another run's folder, or anything else, lies in the place of this run's.

    A folder that holds the same run is resumed: only where it lies and where it runs may differ.
    """
    folder = Path(run.out)
    path = folder / RUN_FILE
    if path.is_file():
        there, here = flatten(json.loads(path.read_text())), flatten(to_json(run))
        changed = [n for n in sorted(there | here) if there.get(n) != here.get(n) and n not in MAY_CHANGE]
        if changed:
            name = changed[0]
            more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
            raise UsageError(
                f"{folder} holds a run with {name} {there.get(name)}, not {here.get(name)}{more}: "
                "give another --out, or the settings it was started with"
            )
    elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} exists and is not the folder of a run: give another --out")


def claim_folder(run: PretrainRun) -> None:
    """Make a checked folder the run's own."""
    folder = Path(run.out)
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / RUN_FILE).is_file():
        (folder / RUN_FILE).write_text(json.dumps(to_json(run), indent=1))
