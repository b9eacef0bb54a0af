"""What the settings of an ingest do to the rows: lengths, inversion; what the report says; and a look at a sample."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from datasets.schema.errors import UsageError
from datasets.store.reader import Store
from jobs import ingest as job
from orchestration.ingest.ingest import IngestRun, ingest

BODY = np.zeros((120, 160), np.uint8)
cv2.ellipse(BODY, (80, 60), (14, 40), 0, 0, 360, 255, -1)


def write_walk(folder: Path, count: int, inverted: bool = False, name: str = "{:05d}.png") -> None:
    folder.mkdir(parents=True)
    picture = cv2.imencode(".png", 255 - BODY if inverted else BODY)[1].tobytes()
    for number in range(count):
        (folder / name.format(number)).write_bytes(picture)


def run(tree: Path, **settings: object) -> Store:
    return ingest(IngestRun(roots={"mine": str(tree / "walks")}, out=str(tree / "store"), **settings))


def test_short_sequences_are_rejected_and_long_ones_cut(tmp_path: Path, local_ray) -> None:
    for subject, count in (("a", 1), ("b", 2), ("c", 5), ("d", 40)):
        write_walk(tmp_path / "walks" / subject, count)
    store = run(tmp_path, max_frames=30)
    rows = {row["subject"]: row for row in store.rows().to_pylist()}
    assert {subject: (row["num_frames"], row["dropped_frames"]) for subject, row in rows.items()} == {
        "b": (2, 0),
        "c": (5, 0),
        "d": (30, 10),
    }
    assert rows["d"]["frame_numbers"] == list(range(30))
    entry = store.manifest["collections"]["mine"]
    assert entry["reject_reasons"] == {"too few frames": 1}
    assert entry["dropped_frame_reasons"] == {"too long a sequence": 10}
    for least, most in ((0, 5), (6, 5)):
        with pytest.raises(UsageError, match=f"--min-frames {least} to --max-frames {most} is no range"):
            run(tmp_path, min_frames=least, max_frames=most)


def test_inverted_masks_are_read_once_it_is_said(tmp_path: Path, local_ray, capsys) -> None:
    write_walk(tmp_path / "walks/a", 6, inverted=True)
    command = ["--root", f"mine={tmp_path / 'walks'}", "--out", str(tmp_path / "store")]
    with pytest.raises(SystemExit, match="1"):
        job.main(command)
    assert "1 body and background seem exchanged" in capsys.readouterr().out
    job.main([*command, "--invert", "--retry-rejects"])
    assert "read, inverted" in capsys.readouterr().out
    (row,) = Store.open(tmp_path / "store").rows(columns=["subject", "num_frames", "reading"]).to_pylist()
    assert dict(row["reading"]) == {
        "alpha": "none",
        "inverted": "yes",
        "numbers": "in the names",
        "orientation": "as stored",
    }
    write_walk(tmp_path / "walks/b", 6, inverted=True)
    job.main(command)  # the store knows it by now
    assert Store.open(tmp_path / "store").rows().num_rows == 2
    report = (tmp_path / "store/report.html").read_text()
    assert "How sequences were read" in report and "inverted" in report


def test_a_collection_is_not_half_inverted(tmp_path: Path, local_ray) -> None:
    write_walk(tmp_path / "walks/a", 6)
    run(tmp_path)
    with pytest.raises(UsageError, match="in the store with another value of `inverted`"):
        run(tmp_path, inverted=True)
    with pytest.raises(UsageError, match="only silhouettes can be inverted, not the modality parsing"):
        run(tmp_path, inverted=True, modality="parsing")


def test_check_says_what_ingest_would_do_and_writes_nothing(tmp_path: Path, capsys) -> None:
    for subject in range(60):
        write_walk(tmp_path / f"walks/{subject:02d}/nm/left", 6, name=f"f{{:03d}}_id{subject}7.png")
    write_walk(tmp_path / "walks/60/nm/left", 6, inverted=True)
    command = ["--root", f"mine={tmp_path / 'walks'}", "--out", str(tmp_path / "store"), "--check"]
    job.main([*command[:2], "--check", "--max-rejects", "0.1"])
    said = capsys.readouterr().out
    assert "mine: a sample of 48 of about 61 sequences, read as <subject>/<condition>/<view>, pictures" in said
    assert "all of it would take about" in said
    assert not (tmp_path / "store").exists()
    for subject in range(20):
        write_walk(tmp_path / f"walks/dark{subject}/nm/left", 6, inverted=True)
    with pytest.raises(SystemExit, match="1"):
        job.main(command)
    captured = capsys.readouterr()
    assert "body and background seem exchanged" in captured.out
    assert "% of the sample of mine would be rejected, more than the" in captured.err
    job_of_nothing = [*command[:1], f"mine={tmp_path / 'nothing'}", *command[2:]]
    with pytest.raises(SystemExit, match="2"):
        job.main(job_of_nothing)
