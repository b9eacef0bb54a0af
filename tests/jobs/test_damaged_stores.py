"""A store whose files are damaged is refused by every job that reads it, and made whole by an ingest.

Each job prints one line that names the file and what to run.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from datasets.store.reader import Store
from jobs import embed, evaluate, finetune, ingest, pretrain, scaling
from tests.fixtures.mistakes import mistake
from tests.jobs.test_damaged_runs import alter, cut, saved

__all__ = ["saved"]  # a fixture


@pytest.fixture
def mine(store: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(store, tmp_path / "store"))


def shards_of(there: Path, split: str) -> list[Path]:
    return [there / file["path"] for file in Store.open(there).files(["CASIA-B"], split)]


@pytest.mark.parametrize("damage", [cut, Path.unlink, lambda file: file.write_bytes(b"")], ids=["cut", "gone", "empty"])
@pytest.mark.parametrize("verb", ["pretrain", "embed", "evaluate", "finetune", "scaling"])
def test_a_damaged_shard_is_named_by_every_job(
    verb: str, damage: Callable[[Path], None], mine: Path, saved: Path, tmp_path: Path, capsys
) -> None:
    shards = [*shards_of(mine, "test"), *shards_of(mine, "train")]
    for one in shards:
        damage(one)
    run, store, out = str(saved), str(mine), str(tmp_path / "out")
    job, argv = {
        "pretrain": (pretrain, ["tiny", "--shards", store, "--out", out, "--schedule.batch", "16"]),
        "embed": (embed, ["--run", run, "--shards", store, "--out", out, "--collections", "CASIA-B"]),
        "evaluate": (evaluate, ["--run", run, "--shards", store]),
        "finetune": (finetune, ["identification", "--run", run, "--shards", store, "--out", out]),
        "scaling": (scaling, ["miniature", "--shards", store, "--out", out, "--data.holdout", "CASIA-B/004"]),
    }[verb]
    said = mistake(capsys, job.main, *argv)
    assert any(f"{one} is damaged (" in said for one in shards)
    assert "are lost until the same `python -m jobs.ingest` of CASIA-B is run again" in said


def test_frames_that_only_a_rank_reads_are_checked_too(mine: Path, tmp_path: Path, uri: str, capsys) -> None:
    for one in shards_of(mine, "train"):
        alter_frames(one)
    few = ["--schedule.steps", "2", "--schedule.warmup", "1", "--schedule.batch", "16", "--clips.frames", "2"]
    argv = ["tiny", "--shards", str(mine), "--out", str(tmp_path / "out"), *few, "--tracking", uri]
    said = mistake(capsys, pretrain.main, *argv)
    assert " is damaged (its bytes are others than those that were written)" in said and "Traceback" not in said


def alter_frames(file: Path) -> None:
    """A bit of a page that holds frames."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def test_embedding_actors_say_what_is_damaged(mine: Path, saved: Path, tmp_path: Path, capsys) -> None:
    for one in shards_of(mine, "test"):
        alter_frames(one)
    argv = ["--run", str(saved), "--shards", str(mine), "--out", str(tmp_path / "out"), "--collections", "CASIA-B"]
    said = mistake(capsys, embed.main, *argv)
    assert " is damaged (its bytes are others" in said and "Traceback" not in said


@pytest.mark.parametrize("damage", [cut, alter, Path.unlink], ids=["cut", "altered", "gone"])
def test_an_ingest_makes_anew_what_is_damaged(
    damage: Callable[[Path], None], mine: Path, store: Path, walks: Path, capsys
) -> None:
    before = Store.open(store).rows()
    damage(shards_of(mine, "train")[0])
    damage(next((mine / "rejects/collection=CASIA-B").iterdir()))
    cut(next((mine / "blocks").iterdir()))
    said = mistake(capsys, ingest.main, "--verify", "--out", str(mine))
    assert "3 files of" in said and "jobs.ingest` of CASIA-B again" in said
    both = [f"--root={name}={walks / name}" for name in ("CASIA-B", "GaitLU-1M")]
    said = mistake(capsys, ingest.main, both[1], "--out", str(mine))
    assert "damaged files of CASIA-B" in said and "give --root CASIA-B=<folder> too" in said
    ingest.main([*both, "--out", str(mine)])
    after = Store.open(mine).rows()
    for name in before.schema.names:
        assert after[name].to_pylist() == before[name].to_pylist(), name
    capsys.readouterr()
    ingest.main(["--verify", "--out", str(mine)])
    assert "files" in capsys.readouterr().out


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b'{"schema'])
def test_a_damaged_manifest_is_written_anew(content: bytes, mine: Path, store: Path, walks: Path, capsys) -> None:
    (mine / "manifest.json").write_bytes(content)
    (mine / "collections/CASIA-B.json").write_bytes(content)
    assert "2 files of" in mistake(capsys, ingest.main, "--verify", "--out", str(mine))
    ingest.main([f"--root=CASIA-B={walks / 'CASIA-B'}", "--out", str(mine)])
    assert Store.open(mine).manifest == Store.open(store).manifest


def test_what_its_root_has_no_more_is_said_to_be_lost(mine: Path, walks: Path, tmp_path: Path, caplog) -> None:
    less = shutil.copytree(walks / "CASIA-B", tmp_path / "less")
    shutil.rmtree(less / "001")
    for one in shards_of(mine, "train"):
        cut(one)
    ingest.main([f"--root=CASIA-B={less}", "--out", str(mine)])
    assert "CASIA-B has lost 10 sequences of damaged files: its --root does not have them any more" in caplog.text


def test_verifying_ingests_nothing(mine: Path, walks: Path, tmp_path: Path, capsys) -> None:
    said = mistake(capsys, ingest.main, "--verify", "--root", f"CASIA-B={walks}", "--out", str(mine))
    assert "leave out --root" in said
    assert "holds no finished shards" in mistake(capsys, ingest.main, "--verify", "--out", str(tmp_path / "no"))
