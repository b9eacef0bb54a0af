"""Progress of long tasks: a bar where stderr is a terminal, else a line of the log every half minute."""

import logging
import sys
import time
from types import TracebackType
from typing import Self

from tqdm import tqdm

logger = logging.getLogger(__name__)

INTERVAL = 30.0  # seconds between two lines of one task
_open: list["Progress"] = []  # of this process; the first one has the bar


class Progress:
    """Counts what a task has done, and shows it; a context manager.

    A terminal has one bar at a time: a task that runs within another one shows nothing there. Elsewhere, as in the logs
    of CI and of clusters, each task writes a line every INTERVAL seconds at most, and one when it ends.

    Args:
        task: its name, which begins the line.
        unit: of what is counted, in the plural.
        total: how much there is to do; None if that is not known.
        done: how much was done before this task began.
        silent: show nothing, as for a task whose caller shows its progress.
    """

    def __init__(self, task: str, unit: str, total: int | None = None, done: int = 0, *, silent: bool = False) -> None:
        self.task, self.unit, self.total, self.done = task, unit, total, done
        self.silent = silent
        self._first = done
        self._notes = ""
        self._bar: tqdm | None = None

    def __enter__(self) -> Self:
        self._began = self._shown = time.monotonic()
        if sys.stderr.isatty() and not _open and not self.silent:
            unit, total, first = f" {self.unit}", self.total, self.done
            self._bar = tqdm(desc=self.task, unit=unit, total=total, initial=first, dynamic_ncols=True, smoothing=0)
        if not self.silent:
            _open.append(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        if self.silent:
            return
        _open.remove(self)
        if self._bar is not None:
            self._bar.close()
        elif kind is None and not sys.stderr.isatty():
            logger.info(self._line())

    def advance(self, count: int = 1) -> None:
        """Count what has been done since."""
        self.reach(self.done + count)

    def reach(self, done: int) -> None:
        """Set how much is done: less than before where a task has to repeat some of it."""
        self._first = min(self._first, done)
        self.done = done
        if self._bar is not None:
            self._bar.update(done - self._bar.n)
        elif not (self.silent or sys.stderr.isatty()) and time.monotonic() - self._shown >= INTERVAL:
            self._shown = time.monotonic()
            logger.info(self._line())

    def note(self, **values: object) -> None:
        """Show these values behind the counts, from the next count on."""
        self._notes = ", ".join(f"{name} {value}" for name, value in values.items())
        if self._bar is not None:
            self._bar.set_postfix_str(self._notes, refresh=False)

    def _line(self) -> str:
        seconds = max(time.monotonic() - self._began, 1e-9)
        of = "" if self.total is None else f" of {self.total:,}"
        rate = (self.done - self._first) / seconds
        speed = f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"
        notes = f", {self._notes}" if self._notes else ""
        return f"{self.task}: {self.done:,}{of} {self.unit} after {seconds:.0f} s, {speed} a second{notes}"
