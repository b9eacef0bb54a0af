"""python -m jobs.demo [--out demo]

The whole pipeline on synthetic walkers: all collections on disk in the layouts of their owners, ingest, pretraining,
evaluation, and a miniature scaling study, tracked in MLflow. What it found is on one page, index.html.
"""

import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import chain, product
from pathlib import Path
from typing import TypeVar

from datasets.catalog.registry import CATALOG
from datasets.store.reader import Store
from datasets.synthetic import scenes
from datasets.synthetic.casts import cast_of
from datasets.synthetic.film import Walk
from evaluation.reports.results import ResultRow
from evaluation.scaling.analysis import Analysis
from evaluation.text_table import plain_table
from jobs import cli, evaluate, ingest, pretrain, scaling
from orchestration.ingest.ingest import ingest as ingest_all
from orchestration.ingest.synthetic_trees import write_trees
from orchestration.pages.demo_page import Demo, Stage, demo_page, results_of
from orchestration.run import tracking
from orchestration.scaling.study import run_study
from orchestration.scoring.evaluate import evaluate as evaluate_run
from orchestration.scoring.evaluate import results_folder
from orchestration.training.pretrain import pretrain as pretrain_run

COLLECTION = "CASIA-B"  # with enough walkers to be trained on; the others have a handful of people each
TRAIN = [f"{number:03d}" for number in range(1, 41)]  # of its TRAIN subjects
STUDIED = [f"{number:03d}" for number in range(41, 57)]  # whom the study holds out
TEST = [f"{number:03d}" for number in range(75, 87)]  # of its TEST subjects
TRAIN_CONDITIONS = ["nm-01", "bg-01", "cl-01"]
STUDIED_CONDITIONS = [f"nm-{n:02d}" for n in range(1, 7)]  # four of the gallery, two to be found
TEST_CONDITIONS = STUDIED_CONDITIONS + [f"{c}-{n:02d}" for c in ("bg", "cl") for n in (1, 2)]
VIEWS = ["018", "054", "090", "126"]
FRAMES = 20  # per sequence
ERROR = f"error/{COLLECTION}/view-pairs/NM"
PROBE_SETS = {"NM": "Normal walks", "BG": "With a bag", "CL": "In a coat"}
NEXT = {
    "Ingest them": ["python -m jobs.ingest", "--root my-walks=walks", "--out shards"],
    "Pretrain on them": ["python -m jobs.pretrain tiny", "--shards shards", "--out run"],
    "Rank the people of one folder for each walk of another": [
        "python -m jobs.evaluate identify",
        "--run run",
        "--gallery walks",
        "--probe new-walks",
    ],
}
FILES = {
    "collections": "the walkers, as the owners of each collection release them",
    "shards/report.html": "what ingest found, collection by collection",
    "run": "the trained encoder with its settings and checkpoints",
    "run/evaluation/test/report.html": "all results, with pictures",
    "study/report/report.md": "the report of the scaling study",
}
KINDS = ("view-pairs", "condition-pairs", "pooled")  # of protocols
Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """The whole pipeline on synthetic walkers, in a few minutes on two cores."""

    out: str = "demo"
    """Folder for everything that the demo writes."""


@dataclass(frozen=True)
class Command:
    """A job with its options, each with its values."""

    job: str
    options: tuple[tuple[str, ...], ...]

    @property
    def argv(self) -> list[str]:
        """What the job parses."""
        return list(chain(*self.options))

    @property
    def lines(self) -> list[str]:
        """What a person types: the job and what it begins with, then an option a line."""
        return shlex.join(["python", "-m", f"jobs.{self.job}", *self.argv]).replace(" --", "\n--").splitlines()


@dataclass
class Stages:
    """Runs the stages, and prints a line for each."""

    done: list[Stage] = field(default_factory=list)

    def run(
        self, name: str, work: Callable[[], Result], describe: Callable[[Result], str], command: Command | None = None
    ) -> Result:
        """Run one stage; returns its result."""
        started = time.monotonic()
        result = work()
        lines = command.lines if command else []
        stage = Stage(name=name, seconds=time.monotonic() - started, result=describe(result), command=lines)
        self.done.append(stage)
        print(f"{name:<9}{stage.seconds:5.0f} s  {stage.result}", flush=True)
        return result


def main(argv: list[str] | None = None) -> None:
    """Parse, and run the demo."""
    arguments = cli.parse(Arguments, argv, "demo")
    cli.run(lambda: _demo(Path(arguments.out)))


def _demo(out: Path) -> None:
    """Run all stages, write the page, and print what was found."""
    stages, uri = Stages(), tracking.sqlite_uri((out / "mlflow.db").resolve())
    ingested, pretrained, evaluated, studied = _commands(out, ("--tracking", uri))
    stages.run("walkers", lambda: _write_walkers(out / "collections"), _describe_walkers)
    store = stages.run("ingest", lambda: ingest_all(ingest.parse(ingested.argv).settings()), _describe_store, ingested)
    training = pretrain.parse(pretrained.argv).run
    steps, batch, workers = training.schedule.steps, training.schedule.batch, training.cluster.workers
    described = f"{steps} steps of {batch} pairs, with {workers} workers"
    stages.run("pretrain", lambda: pretrain_run(training, uri), lambda _: described, pretrained)
    scoring = evaluate.parse(evaluated.argv).settings
    rows = stages.run("evaluate", lambda: evaluate_run(scoring, uri), _describe_results, evaluated)
    plan = scaling.parse(studied.argv).plan
    analysis = stages.run("scaling", lambda: run_study(plan, uri), _describe_study, studied)
    results = results_folder(scoring)
    demo = Demo(
        stages=stages.done,
        store=store,
        loss=(out / "run/loss.png").read_bytes(),
        rows=rows,
        trained_on=COLLECTION,
        sheets={
            what: Path(str(results)) / f"{COLLECTION}-sheet-{name}-pretrained.png" for name, what in PROBE_SETS.items()
        },
        cells=analysis.cells,
        error=ERROR,
        next_commands={**NEXT, "Look at every run": [tracking.ui_command(uri)]},
        files=FILES,
    )
    (out / "index.html").write_text(demo_page(demo, out), encoding="utf-8")
    block = results_of(rows, COLLECTION)
    print(f"\n{block.heading}, {block.tables[0].title.lower()}\n{plain_table(block.tables[0].cells)}\n")
    print(f"done in {sum(stage.seconds for stage in stages.done) / 60:.1f} minutes; look at {out / 'index.html'}")
    print(f"every run:  {tracking.ui_command(uri)}")


def _commands(out: Path, tracked: tuple[str, str]) -> list[Command]:
    """The commands of the stages after the walkers."""
    shards, run = ("--shards", str(out / "shards")), str(out / "run")
    roots = [("--root", f"{name}={out / 'collections' / name}") for name in sorted(CATALOG)]
    trained_on = ("--data.collections", COLLECTION)
    schedule = [("--clips.frames", "4"), ("--schedule.batch", "32"), ("--schedule.steps", "160")]
    kept = ("--keep.every", "160")
    return [
        Command("ingest", (*roots, ("--out", shards[1]))),
        Command("pretrain", (("tiny-walks",), shards, ("--out", run), trained_on, *schedule, kept, tracked)),
        Command("evaluate", (("--run", run), shards, ("--kinds", *KINDS), ("--pictures", COLLECTION), tracked)),
        Command("scaling", (("miniature",), shards, ("--out", str(out / "study")), tracked)),
    ]


def _write_walkers(folder: Path) -> int:
    """Write all collections as released, below a folder; returns the number of walks."""
    trees = {
        folder / name: (spec.layouts[0], _casia_b() if name == COLLECTION else list(cast_of(spec)))
        for name, spec in CATALOG.items()
    }
    return write_trees(trees, num_frames=FRAMES)


def _casia_b() -> list[Walk]:
    """Subjects to train on, others to measure the study on, and others for the whole protocol."""
    groups = ((TRAIN, TRAIN_CONDITIONS), (STUDIED, STUDIED_CONDITIONS), (TEST, TEST_CONDITIONS))
    return [scenes.casia_b(*name) for people, conditions in groups for name in product(people, conditions, VIEWS)]


def _describe_walkers(walks: int) -> str:
    return f"{walks:,} walks of {len(CATALOG)} collections, as their owners release them"


def _describe_store(store: Store) -> str:
    entries = store.collections.values()
    sequences, rejected = (sum(entry[key] for entry in entries) for key in ("sequences", "rejected_sequences"))
    size = sum(file["bytes"] for file in store.manifest["shards"]) / 1e6
    return f"{sequences:,} sequences in {size:.1f} MB of shards, {rejected:,} rejected"


def _describe_results(rows: list[ResultRow]) -> str:
    methods, scored = (len({getattr(row, name) for row in rows}) for name in ("method", "collection"))
    return f"{methods} methods by the protocols of {scored} collections"


def _describe_study(analysis: Analysis) -> str:
    sizes = len({cell.size for cell in analysis.cells})
    cells = sorted(analysis.cells, key=lambda cell: cell.flop)
    first, last = (cell.measures[ERROR].value for cell in (cells[0], cells[-1]))
    return f"{len(cells)} runs of {sizes} sizes; error {first:.0f}% with the least compute, {last:.0f}% with the most"


if __name__ == "__main__":
    cli.start(main)
