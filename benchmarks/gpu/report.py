"""The lines of a check, each with a verdict, and the time that is left for further ones."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

from evaluation.text_table import markdown_table

Verdict = Literal["PASS", "FAIL", "NOT RUN"]


class NotRun(Exception):
    """A check does not apply to this machine, or does not fit into it; the message says why."""


class OutOfTime(BaseException):
    """The deadline has come. No Exception, so that nothing that a check runs takes it for a failure of its own."""


@dataclass(frozen=True)
class Line:
    """One check. found: what was measured, in words; values: the same as numbers, by their names."""

    check: str
    verdict: Verdict
    found: str
    values: dict[str, float] = field(default_factory=dict)


@dataclass
class Report:
    """Lines, and the moment at which the running check is stopped and none begins; for the main thread."""

    deadline: float  # of time.monotonic
    lines: list[Line] = field(default_factory=list)

    @property
    def left(self) -> float:
        """Seconds until the deadline."""
        return self.deadline - time.monotonic()

    @property
    def failed(self) -> bool:
        """Whether a line is a FAIL."""
        return any(line.verdict == "FAIL" for line in self.lines)

    def check(self, name: str, needs: float, work: Callable[[], Line]) -> None:
        """Add the line of a check. It is not run with less than `needs` seconds left; one that raises has failed."""
        if self.left < needs:
            line = Line(name, "NOT RUN", f"{max(self.left, 0):.0f} s were left, it takes about {needs:.0f}")
        else:
            line = self._attempt(name, work)
        self.lines.append(line)
        print(f"{line.verdict:<8}{line.check}: {line.found}", flush=True)

    def markdown(self) -> str:
        """A table with a row for each line."""
        return markdown_table(
            [["check", "verdict", "found"], *([one.check, one.verdict, one.found] for one in self.lines)], labels=3
        )

    def _attempt(self, name: str, work: Callable[[], Line]) -> Line:
        try:
            with _stopped_after(self.left):
                return work()
        except NotRun as reason:
            return Line(name, "NOT RUN", str(reason))
        except OutOfTime:
            return Line(name, "NOT RUN", "stopped: the time was over")
        except Exception as error:  # whatever is wrong with one check, the others are to run
            if "out of memory" in str(error).lower():
                return Line(name, "NOT RUN", "does not fit into the memory")
            return Line(name, "FAIL", f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")


@contextmanager
def _stopped_after(seconds: float) -> Iterator[None]:
    """Raise OutOfTime in the main thread after some time."""

    def stop(_signal: int, _frame: object) -> None:
        raise OutOfTime

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
