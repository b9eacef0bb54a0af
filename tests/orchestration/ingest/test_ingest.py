"""Ingest on a real local Ray: both layouts, defects as rows, and a second run that adds only what is new."""

import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from datasets.contours import codec
from datasets.contours.codec import contours_of
from datasets.schema.errors import UsageError
from datasets.store.reader import Store
from datasets.store.writer import StoreWriter
from jobs import ingest as ingest_job
from orchestration.cluster.session import ROOT
from orchestration.ingest.ingest import IngestRun, ingest


def test_everything_on_disk_is_in_the_store(walks: Path, store: Path) -> None:
    entries = Store.open(store).collections
    assert (entries["CASIA-B"]["sequences"], entries["GaitLU-1M"]["sequences"]) == (80, 24)
    assert {split: part["subjects"] for split, part in entries["CASIA-B"]["splits"].items()} == {"train": 4, "test": 4}
    frames = len(list((walks / "CASIA-B").rglob("*.png")))
    assert entries["CASIA-B"]["frames"] + entries["CASIA-B"]["dropped_frames"] == frames
    assert entries["CASIA-B"]["root"] == str(walks / "CASIA-B")


def test_an_aligned_release_is_stored_to_the_bit(walks: Path, store: Path) -> None:
    for row in Store.open(store).rows(["GaitLU-1M"]).to_pylist():
        (path,) = (walks / "GaitLU-1M" / row["source"]).iterdir()
        released = pickle.loads(path.read_bytes())
        np.testing.assert_array_equal(codec.decode(contours_of(row))[:, :, 10:54], released > 0)


def test_defects_are_rejects_and_the_rest_is_ingested(walks: Path, tmp_path: Path, local_ray) -> None:
    root, out = tmp_path / "CASIA-B", tmp_path / "shards"
    shutil.copytree(walks / "CASIA-B" / "001", root / "001")
    for png in (root / "001/nm-01/036").iterdir():
        cv2.imwrite(str(png), np.zeros((240, 320), np.uint8))  # an empty sequence
    (root / "001/nm-01/090/001-nm-01-090-007.png").write_bytes(b"\x89PNG, but cut off")
    (root / "001/bg-01/036x").mkdir()
    (root / "001/bg-01/036x" / "001-bg-01-036-001.png").write_bytes(b"x")
    entry = ingest(IngestRun(roots={"CASIA-B": str(root)}, out=str(out))).collections["CASIA-B"]
    assert entry["sequences"] + entry["rejected_sequences"] == 11
    assert entry["reject_reasons"] == {"no usable frame": 1, "unrecognised folder": 1}
    assert entry["dropped_frame_reasons"]["damaged image"] == 1
    assert {one["source"] for one in Store.open(out).rejects().to_pylist()} >= {"001/nm-01/036", "001/bg-01/036x"}
    (row,) = [one for one in Store.open(out).rows().to_pylist() if one["source"] == "001/nm-01/090"]
    assert 7 not in row["frame_numbers"]


def test_more_rejects_than_tolerated_are_no_success(walks: Path, tmp_path: Path, local_ray, capsys) -> None:
    root, out = tmp_path / "CASIA-B", str(tmp_path / "shards")
    shutil.copytree(walks / "CASIA-B" / "001", root / "001")
    for png in (root / "001/nm-01/036").iterdir():
        png.write_bytes(b"")
    with pytest.raises(SystemExit) as end:
        ingest_job.main(["--root", f"CASIA-B={root}", "--out", out])
    said = capsys.readouterr()
    assert end.value.code == 1
    assert "1 sequences rejected: 1 no usable frame" in said.out
    assert "error: 10.0% of the sequences of CASIA-B were rejected, more than the 1% of --max-rejects" in said.err
    ingest_job.main(["--root", f"CASIA-B={root}", "--out", out, "--max-rejects", "0.1"])


def test_a_second_run_adds_what_is_new_and_changes_nothing_else(walks: Path, tmp_path: Path, local_ray) -> None:
    root, out = tmp_path / "CASIA-B", tmp_path / "shards"
    run = IngestRun(roots={"CASIA-B": str(root)}, out=str(out), block_sequences=4)
    shutil.copytree(walks / "CASIA-B" / "001", root / "001")
    ingest(run)
    before = {path: path.read_bytes() for path in out.rglob("*.parquet")}
    shutil.copytree(walks / "CASIA-B" / "075", root / "075")
    entry = ingest(run).collections["CASIA-B"]
    assert {split: part["sequences"] for split, part in entry["splits"].items()} == {"train": 10, "test": 10}
    assert {path: path.read_bytes() for path in before} == before
    ids = Store.open(out).rows()["sequence_id"].to_pylist()
    assert len(ids) == len(set(ids)) == 20


def test_a_killed_run_is_finished_by_the_next(store: Path, walks: Path, tmp_path: Path, local_ray) -> None:
    """A store without its manifest and without the commits of some blocks, as a killed job leaves it."""
    out = tmp_path / "shards"
    shutil.copytree(store, out)
    (out / "manifest.json").unlink()
    for record in sorted((out / "blocks").iterdir())[::2]:
        record.unlink()
    roots = {name: str(walks / name) for name in ("CASIA-B", "GaitLU-1M")}
    ingest(IngestRun(roots=roots, out=str(out), block_sequences=20))
    assert Store.open(out).rows().equals(Store.open(store).rows())


def test_a_folder_that_is_no_store_is_left_alone(walks: Path, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"dear")
    with pytest.raises(UsageError, match="holds something else than shards"):
        ingest(IngestRun(roots={"CASIA-B": str(walks / "CASIA-B")}, out=str(tmp_path)))
    with pytest.raises(UsageError, match="holds something else than shards"):
        ingest(IngestRun(roots={"CASIA-B": str(walks / "CASIA-B")}, out=str(tmp_path / "photo.jpg")))
    assert [path.name for path in tmp_path.iterdir()] == ["photo.jpg"]


def test_a_run_that_was_killed_before_its_first_block_is_resumed(walks: Path, tmp_path: Path, local_ray) -> None:
    StoreWriter.open(tmp_path).describe("CASIA-B", {"published": {}, "anonymous": ""})
    run = IngestRun(roots={"CASIA-B": str(walks / "CASIA-B")}, out=str(tmp_path))
    assert ingest(run).collections["CASIA-B"]["sequences"] == 80


def test_labels_and_ids_come_from_the_path(tmp_path: Path, local_ray) -> None:
    mask = np.zeros((4, 64, 64), np.uint8)
    mask[:, 10:50, 25:40] = 255
    for folder in ("00493/Negative/000-180", "00000/positive/000_180", "00001/unknown/000_180"):
        (tmp_path / "tree" / folder).mkdir(parents=True)
        (tmp_path / "tree" / folder / "000.pkl").write_bytes(pickle.dumps(mask))
    ingest(IngestRun(roots={"Scoliosis1K": str(tmp_path / "tree")}, out=str(tmp_path / "shards")))
    rows = Store.open(tmp_path / "shards").rows().to_pylist()
    assert [(row["sequence_id"], row["condition"], row["view"], dict(row["labels"])) for row in rows] == [
        ("Scoliosis1K/00000/positive/000_180", "positive", "000_180", {"scoliosis": "positive"}),
        ("Scoliosis1K/00493/negative/000_180", "Negative", "000-180", {"scoliosis": "negative"}),
    ]
    assert Store.open(tmp_path / "shards").rejects()["source"].to_pylist() == ["00001/unknown/000_180"]


def test_a_walk_in_two_folders_is_refused(tmp_path: Path) -> None:
    for folder in ("distractor", "distractors"):
        (tmp_path / "tree" / folder / "edXJefi8").mkdir(parents=True)
        (tmp_path / "tree" / folder / "edXJefi8/00001.png").write_bytes(b"x")
    with pytest.raises(UsageError, match=r"is in two folders, distractor/edXJefi8 and distractors/edXJefi8"):
        ingest(IngestRun(roots={"GREW": str(tmp_path / "tree")}, out=str(tmp_path / "shards")))


def test_rejects_are_tried_again_when_asked(walks: Path, tmp_path: Path, local_ray) -> None:
    root, out = tmp_path / "CASIA-B", tmp_path / "shards"
    shutil.copytree(walks / "CASIA-B" / "001", root / "001")
    damaged = list((root / "001/nm-01/036").iterdir())
    whole = {png: png.read_bytes() for png in damaged}
    for png in damaged:
        png.write_bytes(b"")
    run = {"roots": {"CASIA-B": str(root)}, "out": str(out)}
    assert ingest(IngestRun(**run)).collections["CASIA-B"]["rejected_sequences"] == 1
    for png, content in whole.items():
        png.write_bytes(content)
    assert ingest(IngestRun(**run)).collections["CASIA-B"]["rejected_sequences"] == 1
    entry = ingest(IngestRun(**run, retry_rejects=True)).collections["CASIA-B"]
    assert (entry["sequences"], entry["rejected_sequences"]) == (10, 0)
    assert Store.open(out).rows().num_rows == 10


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_the_next_run_resumes(walks: Path, tmp_path: Path) -> None:
    """The store on a file system of some hundred kilobytes, which then grows."""
    small = tmp_path / "small"
    small.mkdir()
    job = f"{sys.executable} -m jobs.ingest --root CASIA-B={walks / 'CASIA-B'} --out {small / 'store'}"
    full, roomy = f"mount -t tmpfs -o size=220k none {small}", f"mount -o remount,size=9m {small}"
    steps = f"{full} && {job}; echo status $? && {roomy} && {job}"
    allowed = subprocess.run(
        ["unshare", "-rm", "mount", "-t", "tmpfs", "none", small], capture_output=True, check=False
    )
    if allowed.returncode:
        pytest.skip("this machine lets nobody mount a small file system")
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", steps], capture_output=True, text=True, cwd=ROOT, timeout=200, check=False
    )
    said = [line for line in done.stderr.splitlines() if line.startswith("error")]
    assert len(said) == 1
    assert "No space left on device" in said[0]
    assert "status 2" in done.stdout
    assert "CASIA-B: 80 of 13,640 sequences" in done.stdout
    assert done.returncode == 0
