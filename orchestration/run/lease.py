"""A folder has one writer at a time: the driver that holds its lease, and renews it while it lives.

    <folder>/.driver.json     who writes here and since when, and a count that rises every few seconds

Readers ask nobody. A driver that died keeps no one waiting: on its own machine its process is looked for; elsewhere the
count is watched for a while, because clocks of machines differ and file systems of networks show old contents for up to
a minute. Local file systems let one driver at a time look and write; object storage does not, so that a driver looks
again after it has written: the last one to write has the lease.
"""

import fcntl
import json
import logging
import os
import secrets
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import psutil

from datasets.schema.errors import Unfinished, UsageError
from datasets.storage import LocalPlace, Place

logger = logging.getLogger(__name__)

LEASE = ".driver.json"
_BEAT = 10.0  # seconds from one renewal to the next
_SILENCE = 90.0  # seconds without one after which a driver of another machine is taken for dead
_LOOK = 2.0  # seconds between two looks at the lease of another driver
_SETTLE = 2.0  # seconds after which a write of another driver at the same time would show
_LOCK_PATIENCE = 5.0  # seconds for a lock that others hold for an instant


@dataclass(frozen=True, kw_only=True)
class Holder:
    """A driver that holds a lease.

    machine: tells machines, their boots and containers apart. started: of the process, by its machine's own count, so
    that another process with its number is not taken for it. since: when it took the lease, in UTC. token: of this
    lease alone. beat: how often it was renewed.
    """

    job: str
    host: str
    machine: str
    pid: int
    started: float
    since: str
    token: str
    beat: int = 0

    def __str__(self) -> str:
        return f"`{self.job}` (process {self.pid} on {self.host}, since {self.since} UTC)"


@contextmanager
def hold(folder: Place, job: str) -> Iterator[None]:
    """Hold the lease of a folder for as long as the block runs; makes the folder, where it is missing.

    UsageError where another driver holds it, which may take _SILENCE seconds to find out. Unfinished where another one
    took it meanwhile, as from a machine that was asleep; the main thread is interrupted then. job: who writes.
    """
    missing = _missing_folders(folder)
    mine = _take(folder, job)
    keeper = _Keeper(folder, mine)
    keeper.start()
    try:
        yield
    except KeyboardInterrupt:
        if keeper.lost_to is None:
            raise
        raise Unfinished(
            f"{folder} is written by {keeper.lost_to} now, which found this driver silent: this one stops"
        ) from None
    finally:
        keeper.stop()
        _release(folder, mine, missing)


class _Keeper(threading.Thread):
    """Renews a lease. lost_to: who took it meanwhile."""

    def __init__(self, folder: Place, mine: Holder) -> None:
        super().__init__(name="lease", daemon=True)
        self._folder, self._mine = folder, mine
        self._ended = threading.Event()
        self.lost_to: Holder | None = None

    def run(self) -> None:
        """Until `stop`, or until the lease is lost."""
        while not self._ended.wait(_BEAT):
            try:
                there = _read(self._folder)
                if there is not None and there.token != self._mine.token:
                    self.lost_to = there
                    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
                    return
                if self._folder.exists():  # else the user has deleted it
                    self._mine = replace(self._mine, beat=self._mine.beat + 1)
                    _write(self._folder, self._mine)
            except OSError as error:  # the storage is away, as what writes there will notice too
                logger.debug(f"the lease of {self._folder} is not renewed: {error}")

    def stop(self) -> None:
        """Renew it no more."""
        self._ended.set()
        self.join(timeout=_LOCK_PATIENCE)


def _take(folder: Place, job: str) -> Holder:
    """Take the lease; UsageError where another driver holds it."""
    mine, silent = _this_driver(job), None
    if isinstance(folder, LocalPlace):
        _make(folder)
    while True:
        with _alone(folder) as alone:
            there = _read(folder)
            ended = there is None or there == silent or _lives(there) is False
            if ended:
                _write(folder, mine)
        if ended:
            break
        assert there is not None
        if _lives(there):
            raise UsageError(_refusal(folder, there))
        silent = _watched(folder, there)
    if there is not None:
        logger.info(f"{folder} was left by {there}, which has ended")
    if not alone:
        time.sleep(_SETTLE)
        winner = _read(folder)
        if winner is None or winner.token != mine.token:
            raise UsageError(_refusal(folder, winner or mine))
    return mine


def _watched(folder: Place, holder: Holder) -> Holder:
    """A driver of another machine that gave no sign of life; UsageError where it, or another one, does."""
    logger.warning(
        f"{folder} was last written by {holder}: waiting up to {_SILENCE:.0f} s to see whether it still runs"
    )
    end = time.monotonic() + _SILENCE
    while time.monotonic() < end:
        time.sleep(_LOOK)
        there = _read(folder)
        if there is None:
            return holder
        if there != holder:
            raise UsageError(_refusal(folder, there))
    return holder


def _refusal(folder: Place, holder: Holder) -> str:
    return f"{folder} is being written by {holder}: wait until that has ended, stop it, or write elsewhere"


def _lives(holder: Holder) -> bool | None:
    """Whether the process of a holder is running; None where that cannot be seen from here."""
    if holder.machine != _machine():
        return None
    try:
        os.kill(holder.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # of another user
        pass
    started = _started(holder.pid)
    return None if started is None else started == holder.started


def _this_driver(job: str) -> Holder:
    return Holder(
        job=job,
        host=socket.gethostname(),
        machine=_machine(),
        pid=os.getpid(),
        started=_started(os.getpid()) or 0.0,
        since=f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}",
        token=secrets.token_hex(8),
    )


def _machine() -> str:
    """Tells machines apart, and on one of them its boots and its containers, which number processes anew."""
    if sys.platform == "linux":
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    return f"{socket.gethostname()} {psutil.boot_time():.0f}"


def _started(pid: int) -> float | None:
    """When a process began; negative for one that has ended and is not collected yet, None where that is hidden."""
    try:
        if sys.platform != "linux":
            return psutil.Process(pid).create_time()
        # In ticks since boot, which no change of the clock moves; behind the name, which may hold any character.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (OSError, psutil.Error):
        return None
    return -1.0 if fields[0] in "ZX" else float(fields[19])


def _read(folder: Place) -> Holder | None:
    """Who holds the lease; None where nobody does, or where a crash left what nobody can read."""
    try:
        return Holder(**json.loads((folder / LEASE).read()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError):
        return None


def _write(folder: Place, holder: Holder) -> None:
    (folder / LEASE).write(json.dumps(asdict(holder), indent=1).encode())


@contextmanager
def _alone(folder: Place) -> Iterator[bool]:
    """Yields whether this is the only driver in such a block: not in object storage, nor where files have no locks."""
    if not isinstance(folder, LocalPlace):
        yield False
        return
    handle = os.open(folder.path, os.O_RDONLY)
    try:
        yield _lock(handle)
    finally:
        os.close(handle)


def _lock(handle: int) -> bool:
    end = time.monotonic() + _LOCK_PATIENCE
    while time.monotonic() < end:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.01)
        except OSError:  # NFS refuses to lock folders, and some file systems lock nothing
            return False
        else:
            return True
    return False


def _make(folder: LocalPlace) -> None:
    try:
        Path(folder.path).mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise UsageError(f"{error.filename} exists and is not a folder: give another place to write to") from error


def _missing_folders(folder: Place) -> list[Path]:
    """The folders that the lease will make, from the innermost outwards."""
    if not isinstance(folder, LocalPlace):
        return []
    path = Path(folder.path)
    return [one for one in (path, *path.parents) if not one.exists()]


def _release(folder: Place, mine: Holder, made: list[Path]) -> None:
    """Give the lease back, and delete the folders that it made and nobody used."""
    with suppress(OSError):  # where the storage is away, others see that this process has ended
        with _alone(folder):
            there = _read(folder)
            if there is not None and there.token == mine.token:
                (folder / LEASE).remove()
        for one in made:
            one.rmdir()
