"""The command line as a user meets it: each mistake is one line, exit status 2, no traceback, nothing written."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from datasets.schema.errors import Unfinished, UsageError
from datasets.storage import open_place
from datasets.store.reader import Manifest, Store
from jobs import cli, evaluate, ingest, pretrain, scaling
from jobs.recipes import RECIPES
from model.objectives.part_contrast import ContrastSettings
from model.objectives.part_regression import RegressionSettings
from orchestration.cluster.session import ROOT
from orchestration.run.folder import claim_folder
from orchestration.scoring import scored_collections
from tests.fixtures.mistakes import mistake


@pytest.mark.parametrize(
    ("raised", "status", "said"),
    [
        (UsageError("no such run"), 2, "error: no such run\n"),
        (Unfinished("the disk is full"), 1, "error: the disk is full\n"),
        (PermissionError(13, "Permission denied", "/data/run"), 2, "error: Permission denied: /data/run: give a place"),
        (KeyboardInterrupt(), 130, "interrupted: nothing is lost; the same command goes on\n"),
    ],
)
def test_what_ends_a_job_is_one_line(capsys, raised: BaseException, status: int, said: str) -> None:
    def job() -> None:
        raise raised

    with pytest.raises(SystemExit) as end:
        cli.run(job)
    assert end.value.code == status
    err = capsys.readouterr().err
    assert err.startswith(said) and err.count("\n") == 1


def test_a_setting_for_older_programs_with_ray_train_changes_nothing() -> None:
    command = [sys.executable, "-m", "jobs.pretrain", "tiny", "--help"]
    environment = os.environ | {"RAY_TRAIN_V2_ENABLED": "0"}
    asked = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert asked.returncode == 0, asked.stderr


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--root", "CASIA-B=/nowhere", "--out", "OUT"], "no folder /nowhere for CASIA-B: check the path"),
        (
            ["--root", "casia_b=/tmp", "--out", "OUT"],
            "'casia_b' is too similar to the collection CASIA-B: did you mean CASIA-B?",
        ),
        (["--root", "CASIA-B", "--out", "OUT"], "--root 'CASIA-B' must be NAME=<folder>"),
        (["--root", "CASIA-B=/a", "--root", "CASIA-B=/b", "--out", "OUT"], "--root CASIA-B is given twice"),
        (["--out", "OUT"], "nothing to ingest: give at least one --root"),
        (["--root", "CASIA-B=/tmp", "--outt", "OUT"], "unknown setting --outt"),
        (
            ["--root", "CASIA-B=/tmp", "--out", "OUT", "--block-sequences", "many"],
            "Error parsing --block-sequences: invalid literal",
        ),
    ],
)
def test_ingest_mistakes(capsys, tmp_path: Path, argv: list[str], message: str) -> None:
    out = tmp_path / "out"
    assert message in mistake(capsys, ingest.main, *(str(out) if one == "OUT" else one for one in argv))
    assert not out.exists()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (
            ["gigantic"],
            "unknown recipe 'gigantic': the recipes are tiny, tiny-walks, tiny-regression, casia-b, casia-b-walks, xxs",
        ),
        (["tiny", "--shards", "S"], "missing --out"),
        (["tiny", "--shards", "S", "--out", "OUT"], "holds no finished shards"),
        (
            ["tiny", "--shards", "S", "--out", "OUT", "--schedule.stepz", "3"],
            "unknown setting --schedule.stepz; did you mean --schedule.steps?",
        ),
        (
            ["tiny", "--shards", "S", "--out", "OUT", "--schedule.steps", "x"],
            "Error parsing --schedule.steps: invalid literal",
        ),
        (["tiny", "--shards", "S", "--out", "OUT", "--network.size", "giant"], "unknown encoder size 'giant'"),
        (["tiny", "--shards", "S", "--out", "OUT", "--schedule.steps", "0"], "--schedule.steps 0 trains nothing: give"),
        (
            ["tiny", "--shards", "S", "--out", "OUT", "--start", "p3d.pt"],
            "'xxs' is not a size: take the recipe p3d-0.03b",
        ),
        (
            ["p3d-0.03b", "--shards", "S", "--out", "OUT", "--start", "/nowhere/p3d.pt", "--schedule.steps", "0"],
            "cannot read /nowhere/p3d.pt (No such file or directory): give a checkpoint of OpenGait's FoundationGait",
        ),
        (["tiny", "--shards", "S", "--out", "OUT", "--cluster.workers", "3"], "does not divide among"),
        (
            ["tiny", "--shards", "S", "--out", "OUT", "--objective.name", "magic"],
            "--objective.name magic is unknown: give one of part-contrast, part-regression",
        ),
        (
            ["tiny", "--shards", "S", "--out", "OUT", "--objective.name", "part-regression", "--objective.joint", "1"],
            "unknown setting --objective.joint",
        ),
        (
            ["tiny", "--shards", "S", "--out", "OUT", "--cluster.zero-stage", "9"],
            "for argument '--cluster.zero-stage'. Expected one of",
        ),
    ],
)
def test_pretrain_mistakes(capsys, tmp_path: Path, argv: list[str], message: str) -> None:
    places = {"OUT": str(tmp_path / "out"), "S": str(tmp_path / "shards")}
    assert message in mistake(capsys, pretrain.main, *(places.get(one, one) for one in argv))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("chosen", [["--objective.name", "part-regression"], ["--objective.name=part-regression"]])
def test_the_command_line_chooses_and_sets_the_objective(chosen: list[str]) -> None:
    places = ["--shards", "S", "--out", "O"]
    run = pretrain.parse(["tiny", *places, *chosen, "--objective.no-strips"]).run
    assert run == replace(RECIPES["tiny"]("S", "O"), objective=RegressionSettings(strips=False))
    of_recipe = pretrain.parse(["tiny", *places, "--objective.temperature", "0.2"]).run.objective
    assert of_recipe == ContrastSettings(momentum=0.95, temperature=0.2)


@pytest.mark.parametrize(("job", "what"), [(pretrain, "tiny"), (scaling, "miniature")])
def test_help_lists_the_settings_of_the_chosen_objective(job: ModuleType, what: str, capsys) -> None:
    for chosen, shown in (("part-contrast", True), ("part-regression", False)):
        with pytest.raises(SystemExit) as end:
            job.main([what, "--objective.name", chosen, "--help"])
        said = capsys.readouterr().out
        assert end.value.code == 0
        assert "--objective.momentum" in said
        assert ("--objective.temperature" in said) == shown


def test_a_store_of_a_newer_schema_is_refused_by_every_job(capsys, store: Path, tmp_path: Path) -> None:
    newer = tmp_path / "newer"
    newer.mkdir()
    manifest = json.loads((store / "manifest.json").read_text())
    (newer / "manifest.json").write_text(json.dumps(manifest | {"schema_version": 99}))
    out = str(tmp_path / "out")
    assert "schema version 99" in mistake(capsys, pretrain.main, "tiny", "--shards", str(newer), "--out", out)
    root = manifest["collections"]["GaitLU-1M"]["root"]
    said = mistake(capsys, ingest.main, "--root", f"GaitLU-1M={root}", "--out", str(newer))
    assert "schema version 99" in said
    assert [path.name for path in tmp_path.iterdir()] == ["newer"]
    assert [path.name for path in newer.iterdir()] == ["manifest.json"]


def test_a_run_folder_of_another_recipe_is_refused(capsys, store: Path, tmp_path: Path) -> None:
    run = RECIPES["casia-b"](str(store), str(tmp_path / "run"))
    claim_folder(run)
    argv = ["tiny", "--shards", str(store), "--out", run.out, "--schedule.batch", "16"]
    said = mistake(capsys, pretrain.main, *argv)
    assert "holds a run with" in said
    assert "give another --out" in said
    assert [path.name for path in Path(run.out).iterdir()] == ["run.json"]


def test_a_tracking_store_that_is_none_is_refused(capsys, store: Path, tmp_path: Path, local_ray) -> None:
    argv = ["tiny", "--shards", str(store), "--out", str(tmp_path / "run"), "--schedule.batch", "16"]
    said = mistake(capsys, pretrain.main, *argv, "--tracking", "carrier-pigeon://x")
    assert "MLflow cannot be used at carrier-pigeon://x (--tracking)" in said
    assert list(tmp_path.iterdir()) == []


def test_evaluate_mistakes(capsys, tmp_path: Path) -> None:
    said = mistake(capsys, evaluate.main, "--run", str(tmp_path), "--shards", str(tmp_path))
    assert "is not the folder of a run" in said
    assert "--split" in mistake(capsys, evaluate.main, "--run", "r", "--shards", "s", "--split", "dev")


@pytest.mark.parametrize("verb", ["ingest", "pretrain", "evaluate", "release", "demo", "submit"])
def test_every_job_runs_as_a_module_and_explains_itself(verb: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", f"jobs.{verb}", "--help"],
        cwd=ROOT,
        env={**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"jobs.{verb}" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_every_collection_with_a_protocol_is_scored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A store without any, or without one of the kinds that were asked for, is a mistake."""
    entries = {name: {"splits": {"test": {}}} for name in ("CASIA-B", "Gait3D", "GaitLU-1M", "RAGAR")}
    store = Store(open_place(tmp_path), Manifest(schema_version=1, collections=entries, shards=[], rejects=[]))
    assert [spec.name for spec in scored_collections.scored(store, "test", None)] == ["CASIA-B", "Gait3D"]
    assert [spec.name for spec in scored_collections.scored(store, "test", None, ("pooled",))] == ["Gait3D"]
    with pytest.raises(UsageError, match="its protocols are of the kinds cross-view-gallery, pooled, view-pairs"):
        scored_collections.scored(store, "test", None, ("submission",))
    del entries["CASIA-B"], entries["Gait3D"]
    with pytest.raises(UsageError, match="nothing to score in the split 'test' of this run: try --split holdout"):
        scored_collections.scored(store, "test", None)


def test_kinds_of_protocol_are_named_on_the_command_line(capsys, tmp_path: Path) -> None:
    said = mistake(capsys, evaluate.main, "--run", str(tmp_path), "--shards", "s", "--kinds", "pooled", "view-pairs")
    assert "is not the folder of a run" in said
    assert "cross-view-gallery" in mistake(capsys, evaluate.main, "--run", "r", "--shards", "s", "--kinds", "views")
