"""Storage locations: local folders and object storage behind one interface."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from datasets.loading.clips import ClipSettings
from datasets.schema.errors import Unreadable, UsageError
from datasets.storage import Entry, LocalPlace, Place, local_path, open_place
from datasets.store.blocks import Blocks
from datasets.store.reader import Store
from jobs import ingest as ingest_job
from model.network import NetworkSettings
from orchestration.run import checkpoint
from orchestration.run.folder import folder_of
from orchestration.run.settings import Cluster, Keep, PretrainRun, Schedule
from orchestration.training.monitor import prune_checkpoints
from orchestration.training.pretrain import pretrain
from tests.fixtures import object_storage


@pytest.fixture(scope="module")
def bucket() -> Iterator[tuple[str, str]]:
    """A bucket of a local S3 server: its address, and the options to reach it."""
    with object_storage.bucket("storage") as (_, options):
        yield "s3://storage", options


@pytest.fixture(params=["local", "object storage"])
def place(request, tmp_path: Path) -> Place:
    if request.param == "local":
        return open_place(tmp_path)
    address, options = request.getfixturevalue("bucket")
    return open_place(f"{address}/{request.node.name.replace(' ', '-')}{options}")


def test_write_read_list_and_remove(place: Place) -> None:
    (place / "a/b.json").write(b"first")
    (place / "a/b.json").write(b"second")
    (place / "a/c/d").write(b"")
    assert (place / "a").entries() == [Entry("b.json", "file"), Entry("c", "folder")]
    assert ((place / "a/b.json").read(), (place / "a/c/d").read()) == (b"second", b"")
    with (place / "a/b.json").open() as file:
        assert file.size() == 6
    (place / "a/b.json").remove()
    (place / "a/b.json").remove()
    assert not (place / "a/b.json").exists()
    assert (place / "a/c/d").exists()


def test_missing_and_too_large_files_raise(place: Place) -> None:
    (place / "large").write(b"12345")
    with pytest.raises(Unreadable, match="file too large: 5 bytes"):
        (place / "large").read(limit=4)
    with pytest.raises(FileNotFoundError):
        (place / "nothing").read()
    with pytest.raises(FileNotFoundError):
        (place / "nothing").entries()


def test_a_place_survives_its_address(place: Place) -> None:
    assert open_place(str(place)) == place
    assert (place / "a/b").name == "b"


def test_links_loops_and_pipes_are_told_apart_without_blocking(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    (tmp_path / "itself").symlink_to(tmp_path / "itself")
    (tmp_path / "up").symlink_to(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"x")
    kinds = {entry.name: entry.kind for entry in open_place(tmp_path).entries()}
    assert kinds == {
        "file": "file", "folder": "folder", "gone": "other", "itself": "other", "pipe": "other", "up": "loop"
    }  # fmt: skip
    for name in ("pipe", "folder"):
        with pytest.raises(Unreadable, match="not a file"):
            open_place(tmp_path / name).read()


def test_unsupported_addresses_are_refused() -> None:
    for address in ("ftp://server/walks", "s3://", "hdfs://node/walks"):
        with pytest.raises(UsageError, match="cannot be read or written"):
            open_place(address)
    with pytest.raises(UsageError, match="keep credentials out of addresses"):
        open_place("s3://AKIA:secret@walks/tree")
    with pytest.raises(UsageError, match="must lie on a local or shared file system"):
        local_path("s3://walks/run", "a run")
    assert isinstance(open_place("file:///walks"), LocalPlace)


@pytest.mark.slow
def test_ingest_reads_from_and_writes_to_object_storage(bucket, walks: Path, store: Path, local_ray) -> None:
    address, options = bucket
    for name in ("CASIA-B/001", "CASIA-B/075", "GaitLU-1M"):
        for path in (walks / name).rglob("*.p*"):
            (open_place(f"{address}{options}") / str(path.relative_to(walks))).write(path.read_bytes())
    out = f"{address}/store{options}"
    roots = [f"--root={name}={address}/{name}{options}" for name in ("CASIA-B", "GaitLU-1M")]
    ingest_job.main([*roots, "--out", out])
    rows, local_rows = Store.open(out).rows(), Store.open(store).rows()
    known = local_rows["sequence_id"].to_pylist()
    assert rows.num_rows == 20 + 24
    assert rows.equals(local_rows.take([known.index(one) for one in rows["sequence_id"].to_pylist()]))
    before = Blocks(open_place(out)).names()
    ingest_job.main([*roots, "--out", out])
    assert Blocks(open_place(out)).names() == before


def test_files_are_moved_in_and_folders_removed(place: Place, tmp_path: Path) -> None:
    file = tmp_path / "made"
    file.write_bytes(b"content")
    (place / "a/b").move_from(file)
    assert (place / "a/b").read() == b"content" and not file.exists()
    (place / "a/c/d").write(b"")
    assert not (place / "a").is_empty_folder()
    (place / "a").remove_folder()
    (place / "a").remove_folder()
    assert not (place / "a").exists()


def test_checkpoints_lie_in_local_folders_and_object_storage(place: Place) -> None:
    run = PretrainRun(recipe="x", shards="s", out=str(place / "run"), keep=Keep(last=1, best=1))
    folder, state = folder_of(run), {"a": torch.arange(3.0)}
    for step in (1, 2, 3):
        checkpoint.save(folder, run, step, state, state)
    checkpoint.write_score(checkpoint.complete(folder)[0], {"mean": 5.0})
    (folder / "checkpoints/step-00000009/weights.safetensors").write(b"half of")
    (folder / "checkpoints/step-00000003/weights.safetensors").write(b"damaged")
    assert checkpoint.step_of(checkpoint.newest_intact(folder)) == 2
    assert torch.equal(checkpoint.load_moments(checkpoint.newest_intact(folder))["a"], state["a"])
    checkpoint.discard_unfinished(folder)
    assert not (folder / "checkpoints/step-00000009").exists()
    prune_checkpoints(folder, run, needed=set())
    assert [checkpoint.step_of(one) for one in checkpoint.complete(folder)] == [1, 3]


@pytest.mark.slow
def test_a_run_trains_and_resumes_in_object_storage(bucket: tuple[str, str], store: Path, tmp_path: Path) -> None:
    address, options = bucket
    run = PretrainRun(
        recipe="test",
        shards=str(store),
        out=f"{address}/runs/one{options}",
        clips=ClipSettings(frames=2),
        network=NetworkSettings(channels=8),
        schedule=Schedule(steps=2, batch=16, warmup=1, guard_every=0),
        keep=Keep(every=1, last=0),
        cluster=Cluster(device="cpu", precision="fp32"),
    )
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    last = pretrain(run, uri)
    assert str(last) == f"{address}/runs/one/checkpoints/step-00000002{options}"
    whole = checkpoint.load_moments(last)
    (last / "state.json").remove()
    again = checkpoint.load_moments(pretrain(run, uri))
    assert all(torch.equal(again[name], value) for name, value in whole.items())
    assert (folder_of(run) / "loss.png").exists()
