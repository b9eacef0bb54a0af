"""A folder has one writer: real processes that hold it, die, and race for it, on local disks and in object storage."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from datasets.schema.errors import Unfinished, UsageError
from datasets.storage import Place, open_place
from orchestration.cluster.session import ROOT
from orchestration.run import lease
from tests.fixtures import object_storage

OTHER = """
import sys, time
from datasets.schema.errors import UsageError
from datasets.storage import open_place
from orchestration.run import lease

lease._lock = lease._lock if sys.argv[2] == "locks" else lambda _: False
sys.stdin.readline()  # until all are ready
try:
    with lease.hold(open_place(sys.argv[1]), "jobs.pretrain"):
        print("holds", flush=True)
        sys.stdin.readline()
except UsageError as error:
    print(error, flush=True)
"""


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with object_storage.bucket("leases") as (_, options):
        yield options


@pytest.fixture(params=["local", "object"])
def folder(request, tmp_path: Path, monkeypatch) -> Place:
    monkeypatch.setattr(lease, "_SETTLE", 0.1)
    if request.param == "local":
        return open_place(tmp_path / "run")
    return open_place(f"s3://leases/{tmp_path.name}{request.getfixturevalue('bucket')}")


def other_driver(folder: Path, kind: str = "locks") -> subprocess.Popen[str]:
    command = [sys.executable, "-c", OTHER, str(folder), kind]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def go(driver: subprocess.Popen[str]) -> None:
    driver.stdin.write("\n")
    driver.stdin.flush()


def elsewhere(folder: Place) -> lease.Holder:
    """A driver of a machine that cannot be seen from here."""
    return replace(lease._this_driver("jobs.pretrain"), host="node7", machine="another", token="theirs")


def test_a_second_driver_is_told_who_holds_the_folder(folder: Place) -> None:
    with lease.hold(folder, "jobs.pretrain"):
        (folder / "run.json").write(b"{}")
        with pytest.raises(UsageError, match=rf"`jobs.pretrain` \(process {os.getpid()} on .*, since 20.* UTC\)"):
            lease.hold(folder, "jobs.pretrain").__enter__()
    with lease.hold(folder, "jobs.evaluate"):
        pass
    assert [one.name for one in folder.entries()] == ["run.json"]


def test_a_folder_with_nothing_but_a_lease_is_empty(folder: Place) -> None:
    with lease.hold(folder, "jobs.pretrain"):
        assert folder.is_empty_folder()
        (folder / "run.json").write(b"{}")
        assert not folder.is_empty_folder()


def test_folders_that_were_made_for_nothing_are_deleted(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such store"), lease.hold(open_place(tmp_path / "a/b"), "jobs.embed"):
        raise UsageError("no such store")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="file exists and is not a folder"):
        lease.hold(open_place(tmp_path / "file"), "jobs.embed").__enter__()


def test_a_driver_that_was_killed_keeps_no_one_waiting(tmp_path: Path, monkeypatch, caplog) -> None:
    monkeypatch.setattr(lease, "_watched", None)  # which waits
    first = other_driver(tmp_path)
    go(first)
    assert first.stdout.readline() == "holds\n"
    with pytest.raises(UsageError, match=f"process {first.pid} on "):
        lease.hold(open_place(tmp_path), "jobs.pretrain").__enter__()
    first.send_signal(signal.SIGSTOP)  # it is alive all the same
    with pytest.raises(UsageError, match=f"process {first.pid} on "):
        lease.hold(open_place(tmp_path), "jobs.pretrain").__enter__()
    first.kill()
    while Path(f"/proc/{first.pid}/stat").read_text().split()[2] != "Z":
        time.sleep(0.01)
    with lease.hold(open_place(tmp_path), "jobs.pretrain"):  # although nobody has collected it yet
        pass
    first.communicate()
    assert f"was left by `jobs.pretrain` (process {first.pid}" in caplog.text


def test_another_process_with_the_number_of_a_dead_driver_is_not_it(tmp_path: Path) -> None:
    dead = replace(lease._this_driver("jobs.pretrain"), started=1.0)
    lease._write(open_place(tmp_path), dead)
    with lease.hold(open_place(tmp_path), "jobs.pretrain"):
        pass


def test_a_silent_driver_of_another_machine_loses_the_folder_after_a_while(folder: Place, monkeypatch, caplog) -> None:
    monkeypatch.setattr(lease, "_SILENCE", 0.5)
    monkeypatch.setattr(lease, "_LOOK", 0.1)
    lease._write(folder, replace(elsewhere(folder), since="2999-01-01 00:00:00"))  # its clock is far ahead
    with lease.hold(folder, "jobs.pretrain"):
        assert lease._read(folder).pid == os.getpid() and lease._read(folder).machine != "another"
    assert "process" in caplog.text and "on node7" in caplog.text and "waiting up to 0 s" in caplog.text


def test_a_driver_of_another_machine_that_renews_its_lease_keeps_the_folder(folder: Place, monkeypatch) -> None:
    monkeypatch.setattr(lease, "_LOOK", 0.1)
    monkeypatch.setattr(lease, "_BEAT", 0.3)
    theirs = elsewhere(folder)
    lease._write(folder, theirs)
    keeper = lease._Keeper(folder, theirs)
    keeper.start()
    with pytest.raises(UsageError, match=r"on node7, since .*: wait until that has ended, stop it, or write elsewhere"):
        lease.hold(folder, "jobs.pretrain").__enter__()
    keeper.stop()
    assert lease._read(folder).token == "theirs"


def test_a_driver_that_lost_the_folder_while_it_slept_stops(folder: Place, monkeypatch) -> None:
    monkeypatch.setattr(lease, "_BEAT", 0.1)
    with (  # noqa: PT012 it sleeps inside
        pytest.raises(Unfinished, match=r"is written by `jobs.pretrain` \(process .* on node7"),
        lease.hold(folder, "x"),
    ):
        lease._write(folder, elsewhere(folder))
        threading.Event().wait(60)
    assert lease._read(folder).token == "theirs"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"pid": 1}', b"\xff"])
def test_a_lease_that_nobody_can_read_is_none(folder: Place, content: bytes) -> None:
    (folder / lease.LEASE).write(content)
    with lease.hold(folder, "jobs.pretrain"):
        assert json.loads((folder / lease.LEASE).read())["pid"] == os.getpid()


@pytest.mark.parametrize("kind", ["locks", "no locks"])
@pytest.mark.parametrize("left", [False, True])
def test_of_drivers_that_start_at_once_one_gets_the_folder(tmp_path: Path, kind: str, left: bool) -> None:
    """Also where a dead driver has left its lease, and where the file system has no locks."""
    if left:
        lease._write(open_place(tmp_path), replace(lease._this_driver("jobs.pretrain"), started=1.0))
    drivers = [other_driver(tmp_path, kind) for _ in range(4)]
    with ExitStack() as stack:
        for one in drivers:
            stack.callback(one.communicate)
            stack.callback(one.kill)
        for one in drivers:
            go(one)
        said = [one.stdout.readline() for one in drivers]
        assert sum(line == "holds\n" for line in said) == 1
        assert sum("is being written by `jobs.pretrain`" in line for line in said) == 3
