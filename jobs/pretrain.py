"""python -m jobs.pretrain <recipe> --shards <shards> --out <run> [--schedule.steps 200 ...]

Pretrain a contour Transformer on a store of shards. Every setting of the recipe can be changed on the command line.
"""

import sys
from dataclasses import dataclass, field
from typing import Annotated

import tyro

from evaluation.text_table import plain_table
from jobs import cli
from jobs.recipes import RECIPES
from model import sizes
from orchestration.run import tracking
from orchestration.run.settings import OBJECTIVES, PretrainRun
from orchestration.training.pretrain import pretrain


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """A pretraining run, and its tracking."""

    run: Annotated[PretrainRun, tyro.conf.arg(name="")]
    tracking: str = field(default_factory=tracking.default_uri)
    """Tracking store of MLflow: the URL of a server, or sqlite:///<file>."""
    profile: bool = False
    """Trace a few steps of rank 0 into <run>/profile/trace.json (for chrome://tracing or Perfetto)."""


def parse(argv: list[str]) -> Arguments:
    """The recipe named by the first argument, with the settings that follow it."""
    if not argv or argv[0] in ("-h", "--help"):
        print("usage: python -m jobs.pretrain <recipe> --shards <shards> --out <run> [settings]")
        print(f"\nrecipes:{cli.summaries(RECIPES)}")
        print(f"\nobjectives (--objective.name):{cli.summaries(OBJECTIVES)}")
        print("\nsizes of the encoder (--network.size), by their parameters and their work:")
        print(plain_table(sizes.table()))
        print("\npython -m jobs.pretrain <recipe> --help lists the settings of a recipe")
        raise SystemExit(0 if argv else 2)
    name, settings = argv[0], argv[1:]
    if name not in RECIPES:
        cli.fail(f"unknown recipe {name!r}: the recipes are {', '.join(RECIPES)}")
    run = cli.choose_member(RECIPES[name](tyro.MISSING, tyro.MISSING), "objective", OBJECTIVES, settings)
    default = Arguments(run=run)
    return cli.parse(Arguments, settings, f"pretrain {name}", default)


def main(argv: list[str] | None = None) -> None:
    """Parse, train, and print the path of the last checkpoint."""
    arguments = parse(sys.argv[1:] if argv is None else argv)

    def job() -> None:
        last = pretrain(arguments.run, arguments.tracking, arguments.profile)
        print(f"trained: {last}\nresults: {tracking.ui_command(arguments.tracking)}")

    cli.run(job)


if __name__ == "__main__":
    cli.start(main)
