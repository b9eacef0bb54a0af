"""The store of MLflow's records: new, shared, locked, damaged, deleted from, or in a folder with an odd name."""

import shutil
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import mlflow
import pytest

from datasets.schema.errors import UsageError
from orchestration.cluster.session import ROOT
from orchestration.run import tracking, tracking_store

FIRST = """
import sys
from orchestration.run import tracking

sys.stdin.readline()  # until all are ready
with tracking.open_run(sys.argv[1], sys.argv[2], {"a": 1}, {}) as tracker:
    tracker.log(1, {"loss": 3.0})
print("done")
"""


def test_jobs_that_use_a_new_file_at_once_all_write_to_it(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    jobs = [
        subprocess.Popen(
            [sys.executable, "-c", FIRST, uri, str(number)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(3)
    ]
    said = []
    for job in jobs:
        job.stdin.write("\n")
        job.stdin.flush()
    for job in jobs:
        said.append(job.communicate(timeout=240))
    assert [out for out, _ in said] == ["done\n"] * 3, said
    client = mlflow.MlflowClient(uri)
    (experiment,) = [one for one in client.search_experiments() if one.name == "foundationgait"]
    assert {run.info.run_name for run in client.search_runs([experiment.experiment_id])} == {"0", "1", "2"}
    assert {path.name for path in tmp_path.iterdir()} == {"mlflow.db"}


def test_a_file_that_is_locked_ends_no_run_and_loses_no_metric(new_records, tmp_path: Path, caplog) -> None:
    uri = new_records(tmp_path)
    with tracking.open_run(uri, "one", {}, {}) as tracker:
        tracker.log(1, {"loss": 3.0})
        other = sqlite3.connect(tmp_path / "mlflow.db")
        other.execute("BEGIN EXCLUSIVE")
        tracker.flush()
        tracker.log(2, {"loss": 2.0})
        assert caplog.text.count("MLflow is unreachable; buffering metrics") == 1
        other.rollback()
        other.close()
        tracker.flush()
        assert tracker.history("loss") == [(1, 3.0), (2, 2.0)]


@pytest.mark.parametrize("name", ["a b", "h#sh", "p%20q", "%zz", "été", "q?x", "a&b;c", "x:y", "q%3Fx"])
def test_records_and_artefacts_lie_in_folders_of_any_name(
    new_records: Callable[[Path], str], tmp_path: Path, monkeypatch, name: str
) -> None:
    folder = tmp_path / name
    folder.mkdir()
    new_records(folder)  # which copies a file there
    monkeypatch.chdir(folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "made.txt").write_text("made")
    with tracking.open_run(tracking.default_uri(), "one", {}, {}) as tracker:
        tracker.attach(tmp_path / "made.txt")
    assert tracking.read_artefact(tracking.default_uri(), tracker.run_id, "made.txt") == b"made"
    assert [path.name for path in folder.rglob("made.txt")] == ["made.txt"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, "made.txt"])


def test_a_run_that_was_deleted_in_mlflow_begins_another_one(new_records, tmp_path: Path) -> None:
    uri = new_records(tmp_path)
    with tracking.open_run(uri, "one", {}, {}) as first:
        pass
    mlflow.MlflowClient(uri).delete_run(first.run_id)
    with tracking.open_run(uri, "one", {}, {}, resume=first.run_id) as second:
        second.log(1, {"loss": 3.0})
    assert second.run_id != first.run_id and second.history("loss") == [(1, 3.0)]


def test_an_experiment_that_was_deleted_in_mlflow_is_one_line(new_records, tmp_path: Path) -> None:
    uri = new_records(tmp_path)
    tracking.prepare(uri)
    client = mlflow.MlflowClient(uri)
    number = client.get_experiment_by_name("foundationgait").experiment_id
    client.delete_experiment(number)
    with pytest.raises(UsageError, match=f"was deleted in MLflow at .*mlflow experiments restore -x {number}, "):
        tracking.prepare(uri)
    client.restore_experiment(number)
    tracking.prepare(uri)


def test_records_of_another_version_of_mlflow_are_one_line(new_records, tmp_path: Path) -> None:
    new_records(tmp_path)
    database = sqlite3.connect(tmp_path / "mlflow.db")
    database.execute("UPDATE alembic_version SET version_num = 'ffffffffffff'")
    database.commit()
    database.close()
    shutil.move(tmp_path / "mlflow.db", tmp_path / "newer.db")  # MLflow remembers the files that it has opened
    with pytest.raises(UsageError, match="another version of MLflow made these records: use that version"):
        tracking.prepare(f"sqlite:///{tmp_path}/newer.db")


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("sqlite:///{}/junk.db", "file is not a database"),
        ("sqlite:///{}/junk.db/mlflow.db", "(Not a directory|File exists)"),
        ("postgresql://me@127.0.0.1:1/records", "MLflow cannot be used at postgresql"),
        ("http://127.0.0.1:1", "no server answers there within"),
        ("nonsense://there", "unsupported URI"),
    ],
)
def test_a_store_that_is_none_is_one_line(tmp_path: Path, uri: str, message: str) -> None:
    (tmp_path / "junk.db").write_bytes(b"no database" * 100)
    with pytest.raises(UsageError, match=message) as found:
        tracking.prepare(uri.format(tmp_path))
    assert "\n" not in str(found.value)


def test_a_server_that_accepts_and_never_answers_is_one_line(monkeypatch) -> None:
    monkeypatch.setattr(tracking_store, "_PATIENCE", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:
        uri = f"http://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(UsageError, match=r"MLflow cannot be used at .* \(--tracking\): no server answers there"):
            tracking.prepare(uri)
