"""Kills of driver, worker and node: the store equals that of an undisturbed run, and little work is repeated."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from ray.cluster_utils import Cluster

from datasets.storage import open_place
from datasets.store.blocks import Blocks
from datasets.store.reader import Store
from orchestration.cluster.session import ROOT
from orchestration.ingest.ingest import IngestRun, ingest

SEQUENCES = 320


@pytest.fixture(scope="module")
def tree(walks: Path, tmp_path_factory) -> Path:
    """The walks of one subject under many names."""
    root = tmp_path_factory.mktemp("many") / "CASIA-B"
    for number in range(1, SEQUENCES // 10 + 1):
        shutil.copytree(walks / "CASIA-B/001", root / f"{number:03d}")
    return root


@pytest.fixture(scope="module")
def undisturbed(tree: Path, local_ray, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed")
    ingest(IngestRun(roots={"CASIA-B": str(tree)}, out=str(out)))
    return out


def start(tree: Path, out: Path, address: str | None = None) -> subprocess.Popen:
    """The job in a process group of its own, with a Ray of its own unless it is given one."""
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    environment |= {"RAY_ADDRESS": address} if address else {}
    command = [sys.executable, "-m", "jobs.ingest", f"--root=CASIA-B={tree}", f"--out={out}"]
    with (out.parent / f"{out.name}.log").open("ab") as log:
        return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True)


def finish(job: subprocess.Popen, out: Path) -> None:
    assert job.wait(timeout=120) == 0, (out.parent / f"{out.name}.log").read_text()


def wait_for_commits(out: Path, count: int, job: subprocess.Popen) -> None:
    while len(Blocks(open_place(out)).names()) < count:
        assert job.poll() is None, (
            "the job ended before it could be killed: " + (out.parent / f"{out.name}.log").read_text()
        )
        time.sleep(0.01)


def forget_reading(tree: Path) -> None:
    """Reset the access time of every frame, so that the next read shows (also under `relatime`)."""
    for frame in tree.rglob("*.png"):
        os.utime(frame, (0, frame.stat().st_mtime))


def read_since(tree: Path) -> set[Path]:
    """The sequences of which a frame was read since."""
    return {frame.parent for frame in tree.rglob("*.png") if frame.stat().st_atime > 0}


def assert_equal(out: Path, undisturbed: Path) -> None:
    assert Store.open(out).rows().equals(Store.open(undisturbed).rows())
    rejects = [
        Store.open(one).rejects().sort_by([("sequence_id", "ascending"), ("frame", "ascending")])
        for one in (out, undisturbed)
    ]
    assert rejects[0].equals(rejects[1])


@pytest.mark.slow
@pytest.mark.parametrize("everything", [False, True], ids=["alone", "with its Ray"])
def test_the_driver_is_killed(tree: Path, undisturbed: Path, tmp_path: Path, everything: bool) -> None:
    out = tmp_path / "store"
    forget_reading(tree)
    job = start(tree, out)
    wait_for_commits(out, 40, job)
    below = psutil.Process(job.pid).children(recursive=True) if everything else []
    for process in (job, *below):
        process.send_signal(signal.SIGKILL)
    job.wait()
    time.sleep(2)  # tasks that outlive their driver by a moment count as the first run
    first = read_since(tree)
    if not first:
        pytest.skip("this file system does not note when a file is read")
    assert 40 <= len(first) < SEQUENCES
    forget_reading(tree)
    finish(start(tree, out), out)
    second = read_since(tree)
    assert len(first | second) == SEQUENCES
    assert len(first & second) <= 0.02 * SEQUENCES
    assert_equal(out, undisturbed)


@pytest.mark.slow
def test_a_driver_that_is_restarted_at_once_meets_the_tasks_of_the_dead_one(
    tree: Path, undisturbed: Path, tmp_path: Path
) -> None:
    out = tmp_path / "store"
    job = start(tree, out)
    wait_for_commits(out, 40, job)
    job.kill()
    finish(start(tree, out), out)
    job.wait()
    assert_equal(out, undisturbed)


@pytest.mark.slow
def test_a_worker_is_killed(tree: Path, undisturbed: Path, tmp_path: Path) -> None:
    out = tmp_path / "store"
    job = start(tree, out)
    wait_for_commits(out, 40, job)
    working = [one for one in psutil.Process(job.pid).children(recursive=True) if "Ingester" in " ".join(one.cmdline())]
    working[0].kill()
    finish(job, out)
    assert_equal(out, undisturbed)


@pytest.mark.slow
def test_a_node_is_killed(tree: Path, undisturbed: Path, tmp_path: Path) -> None:
    out = tmp_path / "store"
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        other = cluster.add_node(num_cpus=1)
        job = start(tree, out, cluster.address)
        wait_for_commits(out, 40, job)
        cluster.remove_node(other, allow_graceful=False)
        finish(job, out)
    finally:
        cluster.shutdown()
    assert_equal(out, undisturbed)


@pytest.mark.slow
def test_two_concurrent_runs(tree: Path, undisturbed: Path, tmp_path: Path) -> None:
    out = tmp_path / "store"
    jobs = [start(tree, out), start(tree, out)]
    for job in jobs:
        finish(job, out)
    assert_equal(out, undisturbed)
