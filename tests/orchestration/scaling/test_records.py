"""Studies in MLflow, written and read back: records whose law is known, without any training."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import mlflow
import pandas as pd
import pytest

from datasets.schema.errors import Damaged, UsageError
from datasets.storage import open_place
from evaluation.scaling.cells import MeasuredCell
from jobs import scaling
from model import sizes
from orchestration.run import tracking
from orchestration.run.folder import TRACKED
from orchestration.run.serialise import to_json
from orchestration.scaling.plan import STUDY_FILE, StudyPlan, check_study
from orchestration.scaling.records import CELL_TAG, read_study, record_cell, recorded, study_id, write_study
from orchestration.scaling.run_cell import RECORD, record_of
from tests.fixtures.mistakes import mistake
from tests.fixtures.study_records import cells_of, plan_of

Write = Callable[[StudyPlan, list[MeasuredCell], str], str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a study into MLflow, as the driver does; returns its run."""

    def written(made: StudyPlan, cells: list[MeasuredCell], uri: str) -> str:
        folder = open_place(made.out)
        with tracking.open_run(uri, "scaling test", {}, {"job": "scaling"}) as tracker:
            (folder / TRACKED).write(tracker.run_id.encode())
            (tmp_path / STUDY_FILE).write_text(json.dumps(to_json(made)))
            tracker.attach(tmp_path / STUDY_FILE)
            for cell in cells:
                record_cell(made, cell, folder / f"cells/{cell.name}", tracker.run_id, uri)
            (tmp_path / "report").mkdir(exist_ok=True)
            missing = {"xxs-uall-s9-b100": "it burned"}
            write_study(read_study(tracker.run_id, uri), tracker, missing, tmp_path / "report")
        return tracker.run_id

    return written


@pytest.fixture
def uri(new_records: Callable[[Path], str], tmp_path: Path) -> str:
    return new_records(tmp_path)


def test_a_study_reads_back_from_mlflow_alone(tmp_path: Path, uri: str, write: Write, capsys) -> None:
    made = plan_of(tmp_path / "study")
    cells = cells_of(made)
    run_id = write(made, cells, uri)
    assert study_id(made.out, uri) == study_id(run_id, uri) == run_id
    (tmp_path / "study").rename(tmp_path / "elsewhere")
    study = read_study(run_id, uri)
    assert study.plan == made
    assert sorted(study.cells, key=lambda one: one.name) == sorted(cells, key=lambda one: one.name)
    assert recorded(run_id, uri) == {cell.name for cell in made.cells()}
    capsys.readouterr()
    budget = ["--study", run_id, "--gpu-hours", "2", "--utilisation", "0.25", "--sequences", "1e6", "--tracking", uri]
    scaling.main(["forecast", *budget])
    said = capsys.readouterr().out
    assert "2 GPU hours (989 TFLOP/s at 25%, assumed) are 1.78e+18 FLOP" in said
    assert "of the ladder, " in said and "80%: " in said and "EXTRAPOLATED: " in said
    assert "error/X/view-pairs/NM, by its law of FLOP alone" in said
    scaling.main(["forecast", "--study", run_id, "--flop", "2e13", "--sequences", "9000", "--tracking", uri])
    within = capsys.readouterr().out
    assert "within the measured range" in within and "GPU hours" not in within


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b'{"plan"'])
@pytest.mark.parametrize("name", [STUDY_FILE, RECORD])
def test_damaged_records_in_mlflow_are_named(
    name: str, content: bytes, tmp_path: Path, uri: str, write: Write, capsys
) -> None:
    run_id = write(plan_of(tmp_path / "study"), cells_of(plan_of(tmp_path / "study"))[:8], uri)
    (tmp_path / STUDY_FILE).unlink()
    (artefact, *_) = tmp_path.rglob(name)
    artefact.write_bytes(content)
    capsys.readouterr()
    said = mistake(
        capsys, scaling.main, "forecast", "--study", run_id, "--flop", "1e13", "--sequences", "9000", "--tracking", uri
    )
    assert f"{name} of " in said and "is damaged" in said and "run the same `python -m jobs.scaling` again" in said


def test_a_damaged_record_of_a_cell_is_named(tmp_path: Path) -> None:
    made = plan_of(tmp_path / "study")
    cell, folder = made.cells()[0], tmp_path / "study/cells" / made.cells()[0].name
    folder.mkdir(parents=True)
    for content in (b"", b'{"name"'):
        (folder / RECORD).write_bytes(content)
        with pytest.raises(Damaged, match=r"measures\.json is damaged .* delete it, and run the same"):
            record_of(made, cell)


def test_a_study_without_its_settings_is_compared_cell_by_cell(tmp_path: Path) -> None:
    made = plan_of(tmp_path / "study")
    (tmp_path / "study/cells").mkdir(parents=True)
    (tmp_path / "study" / STUDY_FILE).write_bytes(b"")
    with pytest.raises(Damaged, match=r"study\.json is damaged \(it is empty\): no cell is lost: delete it"):
        check_study(made, open_place(made.out))
    (tmp_path / "study" / STUDY_FILE).unlink()
    check_study(made, open_place(made.out))


def test_what_mlflow_shows(tmp_path: Path, uri: str, write: Write) -> None:
    made = plan_of(tmp_path / "study")
    cells = cells_of(made)
    run_id = write(made, cells, uri)
    client = mlflow.MlflowClient(tracking_uri=uri)
    curve = client.get_metric_history(run_id, "loss by sequences/xs unique 100000 seed 1")
    mine = [cell for cell in cells if (cell.size, cell.seed) == ("xs", 1)]
    assert [(one.step, one.value) for one in curve] == [(cell.seen, cell.measures["loss"].value) for cell in mine]
    by_flop = client.get_metric_history(run_id, "loss by GFLOP/xs unique 100000 seed 1")
    assert [one.step for one in by_flop] == [round(cell.flop / 1e9) for cell in mine]
    by_size = client.get_metric_history(run_id, "error/X/view-pairs/NM by parameters/1600 seen unique 100000 seed 0")
    assert [one.step for one in by_size] == [sizes.parameters_of(size) for size in ("xxs", "xs", "s", "m")]
    found = client.get_run(run_id).data.metrics
    assert found["law/beta_low95"] < 0.35 < found["law/beta_high95"] and found["law/beta_low95"] < found["law/beta"]
    assert 0.005 < found["noise/loss"] < 0.02
    files = {one.path for one in client.list_artifacts(run_id, "report")}
    assert {"report/report.md", "report/cells.csv", "report/loss.png", "report/allocation.png"} <= files
    (child,) = (one for one, tags in tracking.children(uri, run_id).items() if tags[CELL_TAG] == cells[0].name)
    assert client.get_run(child).data.metrics["measured/loss"] == cells[0].measures["loss"].value
    assert client.get_run(child).data.params["cell"] == cells[0].name


def test_the_report_says_what_was_found_and_what_was_not(tmp_path: Path, uri: str, write: Write) -> None:
    made = plan_of(tmp_path / "study")
    cells = cells_of(made)
    write(made, cells, uri)
    report = (tmp_path / "report/report.md").read_text()
    assert "| alpha |" in report and "The largest size, held out" in report
    assert "- xxs-uall-s9-b100 is missing: it burned" in report
    assert "- what repeated sequences are worth: 1 different numbers of epochs in 32 runs" in report
    assert re.search(r"- loss: (0\.[5-9]|1\.)\d+% between seeds", report)
    assert "averages over 100 steps, more than the 20 in which the shortest run cools down" in report
    table = pd.read_csv(tmp_path / "report/cells.csv")
    assert len(table) == len(cells) and table["loss"].notna().all()


def test_too_few_cells_are_shown_without_a_law(tmp_path: Path, uri: str, write: Write) -> None:
    made = plan_of(tmp_path / "study", sizes=("xxs", "xs"), steps=(100, 200), seeds=(0,))
    run_id = write(made, cells_of(made), uri)
    report = (tmp_path / "report/report.md").read_text()
    assert "No law is fitted: 4 runs do not determine the constants of the law: at least 6 are needed" in report
    assert "the noise between seeds is unknown" in report
    assert (tmp_path / "report/loss.png").stat().st_size > 5000 and "measured losses; no law is fitted" in report
    with pytest.raises(SystemExit) as end:
        scaling.main(["forecast", "--study", run_id, "--flop", "1e15", "--sequences", "1e5", "--tracking", uri])
    assert end.value.code == 2


def test_who_is_no_study(tmp_path: Path, uri: str) -> None:
    with tracking.open_run(uri, "other", {}, {"job": "pretrain"}) as tracker:
        pass
    with pytest.raises(UsageError, match="is not that of a study"):
        study_id(tracker.run_id, uri)
    with pytest.raises(UsageError, match=r"MLflow at .* knows no study .*: give its run id or folder"):
        study_id(str(tmp_path), uri)
