"""The store of MLflow's records: found out within seconds whether it can be used, and made by one process at a time.

Only this file and orchestration/run/tracking.py import mlflow.
"""

import fcntl
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote, unquote

import requests

from datasets.schema.errors import Unfinished, UsageError

if TYPE_CHECKING:
    from mlflow import MlflowClient

Answer = TypeVar("Answer")

EXPERIMENT = "foundationgait"
RETRIES = (0, 1, 4, 10)  # seconds before each attempt of a call that the job needs
# A server that does not answer is tried again at the next flush; with MLflow's defaults each flush would block the
# driver for minutes.
_TIMEOUTS = {"MLFLOW_HTTP_REQUEST_MAXRETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}
_PATIENCE = 15.0  # seconds for a server to answer the first time
_LOCK_PATIENCE = 5.0  # seconds for which another program may have locked a SQLite file, each time
_MIGRATION = 120.0  # seconds for another process to make the tables of a new SQLite file
_SQLITE = "sqlite:///"
# What SQLite says while another process writes, or makes the tables of a new file where files have no locks.
_OF_OTHERS = ("database is locked", "already exists", "duplicate column", "UNIQUE constraint")


def sqlite_uri(file: Path) -> str:
    """The URI of a SQLite file, in which `%` and `?` mean something else than in a path."""
    return _SQLITE + str(file).replace("%", quote("%")).replace("?", quote("?"))


def connect(uri: str) -> tuple["MlflowClient", str]:
    """A client and the id of the experiment, made where it is missing; artefacts lie beside a SQLite store.

    UsageError where MLflow cannot be used at this URI.
    """
    from mlflow import MlflowClient

    for library in ("mlflow", "alembic"):  # after the import, which sets its own level
        logging.getLogger(library).setLevel(logging.ERROR)  # a new SQLite store announces every table it makes
    for name, value in _TIMEOUTS.items():
        os.environ.setdefault(name, value)
    failed: Exception | None = None
    for pause in RETRIES:
        time.sleep(pause)
        try:
            with _alone_with(_sqlite_file(uri)), _no_stray_folder(uri):
                _check(uri)
                client = MlflowClient(tracking_uri=uri)
                return client, _experiment(client, uri)
        except Exception as error:
            if not isinstance(
                error, (*errors(), ImportError, sqlite3.Error)
            ):  # a driver of the database may be missing
                raise
            failed = error
            if not any(words in str(error) for words in _OF_OTHERS):
                break
    assert failed is not None
    raise UsageError(f"MLflow cannot be used at {uri} (--tracking): {_explain(failed)}") from failed


def errors() -> tuple[type[Exception], ...]:
    """What MLflow raises where its store cannot be used: errors of its own, and some of the database as they are."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    return MlflowException, SQLAlchemyError, OSError


def patiently(uri: str, call: Callable[[], Answer]) -> Answer:
    """The answer of MLflow, with retries. Unfinished where it stays unreachable, or refuses."""
    failed: Exception | None = None
    for pause in RETRIES:
        time.sleep(pause)
        try:
            return call()
        except errors() as error:
            failed = error
    assert failed is not None
    raise Unfinished(
        f"MLflow at {uri}: {first_line(failed)}: run the same command again once that is mended"
    ) from failed


def first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def _check(uri: str) -> None:
    """Raises within seconds where no server answers, or a file is no database: MLflow would try for minutes."""
    if uri.startswith(("http://", "https://")):
        with suppress(requests.exceptions.SSLError, requests.exceptions.InvalidURL):  # MLflow's to judge
            requests.get(f"{uri.rstrip('/')}/health", timeout=_PATIENCE)
    if (file := _sqlite_file(uri)) is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        database = sqlite3.connect(file, timeout=_LOCK_PATIENCE)
        try:
            database.execute("SELECT count(*) FROM sqlite_master")
        finally:
            database.close()


def _experiment(client: "MlflowClient", uri: str) -> str:
    known = client.get_experiment_by_name(EXPERIMENT)
    if known is not None and known.lifecycle_stage != "active":
        number = known.experiment_id
        raise UsageError(
            f"the experiment {EXPERIMENT} was deleted in MLflow at {uri}: bring it back with MLFLOW_TRACKING_URI={uri} "
            f"mlflow experiments restore -x {number}, delete it for good with mlflow gc, or give another --tracking"
        )
    if known is not None:
        return known.experiment_id
    file = _sqlite_file(uri)
    beside = None if file is None else (file.parent / "mlartifacts").resolve().as_uri()
    return client.create_experiment(EXPERIMENT, artifact_location=beside)


def _sqlite_file(uri: str) -> Path | None:
    """The file of a SQLite store; None for any other store."""
    name = unquote(uri.removeprefix(_SQLITE).partition("?")[0])
    return Path(name) if uri.startswith(_SQLITE) and name not in ("", ":memory:") else None


@contextmanager
def _alone_with(file: Path | None) -> Iterator[None]:
    """Let one process at a time look at a SQLite file for the first time: MLflow makes its tables in many steps.

    By a lock on its folder, where the file system has such locks.
    """
    if file is None:
        yield
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(file.parent, os.O_RDONLY)
    try:
        end = time.monotonic() + _MIGRATION
        while time.monotonic() < end:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(0.1)
            except OSError:  # as on NFS: MLflow's errors are tried again
                break
        yield
    finally:
        os.close(handle)


@contextmanager
def _no_stray_folder(uri: str) -> Iterator[None]:
    """Delete the folder that MLflow makes of a file's encoded name, beside that of its name."""
    file, stray = _sqlite_file(uri), Path(uri.removeprefix(_SQLITE)).parent
    made = file is not None and stray != file.parent and not stray.exists()
    try:
        yield
    finally:
        if made:
            with suppress(OSError):
                os.removedirs(stray)


def _explain(error: Exception) -> str:
    """One line on why MLflow cannot be used."""
    if isinstance(error, requests.RequestException):
        return f"no server answers there within {_PATIENCE:.0f} s"
    said = first_line(error)
    if "out-of-date database schema" in said or "Can't locate revision" in said:
        return "another version of MLflow made these records: use that version, or give another --tracking"
    return said
