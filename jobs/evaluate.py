"""python -m jobs.evaluate --run <run> --shards <shards> [--split holdout]
python -m jobs.evaluate identify --run <run> --gallery <folder> --probe <folder>

Score a pretrained run zero-shot by the protocol of each collection in the store, beside baselines such as GEI and
random initialisation; or rank the candidates for the walks in a folder against a gallery of known walkers.
"""

import sys
from dataclasses import dataclass, field
from typing import Annotated

import tyro

from evaluation.reports.tables import rank1_table
from evaluation.retrieval import candidates
from evaluation.text_table import plain_table
from jobs import cli
from orchestration.run import tracking
from orchestration.scoring.evaluate import EvaluateRun, evaluate, results_folder
from orchestration.scoring.identify import IdentifyRun, identify_walks


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Scores of a run by the protocol of each collection, with confidence intervals over subjects."""

    settings: Annotated[EvaluateRun, tyro.conf.arg(name="")]
    tracking: str = field(default_factory=tracking.default_uri)
    """Tracking store of MLflow: the URL of a server, or sqlite:///<file>."""


def parse(argv: list[str]) -> Arguments:
    """The arguments of a command line."""
    return cli.parse(Arguments, argv, "evaluate")


def main(argv: list[str] | None = None) -> None:
    """Parse, evaluate, and print the table."""
    argv = sys.argv[1:] if argv is None else argv
    if argv[:1] == ["identify"]:
        _identify(argv[1:])
        return
    arguments = parse(argv)

    def job() -> None:
        rows = evaluate(arguments.settings, arguments.tracking)
        print(f"Rank-1 accuracy in %\n{plain_table(rank1_table(rows), labels=3)}")
        print(f"report: {results_folder(arguments.settings)}/report.html")
        print(f"results: {tracking.ui_command(arguments.tracking)}")

    cli.run(job)


def _identify(argv: list[str]) -> None:
    settings = cli.parse(IdentifyRun, argv, "evaluate identify")

    def job() -> None:
        print(candidates.to_text(identify_walks(settings)))

    cli.run(job)


if __name__ == "__main__":
    cli.start(main)
