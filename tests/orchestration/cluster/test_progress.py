"""Progress: a bar at a time on a terminal, plain lines elsewhere."""

import io
import logging
import sys

import pytest

from orchestration.cluster import progress
from orchestration.cluster.progress import Progress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which a test moves."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_a_log_has_a_line_every_half_minute_at_most(clock, caplog, capsys) -> None:
    with Progress("train", "steps", total=1200, done=200) as shown:
        for second in range(1, 101):
            clock[0] = 100.0 + second
            shown.note(loss=f"{second / 100:.2f}", data="3%")
            shown.advance(10)
    assert [line.getMessage() for line in caplog.records] == [
        "train: 500 of 1,200 steps after 30 s, 10 a second, loss 0.30, data 3%",
        "train: 800 of 1,200 steps after 60 s, 10 a second, loss 0.60, data 3%",
        "train: 1,100 of 1,200 steps after 90 s, 10 a second, loss 0.90, data 3%",
        "train: 1,200 of 1,200 steps after 100 s, 10 a second, loss 1.00, data 3%",
    ]
    assert {line.levelno for line in caplog.records} == {logging.INFO}
    assert "\r" not in capsys.readouterr().err


def test_what_has_to_be_repeated_counts_again(clock, caplog) -> None:
    with Progress("train", "steps", total=100, done=40) as shown:
        shown.reach(60)
        shown.reach(20)  # the newest checkpoint, after a worker was lost
        clock[0] += 10
        shown.reach(100)
    assert caplog.messages == ["train: 100 of 100 steps after 10 s, 8 a second"]


def test_a_task_that_fails_has_no_last_line(clock, caplog) -> None:
    def broken() -> None:
        with Progress("list", "sequences") as shown:
            shown.advance()
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk"):
        broken()
    assert caplog.messages == []


def test_a_terminal_has_one_bar_at_a_time(monkeypatch: pytest.MonkeyPatch, caplog) -> None:
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", terminal)
    with Progress("train", "steps", total=4) as outer:
        outer.note(loss=1.5)
        outer.advance(3)
        with Progress("embed", "sequences", total=7) as inner:
            inner.advance(7)
        outer.advance()
    with Progress("embed", "sequences", total=2) as after:
        after.advance(2)
    last = [line.rpartition("\r")[2] for line in terminal.getvalue().split("\n")]
    assert [line.partition("|")[0] for line in last] == ["train: 100%", "embed: 100%", ""]
    assert "loss 1.5" in last[0]
    assert "/7" not in terminal.getvalue()
    assert caplog.messages == []
