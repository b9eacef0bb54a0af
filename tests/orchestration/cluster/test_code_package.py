"""The package that is sent with a job: all of the code, and nothing secret, large or outside the tree."""

import zipfile
from pathlib import Path

import pytest

from datasets.schema.errors import UsageError
from orchestration.cluster import code_package
from orchestration.cluster.session import ROOT


def test_the_package_is_the_code_and_nothing_secret(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    wanted = ["datasets/splits/gait3d.txt", "docs/cluster.md", "jobs/demo.py", "model/tokens.py", "my-spec.json"]
    secret = [".env", ".env.local", "id.pem", "keys/server.key", ".aws/credentials", ".ssh/id_ed25519", ".netrc"]
    secret += [".git/config", "auth_token", "secrets/mlflow.txt", "conf/kubeconfig.yaml", "conf/credentials.json"]
    data = ["runs/a/weights.safetensors", "shards/x.parquet", "mlflow.db", "mlflow.db-wal", ".venv/bin/python"]
    data += ["private/notes.txt", "walks.tar.zst", "jobs/__pycache__/demo.cpython-311.pyc"]
    for name in wanted + secret + data:
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text("x")
    (tree / ".gitignore").write_text("/private/\n")
    (tmp_path / "elsewhere").write_text("x")
    (tree / "link").symlink_to(tmp_path / "elsewhere")
    (tree / ".venv-other").symlink_to(tmp_path)
    packed = code_package.pack(tree, tmp_path / "package.zip")
    assert zipfile.ZipFile(tmp_path / "package.zip").namelist() == sorted([".gitignore", *wanted])
    assert code_package.describe(packed) == f"packed {len(wanted) + 1} files, 0.0 MB; left out, as symbolic links: link"
    code_package.pack(tree, tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == (tmp_path / "package.zip").read_bytes()


def test_all_of_this_code_is_packed(tmp_path: Path) -> None:
    code_package.pack(ROOT, tmp_path / "package.zip")
    packed = set(zipfile.ZipFile(tmp_path / "package.zip").namelist())
    rooms = ("datasets", "model", "evaluation", "orchestration", "jobs")
    code = {
        path for room in rooms for path in (ROOT / room).rglob("*") if path.suffix in (".py", ".txt", ".j2", ".css")
    }
    assert {path.suffix for path in code} == {".py", ".txt", ".j2", ".css"}
    assert {path.relative_to(ROOT).as_posix() for path in code} <= packed


def test_a_tree_with_data_in_it_is_refused(tmp_path: Path) -> None:
    for name, size in {"walks/001.bin": 15, "walks/002.bin": 12, "small.py": 0}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        with (tmp_path / name).open("wb") as file:
            file.truncate(size * 2**20)
    with pytest.raises(UsageError, match=r"holds 27\.0 MB to send, more than 20\.0 MB: .* walks/001\.bin \(15\.0 MB\)"):
        code_package.pack(tmp_path, tmp_path / "package.zip")
    assert not (tmp_path / "package.zip").exists()
