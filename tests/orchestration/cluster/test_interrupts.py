"""Jobs that are interrupted, as from a terminal or by the manager of a cluster: one line, its status, nothing left."""

import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import mlflow
import psutil
import pytest

from datasets.storage import open_place
from datasets.store.blocks import Blocks
from orchestration.cluster.session import ROOT
from tests.fixtures.signals import handle_as_usual

MARK = "FOUNDATIONGAIT_TEST"  # in the environment of a job and of all that it starts
WORDS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated", signal.SIGHUP: "the terminal was closed"}


class Job:
    """A job in a process group of its own, as a terminal starts it."""

    def __init__(self, *command: str) -> None:
        self.mark = uuid.uuid4().hex
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "PYTHONPATH"))}
        self.process = subprocess.Popen(
            [sys.executable, *command],
            cwd=ROOT,
            env=environment | {MARK: self.mark},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=handle_as_usual,
        )

    def wait(self, ready: Callable[[], bool]) -> None:
        """Until the job has come so far."""
        end = time.monotonic() + 120
        while not ready():
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < end
            time.sleep(0.02)

    def started(self, name: str) -> bool:
        """Whether it has started a program of this name."""
        with suppress(psutil.NoSuchProcess):
            return any(name in one.name() for one in psutil.Process(self.process.pid).children(recursive=True))
        return False

    def end(self, number: int, times: int = 1) -> tuple[int, list[str], str]:
        """Send a signal to the whole group; its exit status, the lines that are not of the log, and stdout."""
        for _ in range(times):
            os.killpg(self.process.pid, number)
            time.sleep(0.3)
        out, err = self.process.communicate(timeout=90)
        lines = [line for line in err.splitlines() if not re.match(r"\d\d-\d\d \S+ (INFO|WARNING) ", line)]
        return self.process.returncode, lines, out

    def left(self) -> list[str]:
        """The processes that it has left behind; Linux may take a moment to end those that were killed."""
        found: list[str] = []
        for _ in range(50):
            found = []
            for one in psutil.process_iter():
                with suppress(OSError, psutil.Error):
                    if self.mark in Path(f"/proc/{one.pid}/environ").read_text():
                        found.append(f"{one.pid} {one.name()}")
            if not found:
                break
            time.sleep(0.1)
        return found


pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are found by /proc")


def ingest_of(walks: Path, out: Path) -> Job:
    return Job("-m", "jobs.ingest", "--root", f"CASIA-B={walks / 'CASIA-B'}", "--out", str(out), "--block-sequences=1")


@pytest.mark.parametrize("number", WORDS)
def test_a_job_that_is_still_importing_is_one_line(tmp_path: Path, number: signal.Signals) -> None:
    job = Job("-m", "jobs.pretrain", "tiny", "--shards", "none", "--out", str(tmp_path / "run"))
    job.wait(lambda: "torch" in Path(f"/proc/{job.process.pid}/maps").read_text())
    assert job.end(number) == (128 + number, [f"{WORDS[number]}: nothing had begun"], "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", WORDS)
def test_a_job_that_starts_ray_is_one_line_and_leaves_nothing(
    walks: Path, tmp_path: Path, number: signal.Signals
) -> None:
    job = ingest_of(walks, tmp_path / "shards")
    job.wait(lambda: job.started("gcs_server"))
    status, lines, out = job.end(number)
    assert (status, len(lines), out) == (128 + number, 1, "")
    assert lines[0].startswith(f"{WORDS[number]}: the blocks that are committed are in {tmp_path / 'shards'}; the same")
    assert f"command goes on: {sys.executable} -m jobs.ingest --root" in lines[0]
    assert job.left() == []


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_ingest_that_is_interrupted_goes_on_with_the_same_command(
    walks: Path, tmp_path: Path, number: signal.Signals
) -> None:
    job = ingest_of(walks, tmp_path / "shards")
    job.wait(lambda: len(Blocks(open_place(tmp_path / "shards")).names()) > 2)
    status, lines, out = job.end(number)
    assert (status, len(lines), out) == (128 + number, 1, "")
    assert job.left() == []
    again = ingest_of(walks, tmp_path / "shards")
    assert "80" in again.process.communicate(timeout=120)[0] and again.process.returncode == 0


def test_a_training_that_is_interrupted_says_which_checkpoint_it_has(
    store: Path, tmp_path: Path, new_records: Callable[[Path], str]
) -> None:
    uri = new_records(tmp_path)
    small = ["--clips.frames", "4", "--schedule.batch", "16", "--schedule.warmup", "1", "--schedule.steps", "5000"]
    small += ["--data.collections", "CASIA-B", "--network.channels", "8", "--keep.every", "2", "--cluster.workers", "1"]
    job = Job(
        "-m", "jobs.pretrain", "tiny", "--shards", str(store), "--out", str(tmp_path / "run"), *small, "--tracking", uri
    )
    job.wait(lambda: any((tmp_path / "run/checkpoints").glob("step-*/state.json")))
    status, lines, _ = job.end(signal.SIGINT)
    assert (status, len(lines)) == (130, 1)
    assert re.match(
        rf"interrupted: {tmp_path}/run has the checkpoint of step [0-9]+; the same command goes on", lines[0]
    )
    assert job.left() == [] and not (tmp_path / "run/.driver.json").exists()
    client = mlflow.MlflowClient(uri)
    assert client.get_run((tmp_path / "run/mlflow_run_id").read_text()).info.status == "KILLED"


PROGRAM = """
import subprocess, sys, time
from jobs import cli
from orchestration.cluster import interrupts

interrupts.watch_program()
interrupts._GRACE = float(sys.argv[1])

def job():
    subprocess.Popen(["sleep", "600"])
    with interrupts.safe(lambda: 1 / 0):
        try:
            print("works", flush=True)
            time.sleep(600)
        finally:
            time.sleep(600)

cli.run(job)
"""


@pytest.mark.parametrize(("grace", "times"), [("600", 2), ("0.5", 1)])
def test_a_clean_up_that_hangs_ends_with_a_second_signal_or_after_a_while(grace: str, times: int) -> None:
    job = Job("-c", PROGRAM, grace)
    assert job.process.stdout.readline() == "works\n"
    status, lines, _ = job.end(signal.SIGINT, times)
    assert status == 130
    assert lines[0].startswith("interrupted: nothing is lost; the same command goes on: ")
    assert not any(line.startswith("Traceback") for line in lines)  # the others are those of the program above
    assert job.left() == []


IGNORING = """
import signal, time
from jobs import cli
from orchestration.cluster import interrupts

signal.signal(signal.SIGHUP, signal.SIG_IGN)
interrupts.watch_program()

def job():
    print("works", flush=True)
    time.sleep(1)
    print("done", flush=True)

cli.run(job)
"""


def test_a_job_under_nohup_outlives_its_terminal() -> None:
    job = Job("-c", IGNORING)
    assert job.process.stdout.readline() == "works\n"
    assert job.end(signal.SIGHUP) == (0, [], "done\n")
