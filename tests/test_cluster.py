"""The cluster file is one that Ray's launcher accepts, and it ships no data and no secrets."""

import zipfile
from pathlib import Path

import yaml
from ray._private.runtime_env.packaging import create_package
from ray.autoscaler._private.util import prepare_config, validate_config

from orchestration import session

ROOT = Path(__file__).resolve().parent.parent


def test_the_launcher_accepts_the_cluster_file() -> None:
    config = yaml.safe_load((ROOT / "ray_cluster.yaml").read_text())
    validate_config(prepare_config(config))
    assert config["file_mounts"]["~/foundationgait"] == "."


def test_the_rays_of_the_cluster_listen_to_their_own_machine() -> None:
    commands = yaml.safe_load((ROOT / "ray_cluster.yaml").read_text())["head_start_ray_commands"]
    assert any("--dashboard-host=127.0.0.1" in command for command in commands)


def test_neither_way_to_ship_the_tree_ships_secrets_or_data(tmp_path: Path) -> None:
    excluded = yaml.safe_load((ROOT / "ray_cluster.yaml").read_text())["rsync_exclude"]
    for name in (".env", "*.pem", "*.key"):
        assert name in excluded
        assert any(pattern.startswith(name) for pattern in session.EXCLUDES)


def test_what_ray_packs_is_the_code_and_nothing_else(tmp_path: Path, monkeypatch) -> None:
    tree = tmp_path / "tree"
    wanted = ["datasets/schema.py", "datasets/shards.py", "jobs/demo.py", "model/encoder.py"]
    unwanted = [
        ".env",
        "secrets/id.key",
        "demo/run/weights.safetensors",
        "shards/x.parquet",
        ".venv/bin/python",
        "a.pkl",
    ]
    for name in wanted + unwanted:
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text("x")
    create_package(str(tree), tmp_path / "package.zip", include_gitignore=True, excludes=session.EXCLUDES)
    assert sorted(name for name in zipfile.ZipFile(tmp_path / "package.zip").namelist() if name[-1] != "/") == wanted
