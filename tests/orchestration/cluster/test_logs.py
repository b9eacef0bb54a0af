"""Logging: levels, the format, progress bars, and the processes of Ray."""

import logging
import os
from collections.abc import Iterator

import pytest
from tqdm import tqdm

from jobs import cli
from orchestration.cluster import logs
from orchestration.release.release import ReleaseRun


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    """Leaves logging as it was."""
    assert logs.VERBOSE not in os.environ
    loggers = [logging.getLogger(name) for name in ("", *logs.OURS)]
    before = [(one, one.level, list(one.handlers)) for one in loggers]
    yield
    for one, level, handlers in before:
        one.setLevel(level)
        one.handlers = handlers
    os.environ.pop(logs.VERBOSE, None)


def speak() -> None:
    for name in ("orchestration.x", "some.library"):
        for level in (logging.DEBUG, logging.INFO, logging.WARNING):
            logging.getLogger(name).log(level, f"{name} at {logging.getLevelName(level)}")


@pytest.mark.parametrize("verbose", [False, True])
def test_a_job_logs_to_stderr_once_and_by_level(capsys, verbose: bool) -> None:
    argv = ["--run", "r", "--out", "o", *(["--verbose"] if verbose else [])]
    assert cli.parse(ReleaseRun, argv, "release") == ReleaseRun(run="r", out="o")
    logs.configure()  # as a job does that runs another one
    speak()
    out, err = capsys.readouterr()
    expected = ["INFO orchestration.x at INFO", "WARNING orchestration.x at WARNING", "WARNING some.library at WARNING"]
    if verbose:
        expected = ["DEBUG orchestration.x at DEBUG", *expected[:2], "INFO some.library at INFO", expected[2]]
    assert out == ""
    assert [line.split(" ", 2)[2] for line in err.splitlines()] == expected


def test_a_line_stands_above_a_progress_bar(capsys) -> None:
    logs.configure()
    with tqdm(total=3, desc="train") as bar:
        bar.update(1)
        speak()
        shown = capsys.readouterr().err
    lines = [line.rpartition("\r")[2] for line in shown.split("\n")]
    assert [line.split(" ", 2)[2] for line in lines[:3]] == [
        *("INFO orchestration.x at INFO", "WARNING orchestration.x at WARNING", "WARNING some.library at WARNING")
    ]
    assert lines[3].startswith("train:  33%")


def test_the_processes_of_ray_log_alike(local_ray) -> None:
    @local_ray.remote
    def inside() -> tuple[list[str], int, int]:
        handlers = [type(one).__module__ for one in logging.getLogger().handlers]
        levels = [logging.getLogger(name).getEffectiveLevel() for name in ("orchestration.x", "some.library")]
        return handlers, *levels

    handlers, ours, others = local_ray.get(inside.remote())
    assert handlers.count("orchestration.cluster.logs") == 1
    assert (ours, others) == (logging.INFO, logging.WARNING)
