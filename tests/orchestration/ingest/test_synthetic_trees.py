"""Synthetic walkers are written where the driver says, also below a relative path."""

from pathlib import Path

import pytest

from datasets.catalog import registry
from datasets.synthetic import scenes
from orchestration.ingest.synthetic_trees import write_trees


def test_a_relative_folder_is_that_of_the_driver(tmp_path: Path, local_ray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # tasks have another working directory
    walks = [scenes.casia_b("001", "nm-01", "090")]
    assert write_trees({Path("trees"): (registry.find("CASIA-B").layouts[0], walks)}, num_frames=4) == 1
    assert len(list((tmp_path / "trees").rglob("*.png"))) == 4
