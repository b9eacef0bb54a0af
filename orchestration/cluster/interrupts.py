"""Ctrl-C, a closed terminal, and requests to end: one line, the exit status of the signal, and no process left behind.

A signal raises KeyboardInterrupt in the job, which cleans up on its way out. A second one, or a clean-up that takes too
long, ends all processes at once. The line says what is safe, for which drivers wrap their work in `safe`.
"""

import os
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Literal, NoReturn

import psutil

_WORDS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated", signal.SIGHUP: "the terminal was closed"}
_GRACE = 15.0  # seconds for which a job cleans up; less than the managers of clusters wait before they kill
_NOTHING = "nothing is lost"


class _State:
    """Of this process. phase: of the job. program: whether the process is a job's, and ends with it."""

    def __init__(self) -> None:
        self.phase: Literal["starting", "running", "stopping", "ended"] = "starting"
        self.program = False
        self.signal = signal.SIGINT
        self.safe: list[Callable[[], str]] = []
        self.said: Callable[[], str] = lambda: _NOTHING
        self.processes: list[psutil.Process] = []
        self.deferring = False
        self.stderr = 2


_state = _State()


def watch_program() -> None:
    """Handle signals from here to the end of this process, which is a job's. Called before its imports, which take
    seconds."""
    _state.program = True
    with suppress(OSError):  # there is none
        _state.stderr = os.dup(2)  # which Ray's start cannot silence
    _install()


@contextmanager
def handled() -> Iterator[None]:
    """Let signals raise KeyboardInterrupt in a job while it runs, in the main thread."""
    before = _install() if threading.current_thread() is threading.main_thread() else {}
    _state.phase, _state.signal, _state.said = "running", signal.SIGINT, lambda: _NOTHING
    try:
        yield
    finally:
        if _state.phase == "running" or not _state.program:
            _state.phase = "ended"
        if not _state.program:
            for number, handler in before.items():
                signal.signal(number, handler)


@contextmanager
def safe(what: Callable[[], str]) -> Iterator[None]:
    """While the block runs, an interruption says this of what is not lost: `what` is called then."""
    _state.safe.append(what)
    try:
        yield
    finally:
        _state.safe.remove(what)


def end() -> NoReturn:
    """Say what is safe, and end this process with the exit status of the signal; called once the job has cleaned up.

    A program ends what it has started, and leaves out what Python does at its end: libraries that were interrupted in
    the middle of something crash then, or wait for their threads.
    """
    if not _state.program:
        sys.stderr.write(f"{line()}\n")
        raise SystemExit(status())
    with suppress(OSError, ValueError):  # nobody may be reading any more
        sys.stdout.flush()
    _say(line())
    _end_processes()
    os._exit(status())


@contextmanager
def deferred() -> Iterator[None]:
    """Let a first signal wait until the block has ended, which must be soon: libraries lose it, or crash, in the middle
    of what they do at their start."""
    _state.deferring = True
    try:
        yield
    finally:
        _state.deferring = False
        if _state.phase == "stopping" and threading.current_thread() is threading.main_thread():
            raise KeyboardInterrupt


def line() -> str:
    """What to print once a job was interrupted."""
    try:
        known = _state.said()
    except Exception:  # the storage that it would look at may be away
        known = _NOTHING
    command = f": {shlex.join(sys.orig_argv)}" if _state.program else ""
    return f"{_WORDS[_state.signal]}: {known}; the same command goes on{command}"


def status() -> int:
    """The exit status of an interrupted job, as a shell has it."""
    return 128 + _state.signal


def _install() -> dict[signal.Signals, "signal._HANDLER"]:
    """Handle the signals that are not ignored, as by nohup; returns the handlers before."""
    before = {number: signal.getsignal(number) for number in _WORDS}
    handled = {number: handler for number, handler in before.items() if handler != signal.SIG_IGN}
    for number in handled:
        signal.signal(number, _on_signal)
    return handled


def _on_signal(number: int, _frame: FrameType | None) -> None:
    phase = _state.phase
    if phase == "stopping":
        _end_at_once()
    _state.signal = signal.Signals(number)
    _state.processes = _descendants()
    if phase == "starting":
        _say(f"{_WORDS[_state.signal]}: nothing had begun")
        os._exit(status())
    if phase == "ended":  # what the job has to say is said
        _end_processes()
        os._exit(status())
    _state.phase = "stopping"
    _state.said = _state.safe[-1] if _state.safe else lambda: _NOTHING
    if _state.program:
        watchdog = threading.Timer(_GRACE, _end_at_once)
        watchdog.daemon = True
        watchdog.start()
    if not _state.deferring:
        raise KeyboardInterrupt


def _end_at_once() -> None:
    """End this process and all that it has started, without any clean-up."""
    _say(line())
    _end_processes()
    os._exit(status())


def _say(text: str) -> None:
    """Write to stderr past Python's buffers, which the code that was interrupted may be using."""
    with suppress(OSError):
        os.write(_state.stderr, f"{text}\n".encode())


def _descendants() -> list[psutil.Process]:
    with suppress(psutil.Error):
        return psutil.Process().children(recursive=True)
    return []


def _end_processes() -> None:
    """Kill what this process has started, as Ray does; also where the processes between have ended already."""
    for one in {*_state.processes, *_descendants()}:
        with suppress(psutil.Error):
            one.kill()
