"""The settings of a scaling study: a grid of runs over size, unique sequences, length of training and seed.

Cells of one size, number of sequences and seed share a trunk: the learning rate is constant until the cool-down, so up
to its own cool-down a short run is identical to the longest one.
"""

from bisect import bisect_left
from dataclasses import dataclass, field, replace
from itertools import product

from datasets.loading.clips import ClipSettings
from datasets.loading.labels import TaskName
from datasets.schema.errors import Damaged, UsageError
from datasets.storage import Place, open_place, read_json
from model import sizes
from model.network import NetworkSettings
from model.objectives.part_contrast import ContrastSettings
from model.sizes import KEPT
from orchestration.run.folder import PRECISION
from orchestration.run.serialise import flatten, to_json
from orchestration.run.settings import Cluster, DataSettings, Keep, ObjectiveSettings, PretrainRun, Schedule, Score

STUDY_FILE = "study.json"
_GRID = ("sizes", "unique", "steps", "flop", "most_flop", "seeds", "single")  # which cells there are; none changes
_MAY_CHANGE = (*_GRID, "plan", "out", "shards", "keep_every", "cluster.", "schedule.log_every")


@dataclass(frozen=True, kw_only=True)
class MeasureSettings:
    """How the cells of a study are measured on the held-out subjects; the same for all of them."""

    keys: int = 512  # most pairs of held-out clips that the loss is measured on
    frames: int = 32  # first frames of each sequence that are embedded, for errors
    seed: int = 0  # of the frames in the held-out clips
    probes: tuple[TaskName, ...] = ()  # tasks of which a linear probe is fitted on the embedding and tested
    probe_rows: int = 400  # most sequences that a probe is fitted on, and most that it is tested on

    def __post_init__(self) -> None:
        for name in ("keys", "frames", "probe_rows"):
            if getattr(self, name) < 2:
                option = name.replace("_", "-")
                raise UsageError(f"--measure.{option} {getattr(self, name)} must be at least 2")
        if "identification" in self.probes:
            raise UsageError("--measure.probes identification: it is measured zero-shot, by protocols: leave it out")


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One run of a study. unique: the number of sequences to train on; None for all."""

    size: str
    unique: int | None
    seed: int
    steps: int

    @property
    def trunk(self) -> str:
        """Names the training that it shares with cells of other lengths."""
        return f"{self.size}-u{'all' if self.unique is None else self.unique}-s{self.seed}"

    @property
    def name(self) -> str:
        """Its name, which is also that of its folder."""
        return f"{self.trunk}-b{self.steps}"


@dataclass(frozen=True, kw_only=True)
class StudyPlan:
    """A grid of runs that are the same except for size, unique sequences, length of training and seed."""

    plan: str  # the name that the study is recorded under
    shards: str  # the store to train and to measure on
    out: str  # the study's folder
    sizes: tuple[str, ...]  # of the encoder
    unique: tuple[int | None, ...] = (None,)  # numbers of sequences to train on; None: all of them
    steps: tuple[int, ...] = ()  # lengths of training
    flop: tuple[float, ...] = ()  # more lengths, given by their cost: each size gets its own number of steps
    most_flop: float | None = None  # cells that cost more are left out
    seeds: tuple[int, ...] = (0,)  # every cell is run once with each; several show the noise
    single: tuple[str, ...] = ()  # sizes that are run with the first seed only
    channels: int = 256  # of the embedding of a part
    keep_every: int = 200  # steps between the checkpoints that a killed run resumes from
    measure: MeasureSettings = field(default_factory=MeasureSettings)
    data: DataSettings = field(default_factory=DataSettings)
    clips: ClipSettings = field(default_factory=ClipSettings)
    objective: ObjectiveSettings = field(default_factory=ContrastSettings)
    schedule: Schedule = field(default_factory=lambda: Schedule(steps=0))  # without steps, which each cell has
    cluster: Cluster = field(default_factory=lambda: Cluster(workers=1))  # of each cell

    def __post_init__(self) -> None:
        for name in ("sizes", "unique", "seeds"):
            if not getattr(self, name):
                raise UsageError(f"--{name} is empty: give at least one")
        if not self.steps and not self.flop:
            raise UsageError("no length of training: give --steps, --flop or both")
        if self.schedule.steps:
            raise UsageError("--schedule.steps: the lengths of a study's runs are given with --steps")
        if self.data.unique is not None:
            raise UsageError("--data.unique: the numbers of sequences of a study's runs are given with --unique")
        if not self.data.holdout:
            raise UsageError("no subject is held out to measure on: give --data.holdout <collection>/<subject> ...")
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
            self._settings(cell, "")  # raises for settings that contradict each other

    def cells(self) -> list[Cell]:
        """The cells that are run, by trunk and length."""
        return [cell for cell, reason in self._grid().items() if reason is None]

    def left_out(self) -> dict[str, str]:
        """The cells of the grid that are not run, by name, with the reason."""
        return {cell.name: reason for cell, reason in self._grid().items() if reason is not None}

    def run_of(self, cell: Cell) -> PretrainRun:
        """The settings of a cell's run, whose folder lies in that of the study."""
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
            score=Score(every=0),  # a cell is measured after its training (measure.py)
            cluster=self.cluster,
        )

    def trunk_of(self, cell: Cell) -> Cell:
        """The longest cell that shares a cell's trunk; the others branch off from it."""
        return max((one for one in self.cells() if one.trunk == cell.trunk), key=lambda one: one.steps)

    def flop_of(self, cell: Cell, kept: float = KEPT, start: int = 0) -> float:
        """FLOP of a cell's training from step `start`. kept: the share of tubelets that are tokens."""
        forward = sizes.clip_flops(cell.size, self.clips.frames, kept)
        return self.schedule.batch * self.objective.passes(start, cell.steps) * forward

    def _branch(self, steps: int) -> int:
        return replace(self.schedule, steps=steps, warmup=0).branch

    def _grid(self) -> dict[Cell, str | None]:
        """Every cell of the grid, with the reason if it is left out."""
        found: dict[Cell, str | None] = {}
        for size, unique, seed in product(dict.fromkeys(self.sizes), dict.fromkeys(self.unique), self.seeds):
            if size in self.single and seed != self.seeds[0]:
                continue
            for steps in sorted({*self.steps, *(self._steps_for(size, flop) for flop in self.flop)}):
                cell = Cell(size=size, unique=unique, seed=seed, steps=steps)
                found[cell] = self._reason_to_leave_out(cell)
        return found

    def _steps_for(self, size: str, flop: float) -> int:
        """The number of steps of a size whose cost is nearest to a budget, at least one."""

        def work(steps: int) -> float:
            return self.flop_of(Cell(size=size, unique=None, seed=0, steps=steps))

        enough = 1
        while work(enough) < flop:
            enough *= 2
        enough = bisect_left(range(enough), flop, key=work)  # not a division: steps may differ in their cost
        return max(min(enough - 1, enough, key=lambda steps: abs(work(steps) - flop)), 1)

    def _reason_to_leave_out(self, cell: Cell) -> str | None:
        if self._branch(cell.steps) < max(self.schedule.warmup, 1):
            return f"{cell.steps} steps would not get past their warm-up"
        cost = self.flop_of(cell)
        if self.most_flop is not None and cost > self.most_flop:
            return f"{cost:.2g} FLOP are more than --most-flop {self.most_flop:.2g}"
        return None


def check_study(plan: StudyPlan, folder: Place) -> None:
    """UsageError if the folder holds a study with other settings, or anything else.

    One without study.json is compared cell by cell, by the settings in their folders. A setting that study.json lacks
    was added later and had its default. One that it has under a name of an earlier version is refused, since nothing
    tells whether its value means the same.
    """
    file = folder / STUDY_FILE
    if file.exists():
        try:
            begun = _read(folder)
        except Damaged:
            raise
        except UsageError as error:
            raise UsageError(f"{error}; give another --out, or resume the study with that version") from error
        there, here = flatten(to_json(begun)), flatten(to_json(plan))
        changed = [name for name in sorted(there | here) if there.get(name) != here.get(name) and not _may_change(name)]
        if here[PRECISION] == "auto":  # the study keeps the one that it was begun in
            changed = [name for name in changed if name != PRECISION]
        if changed:
            raise UsageError(
                f"{folder} holds a study with {changed[0]} {there.get(changed[0])}, not {here.get(changed[0])}: "
                "give another --out, or the settings it was started with"
            )
    elif folder.exists() and not folder.is_empty_folder() and not (folder / "cells").exists():
        raise UsageError(f"{folder} exists and is not the folder of a study: give another --out")


def begun_on(folder: Place) -> Cluster | None:
    """The device, the precision and the workers that the study in a folder has; None where there is no study yet."""
    return _read(folder).cluster if (folder / STUDY_FILE).exists() else None


def _read(folder: Place) -> StudyPlan:
    mend = "no cell is lost: delete it, and run the same `python -m jobs.scaling` again, which writes it anew"
    return read_json(StudyPlan, folder / STUDY_FILE, mend)


def _may_change(name: str) -> bool:
    return name != PRECISION and any(name.startswith(one) if one.endswith(".") else name == one for one in _MAY_CHANGE)
