"""What every job shares: a command line made from its settings, and errors that are one line and exit status 2."""

import contextlib
import io
import re
import sys
from collections.abc import Callable
from typing import NoReturn, TypeVar

import tyro

from datasets.schema import UsageError

Settings = TypeVar("Settings")


def parse(settings: type[Settings], argv: list[str] | None, job: str, default: Settings | None = None) -> Settings:
    """Settings from the command line; any mistake in it ends the program with one line and status 2."""
    said = io.StringIO()
    start = {} if default is None else {"default": default}
    try:
        with contextlib.redirect_stderr(said):
            return tyro.cli(settings, args=argv, prog=f"python -m jobs.{job}", **start)
    except SystemExit as end:
        if end.code in (0, None):
            raise
        fail(_one_line(said.getvalue()) + f" (python -m jobs.{job} --help lists the settings)")
    except UsageError as error:
        fail(str(error))


def run(job: Callable[[], None]) -> None:
    """Run a job; a UsageError of its ends the program with one line and status 2."""
    try:
        job()
    except UsageError as error:
        fail(str(error))


def fail(message: str) -> NoReturn:
    """Say what is wrong, in one line, and exit with status 2."""
    print(f"error: {message}", file=sys.stderr, flush=True)
    raise SystemExit(2)


def _one_line(boxed: str) -> str:
    """The words of tyro's framed message that name the mistake, in one line."""
    lines = [re.sub(r"[│╭╮╰╯─]+", " ", line).strip() for line in boxed.splitlines()]
    words = re.sub(r"\s+", " ", " ".join(lines)).strip()
    words = re.sub(r"^(Unrecognized options|Parsing error|Value error) (?=\S)", "", words)
    words = re.split(r" For full helptext| Argument helptext:", words)[0]
    return re.sub(r" Perhaps you meant: (--\S+).*", r"; did you mean \1?", words)
