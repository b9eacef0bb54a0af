"""python -m jobs.finetune <task> --run <pretrained run> --shards <shards> --out <run> [--train head ...]

Fine-tune a pretrained run for a task, or train a linear probe on it, and score it on people it was not trained on.
"""

import sys
from dataclasses import dataclass, field
from typing import Annotated

import tyro

from jobs import cli
from jobs.recipes import FINETUNING
from orchestration.run import tracking
from orchestration.run.finetune_settings import FinetuneRun
from orchestration.scoring.finetuned import results_folder, score
from orchestration.scoring.finetuned_inputs import Scoring
from orchestration.training.finetune import finetune


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """A fine-tuning run, its scoring, and its tracking."""

    run: Annotated[FinetuneRun, tyro.conf.arg(name="")]
    score: Scoring = field(default_factory=Scoring)
    tracking: str = field(default_factory=tracking.default_uri)
    """Tracking store of MLflow: the URL of a server, or sqlite:///<file>."""
    profile: bool = False
    """Trace a few steps of rank 0 into <run>/profile/trace.json (for chrome://tracing or Perfetto)."""


def parse(argv: list[str]) -> Arguments:
    """The recipe of the task, which is the first argument, with the settings that follow it."""
    if not argv or argv[0] in ("-h", "--help"):
        print("usage: python -m jobs.finetune <task> --run <pretrained run> --shards <shards> --out <run> [settings]")
        print(f"\ntasks:{cli.summaries(FINETUNING)}")
        print("\n--train head trains a linear probe; --train all, the default, trains the encoder as well")
        print("python -m jobs.finetune <task> --help lists the settings of a task")
        raise SystemExit(0 if argv else 2)
    name, settings = argv[0], argv[1:]
    if name not in FINETUNING:
        cli.fail(f"unknown task {name!r}: the tasks are {', '.join(FINETUNING)}")
    default = Arguments(run=FINETUNING[name](tyro.MISSING, tyro.MISSING, tyro.MISSING))
    return cli.parse(Arguments, settings, f"finetune {name}", default)


def main(argv: list[str] | None = None) -> None:
    """Parse, train, score, and print the report."""
    arguments = parse(sys.argv[1:] if argv is None else argv)

    def job() -> None:
        last = finetune(arguments.run, arguments.tracking, arguments.profile)
        print(f"trained: {last}", flush=True)
        print(score(arguments.run, arguments.score, arguments.tracking))
        print(f"written: {results_folder(arguments.run, arguments.score)}")
        print(f"results: {tracking.ui_command(arguments.tracking)}")

    cli.run(job)


if __name__ == "__main__":
    cli.start(main)
