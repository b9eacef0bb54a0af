"""Faults: killed processes, stalled ranks, NaN, full disks. The run stays the same, or ends with one clear line."""

import errno
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import mlflow
import psutil
import pytest
import torch
from safetensors.torch import load_file

from datasets.loading.clips import ClipSettings
from datasets.schema.errors import Unfinished, UsageError
from datasets.storage import open_place
from model.network import NetworkSettings
from orchestration.rank.checkpoint_writer import CheckpointWriter, SaveFailed
from orchestration.rank.status import CheckpointSaved, Heartbeat
from orchestration.run import checkpoint
from orchestration.run.folder import tracked_run
from orchestration.run.settings import Cluster, Keep, PretrainRun, Schedule
from orchestration.training import monitor
from orchestration.training.pretrain import pretrain

WORKER, CONTROLLER = "ray::RayTrainWorker", "ray::LocalController"


def run_of(store: Path, out: Path, steps: int = 12, **cluster: object) -> PretrainRun:
    return PretrainRun(
        recipe="test",
        shards=str(store),
        out=str(out),
        clips=ClipSettings(frames=4),
        network=NetworkSettings(channels=16),
        schedule=Schedule(steps=steps, batch=16, warmup=2, log_every=1, guard_every=0),
        keep=Keep(every=2, last=0),
        cluster=Cluster(device="cpu", precision="fp32", **cluster),
    )


@pytest.fixture(scope="module")
def undisturbed(store: Path, uri: str, tmp_path_factory) -> PretrainRun:
    run = run_of(store, tmp_path_factory.mktemp("undisturbed") / "run")
    pretrain(run, uri)
    return run


def weights(run: PretrainRun, step: int) -> dict[str, torch.Tensor]:
    return load_file(f"{run.out}/checkpoints/step-{step:08d}/weights.safetensors")


def losses(run: PretrainRun, uri: str) -> list[tuple[int, float]]:
    history = mlflow.MlflowClient(tracking_uri=uri).get_metric_history(tracked_run(open_place(run.out)), "loss")
    return sorted((one.step, one.value) for one in history)


def processes(title: str) -> list[psutil.Process]:
    """The processes of our Ray with a title, the oldest first."""
    found = []
    for one in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):  # gone already
            if " ".join(one.cmdline()).startswith(title):
                found.append(one)
    return sorted(found, key=lambda one: one.pid)


@contextmanager
def meanwhile(*actions: Callable[[], None]) -> Iterator[None]:
    """Run functions in a thread during the block, one after the other; they must be done by its end."""
    failures: list[BaseException] = []

    def work() -> None:
        try:
            for action in actions:
                action()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    yield
    thread.join(timeout=60)
    assert not thread.is_alive() and not failures, failures


def after_step(run: PretrainRun, step: int, action: Callable[[], None]) -> Callable[[], None]:
    """A function that waits for the checkpoint of a step, then acts."""

    def wait() -> None:
        until = time.monotonic() + 120
        while not Path(run.out, f"checkpoints/step-{step:08d}/state.json").exists():
            assert time.monotonic() < until, f"no checkpoint of step {step}"
            time.sleep(0.05)
        action()

    return wait


def test_a_run_whose_processes_are_killed_is_the_same_run(
    undisturbed: PretrainRun, uri: str, tmp_path: Path, listening: Callable[[psutil.Process], list[str]], caplog
) -> None:
    """A rank, then the controller: the losses and the weights are those of the undisturbed run, to the bit.

    The newest checkpoint is damaged when the rank dies: the terminal says why the run resumes from an older one. And
    what the ranks listen on is of this machine alone.
    """
    run = replace(undisturbed, out=str(tmp_path / "run"))
    addresses, damaged = set(), []

    def look_and_kill() -> None:
        addresses.update(*map(listening, processes(WORKER)))
        processes(WORKER)[-1].kill()
        time.sleep(0.3)  # in which the other rank finishes what it writes, and cannot begin another step
        damaged.append(checkpoint.complete(open_place(run.out))[-1])
        (damaged[0] / "weights.safetensors").write(b"half of")

    kill_a_rank = after_step(run, 4, look_and_kill)
    kill_the_controller = after_step(run, 8, lambda: processes(CONTROLLER)[-1].kill())
    with meanwhile(kill_a_rank, kill_the_controller):
        pretrain(run, uri)
    assert addresses and addresses <= {"127.0.0.1", "::1"}
    assert f"{damaged[0]} is damaged and skipped: weights.safetensors does not match" in caplog.text
    assert losses(run, uri) == losses(undisturbed, uri)
    for name, value in weights(undisturbed, 12).items():
        assert torch.equal(weights(run, 12)[name], value), name


@pytest.mark.slow
def test_a_run_resumes_from_its_newest_intact_checkpoint(
    undisturbed: PretrainRun, uri: str, tmp_path: Path, caplog
) -> None:
    """Damaged checkpoints are skipped and named, an unfinished one is deleted."""
    left = shutil.ignore_patterns("ray", "mlflow_run_id", "step-00000012")
    shutil.copytree(undisturbed.out, tmp_path / "run", ignore=left)
    run = replace(undisturbed, out=str(tmp_path / "run"))
    folder = Path(run.out, "checkpoints")
    (folder / "step-00000099").mkdir()
    (folder / "step-00000099/weights.safetensors").write_bytes(b"half of")
    torn = folder / "step-00000010/optimizer.safetensors"
    torn.write_bytes(torn.read_bytes()[:-100])
    flipped = folder / "step-00000008/weights.safetensors"
    content = bytearray(flipped.read_bytes())
    content[-1] ^= 1
    flipped.write_bytes(content)
    pretrain(run, uri)
    said = caplog.text
    assert "step-00000010 is damaged and skipped: optimizer.safetensors does not match its checksum" in said
    assert "step-00000008 is damaged and skipped: weights.safetensors does not match its checksum" in said
    assert f"resuming {run.out} after step 6" in said
    assert all(torch.equal(weights(run, 12)[name], value) for name, value in weights(undisturbed, 12).items())
    assert not (folder / "step-00000099").exists()
    assert [checkpoint.damage_of(one) for one in checkpoint.complete(open_place(run.out))] == [
        None
    ] * 6  # written again on the way


@pytest.mark.slow
def test_a_rank_that_stalls_is_named_and_ends_the_run(store: Path, uri: str, tmp_path: Path) -> None:
    run = run_of(store, tmp_path / "run", steps=1000, patience=12.0)

    def stop() -> None:
        os.kill(processes(WORKER)[0].pid, signal.SIGSTOP)

    with meanwhile(after_step(run, 2, stop)), pytest.raises(Unfinished) as raised:
        pretrain(run, uri)
    assert "no step for 12 s: rank " in str(raised.value) and "does not respond" in str(raised.value)
    assert "\n" not in str(raised.value)
    until = time.monotonic() + 30
    while processes(WORKER) and time.monotonic() < until:
        time.sleep(0.2)
    assert not processes(WORKER)


def test_a_stall_names_the_rank_that_holds_up_the_others() -> None:
    fresh = {0: Heartbeat(7, "training", 0.5), 1: Heartbeat(7, "data", 0.5), 2: Heartbeat(7, "training", 0.2)}
    assert "rank 1 does not progress after step 7 while waiting for data" in monitor.describe_stall(fresh, 60)
    silent = fresh | {2: Heartbeat(7, "training", 50.0)}
    assert "rank 2 does not respond after step 7 while training" in monitor.describe_stall(silent, 60)
    alike = {0: Heartbeat(3, "checkpoint", 1.0), 1: Heartbeat(3, "checkpoint", 1.0)}
    assert "all 2 ranks does not" not in monitor.describe_stall(alike, 60)
    assert "all 2 ranks do not progress after step 3 while saving a checkpoint" in monitor.describe_stall(alike, 60)


def test_nan_and_inf_end_the_run_with_rank_and_step(store: Path, uri: str, tmp_path: Path) -> None:
    run = run_of(store, tmp_path / "run")
    run = replace(run, schedule=replace(run.schedule, lr=1e20, warmup=0, log_every=4), keep=Keep(every=100))
    with pytest.raises(Unfinished, match=r"rank 0, 1 produced NaN or Inf at step 2: give a lower"):
        pretrain(run, uri)
    assert checkpoint.complete(open_place(run.out)) == []


@pytest.mark.slow
def test_a_program_that_fails_is_not_tried_again(store: Path, uri: str, tmp_path: Path) -> None:
    run = run_of(store, tmp_path / "run", steps=4)
    pretrain(run, uri)
    longer = replace(run, out=str(tmp_path / "other"), schedule=replace(run.schedule, steps=6))
    shutil.copytree(Path(run.out, "checkpoints"), Path(longer.out, "checkpoints"))
    folder = open_place(longer.out)
    bad = {
        name: value[:1]
        for name, value in load_file(f"{run.out}/checkpoints/step-00000004/optimizer.safetensors").items()
    }
    checkpoint.save(folder, longer, 4, weights(run, 4), bad)
    Path(longer.out, "run.json").write_text(Path(longer.out, "checkpoints/step-00000004/run.json").read_text())
    with pytest.raises(Unfinished, match=r"rank .* failed after the checkpoint of step 4"):
        pretrain(longer, uri)


def test_a_full_disk_is_named_and_leaves_what_is_whole(undisturbed: PretrainRun, tmp_path: Path, monkeypatch) -> None:
    folder, reported = open_place(tmp_path / "run"), []
    writer = CheckpointWriter(folder, undisturbed, reported.append)
    state = {"a": torch.ones(3)}
    writer.save(2, state, state)
    writer.finish()

    def full(*_given: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    writer.save(4, state, state)
    with pytest.raises(SaveFailed, match=r"cannot write the checkpoint of step 4 .* no space left.* after step 2"):
        writer.finish()
    assert reported == [CheckpointSaved(2)] and [checkpoint.step_of(one) for one in checkpoint.complete(folder)] == [2]
    assert [path.name for path in (tmp_path / "run/checkpoints").iterdir()] == ["step-00000002"]


def test_the_last_and_the_best_checkpoints_are_kept(undisturbed: PretrainRun, tmp_path: Path) -> None:
    run = replace(undisturbed, out=str(tmp_path / "run"), keep=Keep(every=2, last=2, best=1))
    folder, state = open_place(run.out), {"a": torch.ones(3)}
    for step, score in ((2, 10.0), (4, 30.0), (6, 20.0), (8, None), (10, None)):
        one = checkpoint.save(folder, run, step, state, state)
        if score is not None:
            checkpoint.write_score(one, {"mean": score})
    monitor.prune_checkpoints(folder, run, needed={2})
    assert [checkpoint.step_of(one) for one in checkpoint.complete(folder)] == [2, 4, 8, 10]
    monitor.prune_checkpoints(folder, run, needed=set())
    assert [checkpoint.step_of(one) for one in checkpoint.complete(folder)] == [4, 8, 10]
    with pytest.raises(UsageError, match=r"no checkpoint of step 6: it has 4, 8, 10"):
        checkpoint.select(folder, 6)
