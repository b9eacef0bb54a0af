"""Everything that this project does with MLflow: open a run, log metrics in batches, attach files, close it.

No other file but orchestration/run/tracking_store.py may import mlflow, and both import it where it is used: that takes
a second, for which a job that needs Ray does not wait (`prepare`). Metrics are buffered and written with one call, at
7,000 a second against 150 one by one, from one process at a time.
"""

import logging
import os
import shlex
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from datasets.schema.errors import Unfinished, UsageError
from orchestration.run.tracking_store import RETRIES, connect, errors, first_line, patiently, sqlite_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient

logger = logging.getLogger(__name__)


def default_uri() -> str:
    """MLFLOW_TRACKING_URI where it is set, else a SQLite file in the current folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or sqlite_uri(Path.cwd() / "mlflow.db")


def ui_command(uri: str) -> str:
    """The command that shows the results."""
    if not uri.startswith("sqlite"):
        return f"open {uri}"
    python = Path(sys.executable)
    python = python.relative_to(Path.cwd()) if python.is_relative_to(Path.cwd()) else python
    return f"{python} -m mlflow ui --backend-store-uri {shlex.quote(uri)} --host 127.0.0.1"


def prepare(uri: str) -> None:
    """Import MLflow and open its store, making it where it is missing, so that this takes no time later.

    UsageError where MLflow cannot be used at this URI.
    """
    connect(uri)


@dataclass(frozen=True)
class _Point:
    """A metric at a step. time: in milliseconds since 1970."""

    name: str
    value: float
    time: int
    step: int


@dataclass
class Tracker:
    """One MLflow run, written from one process. `open_run` makes it and closes it."""

    uri: str
    run_id: str
    known: dict[str, int] = field(default_factory=dict)  # the step up to which each metric was logged
    _pending: list[_Point] = field(default_factory=list)
    _params: dict[str, str] = field(default_factory=dict)
    _failing: bool = False

    def log(self, step: int, metrics: dict[str, float]) -> None:
        """Buffer metrics of a step. NaN is not logged, nor is a step that the metric has already, which a resumed run
        repeats.
        """
        now = int(time.time() * 1000)
        for name, value in metrics.items():
            if value == value and step > self.known.get(name, -1):
                self._pending.append(_Point(name, value, now, step))
                self.known[name] = step

    def set_param(self, name: str, value: str) -> None:
        """Buffer a parameter. MLflow refuses another value for one that the run has."""
        self._params[name] = value

    def flush(self) -> None:
        """Write the buffer. Where MLflow is unreachable, as a server that is away or a SQLite file that another program
        has locked, print that once, and keep the buffer for the next flush.
        """
        from mlflow.entities import Metric, Param

        while self._pending or self._params:
            some = self._pending[:1000]  # the most that one call takes
            metrics = [Metric(one.name, one.value, one.time, one.step) for one in some]
            params = [Param(name, value) for name, value in self._params.items()]
            try:
                self._client.log_batch(self.run_id, metrics=metrics, params=params)
            except errors() as error:
                if not self._failing:
                    logger.warning(f"MLflow is unreachable; buffering metrics: {first_line(error)}")
                self._failing = True
                return
            self._failing = False
            self._pending, self._params = self._pending[len(some) :], {}

    def close(self) -> None:
        """Write the buffer, with retries. Unfinished where MLflow stays unreachable."""
        for pause in RETRIES:
            time.sleep(pause)
            self.flush()
            if not (self._pending or self._params):
                return
        raise Unfinished(
            f"MLflow at {self.uri} is unreachable: the last {len(self._pending)} metrics of run {self.run_id} are lost"
        )

    def history(self, name: str) -> list[tuple[int, float]]:
        """A metric's (step, value) pairs in order of step."""
        found = patiently(self.uri, lambda: self._client.get_metric_history(self.run_id, name))
        return sorted((one.step, one.value) for one in found)

    def curve(self, name: str, points: Mapping[int, float]) -> None:
        """Log points of a metric against any integer in place of a step. Equal points are not logged again."""
        known = dict(self.history(name)) if name in self.known else {}
        for step, value in sorted(points.items()):
            if value == value and known.get(step) != value:
                self._pending.append(_Point(name, value, int(time.time() * 1000), step))

    def tag(self, tags: Mapping[str, str]) -> None:
        """Set tags of the run."""
        from mlflow.entities import RunTag

        given = [RunTag(key, value) for key, value in tags.items()]
        patiently(self.uri, lambda: self._client.log_batch(self.run_id, tags=given))

    def attach(self, path: Path, folder: str | None = None) -> None:
        """Log a file as an artefact of the run, in a folder if one is given."""
        patiently(self.uri, lambda: self._client.log_artifact(self.run_id, str(path), folder))

    @property
    def _client(self) -> "MlflowClient":
        from mlflow import MlflowClient

        return MlflowClient(tracking_uri=self.uri)


@contextmanager
def open_run(
    uri: str, name: str, settings: dict[str, object], tags: dict[str, str], resume: str | None = None
) -> Iterator[Tracker]:
    """A run with its settings as parameters; its status is finished, failed or killed when the block ends.

    tags: `mlflow.parentRunId` makes it a child of another run. resume: the id of a run to continue. UsageError where
    MLflow cannot be used at this URI; Unfinished where it does not take the last metrics.
    """
    from mlflow.entities import Param, RunTag

    client, experiment = connect(uri)
    run_id = patiently(uri, lambda: _existing(client, resume))
    if run_id is None:
        run_id = patiently(uri, lambda: client.create_run(experiment, run_name=name)).info.run_id
        params = [Param(key, str(value)[:6000]) for key, value in settings.items()]
        given = [RunTag(key, value) for key, value in tags.items()]
        patiently(uri, lambda: client.log_batch(run_id, params=params, tags=given))
    else:
        patiently(uri, lambda: client.update_run(run_id, status="RUNNING"))
    known = {} if resume is None else patiently(uri, lambda: _known(client, run_id))
    tracker = Tracker(uri, run_id, known)
    status = "FAILED"
    try:
        yield tracker
        status = "FINISHED"
        tracker.close()
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        tracker.flush()
        with suppress(*errors()):
            client.set_terminated(run_id, status)


def tags_of(uri: str, run_id: str) -> dict[str, str] | None:
    """The tags of a run; None where MLflow has no such run."""
    client, _ = connect(uri)
    return None if _existing(client, run_id) is None else dict(client.get_run(run_id).data.tags)


def history(uri: str, run_id: str, name: str) -> list[tuple[int, float]]:
    """A metric's (step, value) pairs, as `Tracker.history`; none where MLflow has no such run."""
    return [] if tags_of(uri, run_id) is None else Tracker(uri, run_id).history(name)


def children(uri: str, parent: str) -> dict[str, dict[str, str]]:
    """The tags of the child runs of another run, by run id, the oldest first."""
    client, experiment = connect(uri)
    found: dict[str, dict[str, str]] = {}
    page = None
    while True:
        some = client.search_runs(
            [experiment],
            f"tags.`mlflow.parentRunId` = '{parent}'",
            max_results=1000,
            order_by=["attributes.start_time ASC"],
            page_token=page,
        )
        found |= {one.info.run_id: dict(one.data.tags) for one in some}
        page = some.token
        if not page:
            return found


def read_artefact(uri: str, run_id: str, path: str) -> bytes:
    """An artefact of a run. UsageError where there is none."""
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    try:
        with tempfile.TemporaryDirectory() as made:
            return Path(MlflowClient(tracking_uri=uri).download_artifacts(run_id, path, made)).read_bytes()
    except (MlflowException, OSError) as error:
        raise UsageError(f"run {run_id} in MLflow at {uri} has no {path}: {first_line(error)}") from error


def _existing(client: "MlflowClient", run_id: str | None) -> str | None:
    """The run id, or None where MLflow has no such run, or the user has deleted it there."""
    from mlflow.exceptions import MlflowException

    if run_id is None:
        return None
    try:
        info = client.get_run(run_id).info
    except MlflowException as error:
        if error.error_code in ("INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE"):
            raise
        return None  # recorded in another MLflow: open_run makes a new run in this one
    return info.run_id if info.lifecycle_stage == "active" else None


def _known(client: "MlflowClient", run_id: str) -> dict[str, int]:
    """The newest step of each metric of a run."""
    return {
        name: max((one.step for one in client.get_metric_history(run_id, name)), default=-1)
        for name in client.get_run(run_id).data.metrics
    }
