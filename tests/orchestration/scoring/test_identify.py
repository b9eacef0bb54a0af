"""Unknown walks against known ones: the arithmetic on planted embeddings, and the job on folders of silhouettes."""

import shutil
from pathlib import Path

import pandas as pd
import pytest

from datasets.catalog.registry import find
from datasets.loading.clips import ClipSettings
from datasets.storage import open_place
from datasets.synthetic import scenes
from datasets.synthetic.trees import write_tree
from jobs import evaluate as evaluate_job
from model.network import NetworkSettings
from orchestration.run import checkpoint, folder
from orchestration.run.settings import PretrainRun
from orchestration.scoring.identify import _each_in_a_folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> Path:
    """gallery/<person>/<walk>/<view> of three people, probe/<name> of two of them, and a walk of nobody."""
    root = tmp_path_factory.mktemp("own")
    walks = [scenes.casia_b(subject, walk, "090") for subject in ("001", "002", "003") for walk in ("nm-01", "nm-02")]
    write_tree(root / "released", find("CASIA-B").layouts[0], walks, num_frames=16, seed=1)
    for subject in ("001", "002", "003"):
        shutil.copytree(root / "released" / subject / "nm-01", root / "gallery" / subject / "monday")
    for name, subject in (("this", "003"), ("that", "001")):
        shutil.copytree(root / "released" / subject / "nm-02" / "090", root / "probe" / name)
    (root / "probe" / "nobody").mkdir()
    (root / "probe" / "nobody" / "001.png").write_bytes(b"no picture")
    return root


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> str:
    """A run's folder with weights that were never trained: they tell synthetic walkers apart."""
    out = str(tmp_path_factory.mktemp("run") / "run")
    settings = PretrainRun(
        recipe="test", shards="none", out=out, clips=ClipSettings(frames=8), network=NetworkSettings(channels=8)
    )
    folder.claim_folder(settings)
    checkpoint.save(open_place(out), settings, 1, settings.objective.build(settings.network).state_dict(), {})
    return out


def test_folders_of_walks_are_ranked(folders: Path, run: str, local_ray, tmp_path: Path, capsys) -> None:
    argv = ["identify", "--run", run, "--gallery", str(folders / "gallery"), "--probe", str(folders / "probe")]
    evaluate_job.main([*argv, "--out", str(tmp_path / "out"), "--most", "2"])
    said, log = capsys.readouterr()
    assert "WARNING probe nobody is left out: no usable frame" in log
    lines = pd.read_csv(tmp_path / "out/candidates.csv", dtype={"subject": str})
    assert lines["rank"].tolist() == [1, 2, 1, 2]
    first = lines[lines["rank"] == 1].set_index("walk")
    assert first["subject"].to_dict() == {"that": "001", "this": "003"}
    assert first["nearest_walk"].to_dict() == {"that": "001/monday/090", "this": "003/monday/090"}
    shown = [line.split() for line in said.splitlines() if line.startswith(("that", "this"))]
    assert [(line[0], line[2]) for line in shown] == [("that", "001"), ("this", "003")]


@pytest.mark.slow
def test_one_folder_of_frames_is_one_walk(folders: Path, run: str, local_ray, tmp_path: Path, capsys) -> None:
    argv = ["identify", "--run", run, "--gallery", str(folders / "gallery")]
    evaluate_job.main([*argv, "--probe", str(folders / "probe/this"), "--out", str(tmp_path)])
    assert pd.read_csv(tmp_path / "candidates.csv", dtype=str)["walk"].unique().tolist() == ["this"]
    with pytest.raises(SystemExit) as end:
        evaluate_job.main([*argv, "--probe", str(folders / "probe/nobody"), "--out", str(tmp_path)])
    assert end.value.code == 2
    assert "none of the walks in --probe" in capsys.readouterr().err


def test_a_zip_of_one_walk_becomes_a_folder_with_it(folders: Path, tmp_path: Path) -> None:
    probe = folders / "probe"
    zipped = shutil.make_archive(str(tmp_path / "this"), "zip", probe, "this")
    above = Path(_each_in_a_folder(zipped, tmp_path / "walk"))
    assert [path.name for path in above.iterdir()] == ["this"]
    content = {path.name: path.read_bytes() for path in (above / "this").iterdir()}
    assert content == {path.name: path.read_bytes() for path in (probe / "this").iterdir()}
    walks = shutil.make_archive(str(tmp_path / "probe"), "zip", folders, "probe")
    assert _each_in_a_folder(walks, tmp_path / "other") == walks
