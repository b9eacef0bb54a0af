"""MLflow: metrics are logged once and never where they are NaN, and a server that is unreachable loses none."""

import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import mlflow
import pytest

from datasets.schema.errors import Unfinished, UsageError
from orchestration.run import tracking


def test_a_metric_is_logged_once_for_a_step_and_nan_never(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    with tracking.open_run(uri, "one", {"a": 1}, {}) as tracker:
        tracker.log(1, {"loss": 3.0, "none": float("nan")})
    with tracking.open_run(uri, "one", {"a": 1}, {}, resume=tracker.run_id) as again:
        again.log(1, {"loss": 4.0})  # what a resumed run repeats
        again.log(2, {"loss": 2.0})
        again.set_param("b", "2")
        again.flush()
        assert again.history("loss") == [(1, 3.0), (2, 2.0)]
    found = mlflow.MlflowClient(uri).get_run(tracker.run_id)
    assert again.run_id == tracker.run_id and found.info.status == "FINISHED"
    assert set(found.data.metrics) == {"loss"} and found.data.params == {"a": "1", "b": "2"}


def test_a_uri_that_cannot_be_used_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(UsageError, match=r"MLflow cannot be used at sqlite:///.*file/mlflow.db \(--tracking\)"),
        tracking.open_run(f"sqlite:///{tmp_path}/file/mlflow.db", "one", {}, {}),
    ):
        pass


@contextmanager
def served(folder: Path, port: int) -> Iterator[None]:
    """A real tracking server on the loopback interface, until the block ends."""
    place = ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder / "files")]
    command = [sys.executable, "-m", "mlflow", "server", *place, "--host", "127.0.0.1", "--port", str(port)]
    with (folder / "server.log").open("ab") as log:
        server = subprocess.Popen([*command, "--workers", "1"], stdout=log, stderr=log, start_new_session=True)
    try:
        _wait(lambda: urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2).status == 200)
        yield
    finally:
        subprocess.run(["pkill", "-KILL", "-s", str(server.pid)], check=False)
        server.wait()


def _wait(answers: Callable[[], bool]) -> None:
    until = time.monotonic() + 90
    while time.monotonic() < until:
        with suppress(OSError):
            if answers():
                return
        time.sleep(0.3)
    raise AssertionError("the server does not answer")


@pytest.mark.slow
def test_a_server_that_is_unreachable_ends_no_run_and_loses_no_metric(tmp_path: Path, caplog, monkeypatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    uri = f"http://127.0.0.1:{port}"
    with served(tmp_path, port):
        run = tracking.open_run(uri, "one", {}, {})
        tracker = run.__enter__()
        tracker.log(1, {"loss": 3.0})
        tracker.flush()
    for step in (2, 3):
        tracker.log(step, {"loss": 3.0 - step / 10})
        began = time.monotonic()
        tracker.flush()
        assert time.monotonic() - began < 30  # the driver must not block
    assert caplog.text.count("MLflow is unreachable; buffering metrics") == 1
    with served(tmp_path, port):
        run.__exit__(None, None, None)
        assert tracker.history("loss") == [(1, 3.0), (2, 2.8), (3, 2.7)]
        assert mlflow.MlflowClient(uri).get_run(tracker.run_id).info.status == "FINISHED"
        run = tracking.open_run(uri, "two", {}, {})
        lost = run.__enter__()
        lost.log(1, {"loss": 1.0})
    monkeypatch.setattr(tracking, "RETRIES", (0,))
    with pytest.raises(Unfinished, match="is unreachable: the last 1 metrics"):
        run.__exit__(None, None, None)
