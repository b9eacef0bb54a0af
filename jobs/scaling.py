"""python -m jobs.scaling <plan> --shards <shards> --out <study> [--dry-run] [--sizes xxs xs ...]
python -m jobs.scaling forecast --study <study> --gpu-hours 100 --sequences 1e6

Run a grid of pretraining runs and fit scaling laws to them, or predict from a study what a budget would achieve.
"""

import sys
from dataclasses import dataclass, field
from typing import Annotated

import tyro

from jobs import cli
from jobs.plans import PLANS
from orchestration.run import tracking
from orchestration.run.settings import OBJECTIVES
from orchestration.scaling.forecast import ForecastSettings, forecast_study
from orchestration.scaling.plan import StudyPlan
from orchestration.scaling.study import REPORT_FOLDER, dry_run, run_study


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """A scaling study, and its tracking."""

    plan: Annotated[StudyPlan, tyro.conf.arg(name="")]
    tracking: str = field(default_factory=tracking.default_uri)
    """Tracking store of MLflow: the URL of a server, or sqlite:///<file>."""
    dry_run: bool = False
    """Print every cell with its cost, and run nothing."""


@dataclass(frozen=True, kw_only=True)
class ForecastArguments:
    """What a budget would achieve, predicted by the laws of a study."""

    settings: Annotated[ForecastSettings, tyro.conf.arg(name="")]
    tracking: str = field(default_factory=tracking.default_uri)
    """Tracking store of MLflow: the URL of a server, or sqlite:///<file>."""


def parse(argv: list[str]) -> Arguments:
    """The plan named by the first argument, with the settings that follow it."""
    name, settings = argv[0], argv[1:]
    if name not in PLANS:
        cli.fail(f"unknown plan {name!r}: the plans are {', '.join(PLANS)}; or give forecast")
    plan = cli.choose_member(PLANS[name](tyro.MISSING, tyro.MISSING), "objective", OBJECTIVES, settings)
    return cli.parse(Arguments, settings, f"scaling {name}", Arguments(plan=plan))


def main(argv: list[str] | None = None) -> None:
    """Parse, run, and print the path of the report."""
    argv = sys.argv[1:] if argv is None else argv
    if not argv or argv[0] in ("-h", "--help"):
        print("usage: python -m jobs.scaling <plan> --shards <shards> --out <study> [--dry-run] [settings]")
        print("       python -m jobs.scaling forecast --study <study> --sequences <n> --gpu-hours <hours>")
        print(f"\nplans:{cli.summaries(PLANS)}\n\npython -m jobs.scaling <plan> --help lists the settings of a plan")
        raise SystemExit(0 if argv else 2)
    if argv[0] == "forecast":
        asked = cli.parse(ForecastArguments, argv[1:], "scaling forecast")
        cli.run(lambda: print("\n".join(forecast_study(asked.settings, asked.tracking))))
        return
    arguments = parse(argv)

    def job() -> None:
        if arguments.dry_run:
            print(dry_run(arguments.plan))
            return
        run_study(arguments.plan, arguments.tracking)
        print(f"report: {arguments.plan.out}/{REPORT_FOLDER}/report.md")
        print(f"results: {tracking.ui_command(arguments.tracking)}")

    cli.run(job)


if __name__ == "__main__":
    cli.start(main)
