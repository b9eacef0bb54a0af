"""A small study from its plan to its report, on real parts: what is run, what is not run again, what is the same."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import mlflow
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from datasets.schema.errors import Unfinished, UsageError
from datasets.storage import open_place
from jobs import scaling
from model import sizes
from orchestration.cluster.session import ROOT
from orchestration.run import checkpoint, tracking
from orchestration.run.folder import tracked_run
from orchestration.run.precision import Bf16Support
from orchestration.run.settings import Cluster
from orchestration.scaling import study
from orchestration.scaling.plan import Cell, StudyPlan
from orchestration.scaling.records import read_study
from orchestration.scaling.run_cell import check_orders
from orchestration.scaling.study import dry_run, run_study
from orchestration.training.pretrain import pretrain

SHORT, LONG, OTHER = (
    Cell(size="xxs", unique=unique, seed=0, steps=steps) for unique, steps in ((None, 4), (None, 8), (16, 4))
)


@pytest.fixture(scope="module")
def studied(plan: StudyPlan, uri: str, local_ray) -> StudyPlan:
    """Two cells of one trunk, and a third that cannot be run: something else lies in its place."""
    whole = replace(plan, unique=(None, 16), most_flop=1.01 * plan.flop_of(LONG))
    in_the_way = Path(plan.out) / f"cells/{OTHER.name}"
    grown = replace(whole, unique=(None,))
    run_study(grown, uri)
    in_the_way.mkdir(parents=True)
    (in_the_way / "file").write_text("somebody else's")
    return whole


def weights(folder: str | Path, step: int) -> dict[str, torch.Tensor]:
    return load_file(Path(folder) / f"checkpoints/step-{step:08d}/weights.safetensors")


@pytest.mark.slow
def test_a_cell_that_branched_off_is_the_run_from_scratch_to_the_bit(
    studied: StudyPlan, uri: str, tmp_path: Path
) -> None:
    branched = studied.run_of(SHORT)
    assert json.loads((Path(branched.out) / "branch.json").read_text()) == {"from": LONG.name, "step": 2}
    scratch = replace(branched, out=str(tmp_path / "scratch"))
    pretrain(scratch, uri)
    one, other = weights(branched.out, 4), weights(scratch.out, 4)
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
    trunk = weights(studied.run_of(LONG).out, 8)
    assert any(not torch.equal(one[name], trunk[name]) for name in one)


def test_what_was_measured(studied: StudyPlan, uri: str) -> None:
    run_id = tracked_run(open_place(studied.out))
    found = {cell.name: cell for cell in read_study(run_id, uri).cells}
    assert set(found) == {SHORT.name, LONG.name}
    short, long = found[SHORT.name], found[LONG.name]
    assert (short.seen, short.unique, short.epochs, short.batch) == (32, 20, 1.6, 8)
    assert long.flop == pytest.approx(2 * short.flop, rel=0.1) and 0.1 < long.kept < 0.5
    assert (short.parameters, short.encoder) == (sizes.block_parameters(2), sizes.cost("xxs", 16).encoder)
    assert {"loss", "loss/parts", "loss/joint", "error/CASIA-B/view-pairs/NM"} <= set(short.measures)
    assert short.measures["loss"].subjects == ("CASIA-B/003", "CASIA-B/004")
    assert short.measures["loss"].value != long.measures["loss"].value
    # Tokens of the shared steps are the trunk's own.
    client = mlflow.MlflowClient(tracking_uri=uri)
    children = tracking.children(uri, run_id)
    assert {tags["scaling.cell"] for tags in children.values()} == {SHORT.name, LONG.name}
    by_cell = {tags["scaling.cell"]: child for child, tags in children.items()}
    assert [one.step for one in client.get_metric_history(by_cell[SHORT.name], "loss")] == [3, 4]
    assert (Path(studied.out) / "report/report.md").is_file()


def test_a_new_study_has_one_precision_and_a_resumed_one_keeps_it(
    plan: StudyPlan, studied: StudyPlan, tmp_path: Path, monkeypatch
) -> None:
    for instructions, expected in (("AMX", "bf16"), (None, "fp32")):
        monkeypatch.setattr(study, "bf16_support", lambda gpu, found=instructions: Bf16Support("a processor", found))
        auto = replace(plan, out=str(tmp_path / "new"), cluster=Cluster(workers=1, device="cpu"))
        resolved = study.with_precision(auto)
        assert {resolved.run_of(cell).cluster.precision for cell in resolved.cells()} == {expected}
        assert study.with_precision(replace(auto, out=studied.out)).cluster.precision == "fp32"


def test_finished_cells_are_not_repeated_and_failed_ones_are_named(studied: StudyPlan, uri: str, caplog) -> None:
    before = (Path(studied.out) / f"cells/{LONG.name}/measures.json").stat().st_mtime_ns
    limited = replace(studied, steps=(4,), most_flop=None, cluster=Cluster(workers=1))  # its precision is kept
    with pytest.raises(Unfinished, match=rf"1 of 2 cells failed .* {OTHER.name}: .* is not the folder of a run"):
        run_study(limited, uri)
    assert {"precision fp32: as it was begun", "1 of 2 cells are finished already"} <= set(caplog.messages)
    assert [one.levelname for one in caplog.records if f"{OTHER.name} failed and is left out" in one.message] == [
        "WARNING"
    ]
    assert f"- {OTHER.name} is missing: " in (Path(studied.out) / "report/report.md").read_text()
    shutil.rmtree(Path(studied.out) / f"cells/{OTHER.name}")
    run_study(limited, uri)
    assert (Path(studied.out) / f"cells/{LONG.name}/measures.json").stat().st_mtime_ns == before
    table = pd.read_csv(Path(studied.out) / "report/cells.csv")
    assert sorted(table["name"]) == sorted([SHORT.name, LONG.name, OTHER.name])
    assert table.set_index("name")["unique"].to_dict() == {SHORT.name: 20, LONG.name: 20, OTHER.name: 16}
    assert "done" in dry_run(limited)


def test_a_study_goes_on_in_the_data_order_that_it_began_with(studied: StudyPlan, uri: str, tmp_path: Path) -> None:
    shutil.copytree(studied.out, tmp_path / "study")
    finished = replace(studied, out=str(tmp_path / "study"), unique=(None,), most_flop=None)
    for file in (tmp_path / "study").rglob("state.json"):
        file.write_text(json.dumps({**json.loads(file.read_text()), "order": 1}))
    check_orders(finished)  # nothing is left to do
    with pytest.raises(UsageError, match=r"was trained in version 1 of the data order, and this program has version 2"):
        run_study(replace(finished, steps=(4, 8, 12)), uri)


def test_a_study_goes_on_in_another_mlflow_without_training(
    studied: StudyPlan, new_records: Callable[[Path], str], tmp_path: Path
) -> None:
    shutil.copytree(studied.out, tmp_path / "study")
    elsewhere = new_records(tmp_path)
    moved = replace(studied, out=str(tmp_path / "study"), unique=(None,))
    run_study(moved, elsewhere)
    assert len(read_study(tracked_run(open_place(moved.out)), elsewhere).cells) == 2


def test_the_trunk_keeps_what_makes_it_longer(studied: StudyPlan) -> None:
    steps = [checkpoint.step_of(one) for one in checkpoint.complete(open_place(studied.run_of(LONG).out))]
    assert steps == [4, 8]
    assert [checkpoint.step_of(one) for one in checkpoint.complete(open_place(studied.run_of(SHORT).out))] == [4]


def test_a_dry_run_shows_every_cell_and_runs_none(plan: StudyPlan, local_ray, tmp_path: Path, capsys) -> None:
    argv = ["--dry-run", "--sizes", "xxs", "xs", "--unique", "None", "12", "--most-flop", "4e10", "--seeds", "0", "1"]
    argv += ["--schedule.batch", "8", "--schedule.warmup", "1", "--steps", "4", "8", "--single", "xs"]
    held = ["--data.holdout", "CASIA-B/003", "CASIA-B/004"]
    scaling.main(["miniature", "--shards", plan.shards, "--out", str(tmp_path / "study"), *argv, *held])
    said = capsys.readouterr().out
    rows = {line.split()[0]: line.split()[1:] for line in said.splitlines() if line.startswith("x")}
    assert len([name for name in rows if name.startswith("xxs")]) == 2 * 2 * 2
    parameters, encoder, heads, unique, epochs, steps, batch = rows["xxs-u12-s1-b8"][:7]
    assert (parameters, encoder, heads, unique, epochs, steps, batch) == (
        "394k",
        "402k",
        "159k",
        "12",
        "5.33",
        "8",
        "8",
    )
    assert "xs-uall-s0-b8 is left out" in said and "FLOP are more than --most-flop" in said
    assert "to run," in said and "about" in said
    assert not (tmp_path / "study").exists()


@pytest.mark.slow
def test_a_killed_study_goes_on_where_it_was(plan: StudyPlan, local_ray, tmp_path: Path) -> None:
    out, uri = tmp_path / "study", f"sqlite:///{tmp_path / 'mlflow.db'}"
    trunk = Cell(size="xxs", unique=None, seed=0, steps=200)
    command = [sys.executable, "-m", "jobs.scaling", "miniature", "--shards", plan.shards, "--out", str(out)]
    command += ["--sizes", "xxs", "--steps", "100", "200", "--keep-every", "10", "--tracking", uri, "--data.holdout"]
    with (tmp_path / "log").open("wb") as log:
        job = subprocess.Popen([*command, *plan.data.holdout], cwd=ROOT, stderr=log, start_new_session=True)
        while checkpoint.newest_step(open_place(out / f"cells/{trunk.name}")) < 20:
            assert job.poll() is None, (tmp_path / "log").read_text()
            time.sleep(0.2)
        os.killpg(job.pid, signal.SIGKILL)
        job.wait()
        reached = checkpoint.newest_step(open_place(out / f"cells/{trunk.name}"))
        assert 20 <= reached < 200, "it was killed too late to tell anything"
        subprocess.run([*command, *plan.data.holdout], cwd=ROOT, stderr=log, check=True, timeout=300)
    run_id = tracked_run(open_place(out))
    children = {tags["scaling.cell"]: child for child, tags in tracking.children(uri, run_id).items()}
    assert set(children) == {trunk.name, "xxs-uall-s0-b100"}
    steps = [one for one, _ in tracking.history(uri, children[trunk.name], "loss")]
    assert steps[-1] == 200 and len(steps) == len(set(steps))
    assert len(read_study(run_id, uri).cells) == 2


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["gigantic"], "unknown plan 'gigantic': the plans are miniature, casia-b"),
        (["miniature", "--shards", "S"], "missing --out"),
        (["miniature", "--shards", "/nowhere", "--out", "O"], "holds no finished shards"),
        (
            ["miniature", "--shards", "S", "--out", "O", "--schedule.steps", "50"],
            "the lengths of a study's runs are given with --steps",
        ),
        (["forecast", "--study", "S", "--sequences", "9"], "give either --gpu-hours or --flop"),
        (["forecast", "--study", "S", "--sequences", "0", "--flop", "1"], "--sequences 0 must be positive"),
    ],
)
def test_mistakes(capsys, tmp_path: Path, monkeypatch, argv: list[str], message: str) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        scaling.main(argv)
    lines = [line for line in capsys.readouterr().err.splitlines() if line]
    assert end.value.code == 2 and len(lines) == 1 and message in lines[0], lines
    assert not list(tmp_path.iterdir())


def test_more_sequences_than_there_are(plan: StudyPlan, local_ray, capsys) -> None:
    holdout = ["--data.holdout", *plan.data.holdout]
    with pytest.raises(SystemExit):
        scaling.main(["miniature", "--shards", plan.shards, "--out", "/nowhere/study", "--unique", "99", *holdout])
    assert "has 20 sequences to train on, not 99" in capsys.readouterr().err
