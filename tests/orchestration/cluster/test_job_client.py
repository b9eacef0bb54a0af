"""Jobs on a real Ray cluster: a head and a job server with token authentication, in processes of their own."""

import asyncio
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import aiohttp
import psutil
import pytest
import requests
from ray.job_submission import JobStatus

from datasets.catalog import registry
from datasets.schema.errors import UsageError
from datasets.store.reader import Store
from datasets.synthetic import scenes
from datasets.synthetic.trees import write_tree
from jobs import submit
from orchestration.cluster import job_client
from orchestration.cluster.session import ROOT
from tests.fixtures.signals import handle_as_usual


@dataclass(frozen=True)
class Head:
    """A cluster of one machine."""

    address: str  # of its job server
    token: str
    process: psutil.Process


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    """Started as a node of a cluster is, but on the loopback interface and on free ports."""
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # short: the names of sockets are limited in length
    token = secrets.token_hex(32)
    (folder / "token").write_text(token)
    places = ("port", "dashboard-port", "dashboard-agent-listen-port", "ray-client-server-port")
    ports = {place: free_port() for place in places}
    others = ("RAY_", "__RAY_", "PYTHONPATH")  # of the local Ray of other tests
    environment = {name: value for name, value in os.environ.items() if not name.startswith(others)}
    environment |= {"RAY_AUTH_TOKEN_PATH": str(folder / "token"), "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
    environment |= {"GAIT_ENVIRONMENT": str(Path(sys.executable).parents[1])}
    command = ["bash", str(ROOT / "orchestration/cluster/node.sh"), "ray", "start", "--head", "--block", "--num-cpus=2"]
    command += ["--node-ip-address=127.0.0.1", "--dashboard-host=127.0.0.1", f"--temp-dir={folder / 'ray'}"]
    command += [f"--{place}={port}" for place, port in ports.items()]
    with (folder / "log").open("wb") as log:
        process = psutil.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    address = f"http://127.0.0.1:{ports['dashboard-port']}"
    try:
        while not answers(address):
            assert process.poll() is None, (folder / "log").read_text()
            time.sleep(0.2)
        yield Head(address, token, process)
    finally:
        everything = [process, *process.children(recursive=True)]
        for one in everything:  # Ray would take half a minute to end them
            with suppress(psutil.NoSuchProcess):
                one.kill()
        psutil.wait_procs(everything, timeout=20)
        shutil.rmtree(folder, ignore_errors=True)


def answers(address: str) -> bool:
    try:
        return requests.get(f"{address}/api/authentication_mode", timeout=5).ok
    except requests.RequestException:
        return False


@pytest.fixture
def ask(head: Head, monkeypatch: pytest.MonkeyPatch, capsys) -> Callable[..., tuple[int, str, str]]:
    """Run jobs.submit against the head; returns its exit status and what it printed."""
    monkeypatch.setenv("RAY_AUTH_TOKEN", head.token)
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")  # of another cluster: --address overrides it
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)

    def run(*argv: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            submit.main(["--address", head.address, "--python", sys.executable, *argv])
        return end.value.code, *capsys.readouterr()

    return run


def without_log(err: str) -> str:
    """What was printed beside lines of the log."""
    return re.sub(r"^\d\d-\d\d \S+ (INFO|WARNING) .*\n", "", err, flags=re.MULTILINE)


def submitted(out: str) -> str:
    """The id in what was printed."""
    return re.search(r"^submitted: (\S+)$", out, re.MULTILINE)[1]


@pytest.mark.slow
def test_a_detached_job_can_be_followed_to_its_end(ask, tmp_path: Path) -> None:
    walks = [scenes.casia_b("001", "nm-01", view) for view in ("036", "090")]
    write_tree(tmp_path / "walks", registry.find("CASIA-B").layouts[0], walks, num_frames=18, seed=1)
    ingest = ["ingest", "--root", f"CASIA-B={tmp_path / 'walks'}", "--out", str(tmp_path / "shards")]
    status, out, err = ask("--detach", "--", *ingest)
    assert status == 0
    assert re.search(r" INFO packed \d+ files, 0\.\d MB$", err, re.MULTILINE)
    job = submitted(out)
    assert f"--follow {job}" in out and f"--stop {job}" in out
    status, out, _ = ask("--follow", job)
    assert status == 0, out
    assert "report:" in out
    assert len(Store.open(tmp_path / "shards").rows()) == 2
    status, out, _ = ask("--stop", job)
    assert (status, out) == (0, f"{job}: succeeded\n")


def test_the_exit_status_is_that_of_the_job(ask, tmp_path: Path) -> None:
    status, out, _ = ask("--", "ingest", "--root", "CASIA-B=/nowhere", "--out", str(tmp_path / "shards"))
    assert status == 2
    assert "error: no folder /nowhere for CASIA-B" in out


@pytest.mark.slow
def test_an_interrupted_client_leaves_the_job_running(head: Head, ask, tmp_path: Path) -> None:
    """Interrupted as from a terminal; then the job is stopped, and following it says so."""
    (tmp_path / "python").write_text("#!/bin/sh\necho here I am\nexec sleep 600\n")
    (tmp_path / "python").chmod(0o755)
    command = [sys.executable, "-m", "jobs.submit", "--address", head.address, "--python", str(tmp_path / "python")]
    following = subprocess.Popen(
        [*command, "--", "ingest"], cwd=ROOT, stdout=subprocess.PIPE, text=True, preexec_fn=handle_as_usual
    )
    said = ""
    while "here I am" not in said:
        said += (line := following.stdout.readline())
        assert line
    following.send_signal(signal.SIGINT)
    rest = following.communicate(timeout=30)[0]
    job = submitted(said)
    assert following.returncode == 130
    assert f"{job} continues to run" in rest and f"--follow {job}" in rest
    assert ask("--stop", job)[:2] == (0, f"{job}: stopped\n")
    status, out, err = ask("--follow", job)
    assert status == 130
    assert "here I am" in out and f"{job} stopped" in err


@pytest.mark.parametrize(
    ("token", "message"),
    [("f" * 64, "refuses the token of RAY_AUTH_TOKEN"), ("", "requires a token, and there is none here")],
)
def test_without_the_token_nothing_is_sent(ask, monkeypatch, tmp_path: Path, token: str, message: str) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", token)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "none"))
    status, out, err = ask("--", "ingest")
    assert status == 2
    assert message in without_log(err) and without_log(err).count("\n") == 1
    assert "submitted" not in out and "packed" not in err


def test_an_unknown_job_is_one_line(ask) -> None:
    status, _, err = ask("--follow", "raysubmit_none")
    assert status == 2
    assert "raysubmit_none does not exist" in err and err.count("\n") == 1


def test_a_head_started_as_docs_cluster_md_says_listens_on_the_loopback_interface_alone(head: Head, listening) -> None:
    end = time.monotonic() + 60
    while len(where := listening(head.process)) < 5 and time.monotonic() < end:  # some come up after the job server
        time.sleep(0.5)
    assert len(where) >= 5
    assert set(where) <= {"127.0.0.1", "::1"}


class Flaky:
    """A job server whose connection breaks in the middle of a log, and later sends all of it but its last line."""

    def __init__(self, exit_code: int | None, status: JobStatus) -> None:
        self.logs = [["one\n", "tw"], [], ["one\n", "two\n", "three\n"]]
        self.exit_code, self.status = exit_code, status

    def get_address(self) -> str:
        return "http://head"

    async def tail_job_logs(self, job: str) -> AsyncIterator[str]:
        for text in self.logs.pop(0):
            yield text
        if self.logs:
            raise aiohttp.ClientError

    def get_job_logs(self, job: str) -> str:
        return "one\ntwo\nthree\nfour\n"

    def get_job_info(self, job: str) -> SimpleNamespace:
        status = JobStatus.RUNNING if self.logs else self.status
        return SimpleNamespace(submission_id=job, status=status, driver_exit_code=self.exit_code, message="no node")


@pytest.mark.parametrize(
    ("ended", "code", "status"),
    [("SUCCEEDED", 0, 0), ("FAILED", 3, 3), ("FAILED", -9, 137), ("FAILED", None, 1), ("STOPPED", None, 130)],
)
def test_a_log_continues_where_the_connection_was_lost(caplog, monkeypatch, ended: str, code: int, status: int) -> None:
    monkeypatch.setattr(job_client, "_POLL_INTERVAL", 0)
    shown: list[str] = []
    assert job_client.follow(Flaky(code, JobStatus(ended)), "job", shown.append) == status
    assert "".join(shown) == "one\ntwo\nthree\nfour\n"
    assert caplog.messages == ([] if code is not None else [f"job {ended.lower()}: no node"])


def test_a_cluster_that_stays_unreachable_is_one_line(monkeypatch) -> None:
    def gone(_job: str) -> None:
        raise requests.ConnectionError

    client = Flaky(None, JobStatus.RUNNING)
    client.get_job_info = gone
    monkeypatch.setattr(job_client, "_POLL_INTERVAL", 0)
    with pytest.raises(UsageError, match="http://head does not answer any more"):
        job_client.follow(client, "job", print)


class Quiet(Flaky):
    """A job server that has no more to say. Meanwhile a signal arrives that the event loop does not wake up for."""

    async def tail_job_logs(self, job: str) -> AsyncIterator[str]:
        # Another thread receives it; in the main one, this is a signal that arrives just before the loop waits.
        interrupt = threading.Timer(0.5, lambda: signal.pthread_kill(threading.get_ident(), signal.SIGINT))
        interrupt.start()
        yield "here I am"
        await asyncio.sleep(600)


def test_an_interruption_is_seen_although_a_log_is_quiet() -> None:
    shown: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        job_client.follow(Quiet(None, JobStatus.RUNNING), "job", shown.append)
    assert shown == ["here I am"]


def mistake(capsys, *argv: str) -> str:
    """The one line of an error that is found before anything is sent."""
    with pytest.raises(SystemExit) as end:
        submit.main(list(argv))
    said = without_log(capsys.readouterr().err)
    assert end.value.code == 2
    assert said.count("\n") == 1
    return said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--", "levitate"], "unknown job 'levitate': give -- <job> <arguments>; the jobs are demo, embed, evaluate,"),
        (["--", "submit"], "unknown job 'submit'"),
        (["--detach"], "nothing to submit"),
        (["--follow", "a", "--stop", "b"], "give one of"),
        (["--detach", "pretrain", "xl"], "put -- before the job: -- pretrain xl"),
        (["--", "ingest", "--out", "shards"], "--out shards would lie in the job's own folder on the cluster"),
        (["--", "ingest", "--out=shards"], "--out shards would lie in the job's own folder on the cluster"),
        (["--", "ingest", "--out", "s3://me:secret@bucket/shards"], "the arguments hold a password"),
        (["--address", "ray://head:10001", "--", "ingest"], "is not a job server"),
    ],
)
def test_mistakes_are_found_before_anything_is_sent(capsys, monkeypatch, words: list[str], message: str) -> None:
    said = mistake(capsys, *words)
    assert message in said
    assert "secret" not in said


def test_an_address_without_a_server_is_one_line(capsys) -> None:
    assert "no Ray answers at http://127.0.0.1:" in mistake(
        capsys, "--address", f"127.0.0.1:{free_port()}", "--", "ingest"
    )


@pytest.mark.parametrize(
    ("uri", "sent", "said"),
    [
        ("https://mlflow.example.org", {"MLFLOW_TRACKING_URI": "https://mlflow.example.org"}, ""),
        ("sqlite:////home/me/mlflow.db", {}, "MLFLOW_TRACKING_URI names no server (sqlite:////home/me/mlflow.db):"),
        ("", {}, "MLFLOW_TRACKING_URI is not set:"),
    ],
)
def test_only_the_address_of_mlflow_is_sent(caplog, monkeypatch, uri: str, sent: dict[str, str], said: str) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    assert job_client.environment(["evaluate"]) == sent
    assert [message.startswith(said) for message in caplog.messages] == [True] * bool(said)
    caplog.clear()
    assert job_client.environment(["evaluate", "--tracking", "https://other.example.org"]) == sent
    assert caplog.messages == []
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:secret@mlflow.example.org")
    with pytest.raises(UsageError, match="MLFLOW_TRACKING_PASSWORD in the environment of the cluster"):
        job_client.environment(["evaluate"])
