"""Shared by all jobs: a command line made from settings, --verbose, and errors of one line with exit status 2."""

import contextlib
import errno
import io
import os
import re
import select
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Generic, NoReturn, TypeVar

import tyro

from datasets.schema.errors import Unfinished, UsageError
from orchestration.cluster import interrupts, logs

Settings = TypeVar("Settings")
CLOSED = 141  # exit status where the reader of the output has ended, as `| head`: what a shell says of SIGPIPE

# Errors of the user's machine, and what to do about them. Another OSError is a mistake of ours and keeps its traceback.
_AGAIN = "run the same command again, which keeps what is complete"
_FIXES = {
    **dict.fromkeys((errno.EACCES, errno.EPERM), "give a place that you can read and write"),
    **dict.fromkeys((errno.EROFS, errno.ENOSYS, errno.EOPNOTSUPP), "give a place on a file system that takes it"),
    errno.ENAMETOOLONG: "give a shorter path",
    **dict.fromkeys(
        (errno.ENOTDIR, errno.EISDIR, errno.ELOOP), "check the path: a file stands for a folder, or it loops"
    ),
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), f"make room there, and {_AGAIN}"),
    errno.EFBIG: f"raise the limit of a file's size (ulimit -f), and {_AGAIN}",
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), f"raise the limit of open files (ulimit -n), and {_AGAIN}"),
    **dict.fromkeys((errno.ENOMEM, errno.EAGAIN), f"end other programs, or raise the limits of ulimit, and {_AGAIN}"),
    **dict.fromkeys(
        (errno.EIO, errno.EREMOTEIO, errno.ESTALE, errno.ENODEV, errno.ENXIO, errno.ENOLCK, errno.ENOTCONN)
        + (errno.ETIMEDOUT, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENETUNREACH),
        f"the disk fails, or the server behind it: check it, and {_AGAIN}",
    ),
}
_LONGEST = 200  # characters of a path in a message


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


def start(main: Callable[[], None]) -> None:
    """Run the `main` of a job as a program, which ends in silence where nobody reads its output any more.

    Names of files may have characters that the terminal lacks, or none at all: these are printed as codes.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed when the program started, as by >&-
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115 (open until the program ends)
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        try:
            main()
        finally:
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
    except OSError as error:
        if isinstance(error, BrokenPipeError) and (closed := [one for one in (1, 2) if _is_closed(one)]):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            for descriptor in closed:
                os.dup2(nowhere, descriptor)  # Python writes what is left in its buffers when it ends
            raise SystemExit(CLOSED) from None
        _fail_for_machine(error)
        raise


def run(job: Callable[[], None]) -> None:
    """Run a job. Errors end the program with one line: exit status 2 for a UsageError or an error of the machine, such
    as a full disk, 1 for work that could not be finished although the command was right, 130 for an interrupt."""
    try:
        with interrupts.handled():
            job()
    except (UsageError, Unfinished, OSError) as raised:
        error = getattr(raised, "cause", raised)  # of a Ray task; Ray's own error says the task's traceback
        if isinstance(error, OSError):
            _fail_for_machine(error)
            raise
        fail(str(error), status=1 if isinstance(error, Unfinished) else 2)
    except KeyboardInterrupt:
        interrupts.end()


def _fail_for_machine(error: OSError) -> None:
    """End the program where an error is one of the user's machine."""
    fix = _FIXES.get(error.errno or 0)
    said = error.strerror or str(error)
    if fix is None and error.errno is None and "pyarrow" in traceback.extract_tb(error.__traceback__)[-1].filename:
        fix = f"check the address, the network and your credentials, and {_AGAIN}"  # object storage has no errno
    if fix is not None:
        where = str(error.filename or "")
        where = where if len(where) <= _LONGEST else f"{where[:_LONGEST]}..."
        fail(": ".join(part for part in (" ".join(said.split()), where, fix) if part))


def _is_closed(descriptor: int) -> bool:
    """Whether what a descriptor writes to has no reader."""
    try:
        poll = select.poll()
        poll.register(descriptor, 0)
        return any(found & (select.POLLERR | select.POLLHUP | select.POLLNVAL) for _, found in poll.poll(0))
    except OSError:
        return True


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
