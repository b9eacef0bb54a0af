"""Shared by all jobs: a command line made from settings, --verbose, and errors of one line with exit status 2."""

import contextlib
import io
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Annotated, Generic, NoReturn, TypeVar

import tyro

from datasets.schema.errors import Unfinished, UsageError
from orchestration.cluster import logs

Settings = TypeVar("Settings")


@dataclass(frozen=True, kw_only=True)
class _CommandLine(Generic[Settings]):
    settings: Annotated[Settings, tyro.conf.arg(name="")]
    verbose: tyro.conf.FlagCreatePairsOff[bool] = False
    """Also log details (DEBUG), and INFO of libraries."""


def parse(settings: type[Settings], argv: list[str] | None, job: str, default: Settings | None = None) -> Settings:
    """Settings from the command line, which also configures logging; a mistake ends the program with status 2."""
    start = tyro.MISSING_NONPROP if default is None else _CommandLine(settings=default)
    framed = io.StringIO()
    try:
        with contextlib.redirect_stderr(framed):
            given = tyro.cli(
                _CommandLine[settings],  # type: ignore[valid-type]  # a type that is known at run time
                args=argv,
                prog=f"python -m jobs.{job}",
                description=settings.__doc__,
                default=start,
                config=(tyro.conf.AvoidSubcommands,),  # a union, as of objectives, has the member of the default
            )
    except SystemExit as end:
        if end.code in (0, None):
            raise
        fail(_one_line(framed.getvalue()) + f" (python -m jobs.{job} --help lists the settings)")
    except UsageError as error:
        fail(str(error))
    logs.configure(given.verbose)
    return given.settings


def choose_member(
    settings: Settings, field: str, members: Mapping[str, Callable[[], object]], argv: list[str]
) -> Settings:
    """Settings whose `field`, a union, has the member that `--<field>.name` names.

    A member that replaces another has its own defaults. To be called before `parse`, which makes options of one member
    alone: so help shows what applies, and an option of another member is an error.
    """
    option, name = f"--{field}.name", ""
    for this, following in pairwise([*argv, ""]):
        if this.partition("=")[0] == option:
            name = this.partition("=")[2] or following
    if not name or name == getattr(settings, field).name:
        return settings
    if name not in members:
        fail(f"{option} {name} is unknown: give one of {', '.join(members)}")
    return replace(settings, **{field: members[name]()})  # type: ignore[type-var]  # all settings are dataclasses


def summaries(named: Mapping[str, Callable[..., object]]) -> str:
    """A line for each named function: its name, and the first line of its docstring."""
    width = max(map(len, named))
    return "".join(f"\n  {name:<{width}} {(one.__doc__ or '').splitlines()[0]}" for name, one in named.items())


def run(job: Callable[[], None]) -> None:
    """Run a job. Errors end the program with one line: exit status 2 for a UsageError or a place without permission,
    1 for work that could not be finished although the command was right, 130 for an interrupt."""
    try:
        job()
    except UsageError as error:
        fail(str(error))
    except Unfinished as error:
        fail(str(error), status=1)
    except PermissionError as error:
        fail(f"{error.strerror}: {error.filename}: give a place that you can read and write")
    except KeyboardInterrupt:
        fail("interrupted", status=130)


def fail(message: str, status: int = 2) -> NoReturn:
    """Print an error in one line, and exit."""
    print(f"error: {message}", file=sys.stderr, flush=True)
    raise SystemExit(status)


def _one_line(framed: str) -> str:
    """The error in tyro's framed message, which has a title and sections between rules, in one line."""
    sections: list[list[str]] = [[]]
    for line in re.sub(r"\x1b\[[0-9;]*m", "", framed).splitlines():
        words = line.strip().strip("│|").strip()
        if re.search(r"[╮╯─\-]{3}$|╮$|╯$", words):
            sections.append([])
        elif words:
            sections[-1].append(words)
    return "; ".join(said for section in sections[1:] if section and (said := _section(section)))


def _section(lines: list[str]) -> str:
    """One section of tyro's message; empty for those that do not describe the mistake."""
    options = [line.split()[0] for line in lines if line.startswith("--")]
    if lines[0].startswith(("For full helptext", "Argument helptext")):
        return ""
    if lines[0].startswith("Missing from"):
        return f"missing {', '.join(options)}"
    if lines[0].startswith("Unrecognized options"):
        return f"unknown setting {options[0] if options else lines[0].split(': ')[-1].split(',')[0]}"
    if lines[0].startswith("Perhaps you meant"):
        return f"did you mean {options[0]}?"
    return " ".join(lines)
