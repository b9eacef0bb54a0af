"""python -m jobs.evaluate --run <run> --shards <shards> [--split holdout]

Score a pretrained run zero-shot by the protocol of each collection in the store, beside GEI and random initialisation.
"""

from dataclasses import dataclass, field
from typing import Annotated

import tyro

from evaluation import tables
from jobs import cli
from orchestration import tracking
from orchestration.evaluate import EvaluateRun, evaluate, results_folder


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Scores of a run by each collection's own protocol, with intervals over subjects and what was left out."""

    settings: Annotated[EvaluateRun, tyro.conf.arg(name="")]
    tracking: str = field(default_factory=tracking.default_uri)
    """Where MLflow keeps its records: a server, or sqlite:///<file>."""


def main(argv: list[str] | None = None) -> None:
    """Parse, evaluate, and print the table."""
    arguments = cli.parse(Arguments, argv, "evaluate")

    def job() -> None:
        print(tables.render(evaluate(arguments.settings, arguments.tracking)))
        print(f"written: {results_folder(arguments.settings)}")
        print(f"results: {tracking.ui_command(arguments.tracking)}")

    cli.run(job)


if __name__ == "__main__":
    main()
