"""What a scaling study is: a grid of runs over size, unique sequences and training amount, and the run of each cell.

Cells of one size, one number of sequences and one seed have a trunk in common: up to its cool-down a short run is the
long one. Plain settings, and what follows from them by arithmetic; nothing is run here.
"""

from bisect import bisect_left
from dataclasses import dataclass, field, replace
from itertools import product

from datasets.loading.clips import ClipSettings
from datasets.loading.labels import TaskName
from datasets.schema.errors import UsageError
from datasets.storage import Place, open_place
from model import sizes
from model.network import NetworkSettings
from model.objectives.part_contrast import ContrastSettings
from model.sizes import KEPT
from orchestration.run.serialise import flatten, read, to_json
from orchestration.run.settings import Cluster, DataSettings, Keep, ObjectiveSettings, PretrainRun, Schedule, Score

STUDY_FILE = "study.json"
_MAY_GROW = ("sizes", "unique", "steps", "flop", "most_flop", "seeds", "single")  # cells more or less, the others stay
_MAY_CHANGE = (*_MAY_GROW, "plan", "out", "shards", "keep_every", "cluster.", "schedule.log_every")


@dataclass(frozen=True, kw_only=True)
class MeasureSettings:
    """How the runs of a study are measured on the held-out subjects; the same for all of them."""

    keys: int = 512  # pairs of clips in the bank, at most
    frames: int = 32  # of each sequence, from its first, for what compares whole sequences
    seed: int = 0  # of the frames of the bank's clips
    probes: tuple[TaskName, ...] = ()  # tasks of which a linear probe is trained on the embedding, and scored
    probe_rows: int = 400  # sequences that a probe learns from, and is asked about, at most

    def __post_init__(self) -> None:
        for name in ("keys", "frames", "probe_rows"):
            if getattr(self, name) < 2:
                option = name.replace("_", "-")
                raise UsageError(f"--measure.{option} {getattr(self, name)} must be at least 2")
        if "identification" in self.probes:
            raise UsageError("--measure.probes identification: people are told apart zero-shot, by their protocols")


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One run of a study. unique: so many sequences; all there are where None."""

    size: str
    unique: int | None
    seed: int
    steps: int

    @property
    def trunk(self) -> str:
        """What it has in common with the cells of other lengths."""
        return f"{self.size}-u{'all' if self.unique is None else self.unique}-s{self.seed}"

    @property
    def name(self) -> str:
        """Its folder, and what it is called."""
        return f"{self.trunk}-b{self.steps}"


@dataclass(frozen=True, kw_only=True)
class StudyPlan:
    """A grid of runs that differ in what is asked about, and in nothing else."""

    plan: str  # the name that the study is recorded under
    shards: str  # the store to train and to measure on
    out: str  # the study's folder
    sizes: tuple[str, ...]  # of the encoder
    unique: tuple[int | None, ...] = (None,)  # numbers of sequences; None: all there are
    steps: tuple[int, ...] = ()  # lengths of training
    flop: tuple[float, ...] = ()  # more lengths: what each size gets for so much work
    most_flop: float | None = None  # cells that cost more are left out
    seeds: tuple[int, ...] = (0,)  # each cell once for each, which shows the noise
    single: tuple[str, ...] = ()  # sizes with the first seed alone
    channels: int = 256  # of the embedding of a part
    keep_every: int = 200  # steps from one checkpoint to the next, from which a killed run goes on
    measure: MeasureSettings = field(default_factory=MeasureSettings)
    data: DataSettings = field(default_factory=DataSettings)
    clips: ClipSettings = field(default_factory=ClipSettings)
    objective: ObjectiveSettings = field(default_factory=ContrastSettings)
    schedule: Schedule = field(default_factory=lambda: Schedule(steps=0))  # the steps are those of the cells
    cluster: Cluster = field(default_factory=lambda: Cluster(workers=1))  # of each cell

    def __post_init__(self) -> None:
        for name in ("sizes", "unique", "seeds"):
            if not getattr(self, name):
                raise UsageError(f"--{name} names nothing: give at least one")
        if not self.steps and not self.flop:
            raise UsageError("no length of training: give --steps, --flop or both")
        if self.schedule.steps:
            raise UsageError("--schedule.steps: the runs of a study have lengths of their own, give --steps")
        if self.data.unique is not None:
            raise UsageError("--data.unique: the runs of a study have numbers of their own, give --unique")
        if not self.data.holdout:
            raise UsageError("nobody is held back to measure on: give --data.holdout <collection>/<subject> ...")
        for size in (*self.sizes, *self.single):
            sizes.check(size)
        for steps in self.steps:
            if self._branch(steps) < max(self.schedule.warmup, 1):
                raise UsageError(
                    f"--steps {steps}: the cool-down begins at {self._branch(steps)}, within the --schedule.warmup of "
                    f"{self.schedule.warmup} steps: give more steps or a shorter warm-up"
                )
        if not self.cells():
            raise UsageError("no cell is left: raise --most-flop, or give larger --flop or --steps")
        for cell in self.cells():
            self._settings(cell, "")  # whatever is wrong with them

    def cells(self) -> list[Cell]:
        """All runs, by trunk and length."""
        return [cell for cell, why in self._grid().items() if why is None]

    def left_out(self) -> dict[str, str]:
        """Cells of the grid that are not run, by name, and why."""
        return {cell.name: why for cell, why in self._grid().items() if why is not None}

    def run_of(self, cell: Cell) -> PretrainRun:
        """The settings of a cell's run, which lies in the study's folder."""
        return self._settings(cell, str(open_place(self.out) / f"cells/{cell.name}"))

    def _settings(self, cell: Cell, out: str) -> PretrainRun:
        longest = cell == self.trunk_of(cell)
        branches = sorted({self._branch(one.steps) for one in self.cells() if one.trunk == cell.trunk})
        return PretrainRun(
            recipe=self.plan,
            shards=self.shards,
            out=out,
            seed=cell.seed,
            data=replace(self.data, unique=cell.unique),
            clips=self.clips,
            network=NetworkSettings(size=cell.size, channels=self.channels),
            objective=self.objective,
            schedule=replace(self.schedule, steps=cell.steps),
            keep=Keep(every=self.keep_every, last=1, best=0, at=tuple(branches) if longest else ()),
            score=Score(every=0),  # once it is trained, and by more
            cluster=self.cluster,
        )

    def trunk_of(self, cell: Cell) -> Cell:
        """The longest cell of those that share a cell's trunk."""
        return max((one for one in self.cells() if one.trunk == cell.trunk), key=lambda one: one.steps)

    def flop_of(self, cell: Cell, kept: float = KEPT, since: int = 0) -> float:
        """Work of a cell's training, of its steps after the first `since` alone. kept: the share of tubelets."""
        forward = sizes.clip_flops(cell.size, self.clips.frames, kept)
        return self.schedule.batch * self.objective.passes(since, cell.steps) * forward

    def _branch(self, steps: int) -> int:
        return replace(self.schedule, steps=steps, warmup=0).branch

    def _grid(self) -> dict[Cell, str | None]:
        """Every cell, and why it is left out where it is."""
        found: dict[Cell, str | None] = {}
        for size, unique, seed in product(dict.fromkeys(self.sizes), dict.fromkeys(self.unique), self.seeds):
            if size in self.single and seed != self.seeds[0]:
                continue
            for steps in sorted({*self.steps, *(self._steps_for(size, flop) for flop in self.flop)}):
                cell = Cell(size=size, unique=unique, seed=seed, steps=steps)
                found[cell] = self._excess(cell)
        return found

    def _steps_for(self, size: str, flop: float) -> int:
        """The number of steps of a size whose work is nearest to an amount, at least one."""
        work = lambda steps: self.flop_of(Cell(size=size, unique=None, seed=0, steps=steps))  # noqa: E731
        enough = 1
        while work(enough) < flop:
            enough *= 2
        enough = bisect_left(range(enough), flop, key=work)  # steps may differ in their work
        return max(min(enough - 1, enough, key=lambda steps: abs(work(steps) - flop)), 1)

    def _excess(self, cell: Cell) -> str | None:
        if self._branch(cell.steps) < max(self.schedule.warmup, 1):
            return f"{cell.steps} steps would not get past their warm-up"
        cost = self.flop_of(cell)
        if self.most_flop is not None and cost > self.most_flop:
            return f"{cost:.2g} FLOP are more than --most-flop {self.most_flop:.2g}"
        return None


def check_study(plan: StudyPlan, folder: Place) -> None:
    """UsageError if the folder holds a study with other settings, or anything else.

    A setting that study.json lacks was added later and had its default. One that it has under a name of an earlier
    version is refused, since nothing tells whether its value means the same.
    """
    file = folder / STUDY_FILE
    if file.exists():
        try:
            begun = read(StudyPlan, file)
        except UsageError as error:
            raise UsageError(f"{error}; give another --out, or resume the study with that version") from error
        there, here = flatten(to_json(begun)), flatten(to_json(plan))
        changed = [name for name in sorted(there | here) if there.get(name) != here.get(name) and not _may_change(name)]
        if changed:
            raise UsageError(
                f"{folder} holds a study with {changed[0]} {there.get(changed[0])}, not {here.get(changed[0])}: "
                "give another --out, or the settings it was started with"
            )
    elif folder.exists() and not folder.is_empty_folder():
        raise UsageError(f"{folder} exists and is not the folder of a study: give another --out")


def _may_change(name: str) -> bool:
    return name != "cluster.precision" and any(
        name.startswith(one) if one.endswith(".") else name == one for one in _MAY_CHANGE
    )
