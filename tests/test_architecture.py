"""The arrows between the rooms, the fences around the libraries, and that `datasets` is ours everywhere."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("jobs", "orchestration", "datasets", "model", "evaluation")
MAY_IMPORT = {
    "jobs": {"jobs", "orchestration", "datasets", "model", "evaluation"},
    "orchestration": {"orchestration", "datasets", "model", "evaluation"},
    "datasets": {"datasets"},
    "model": {"model", "datasets.schema"},
    "evaluation": {"evaluation", "datasets.schema"},
}
ONLY_IN = {
    "ray": {"orchestration"},
    "deepspeed": {"orchestration/engine.py", "orchestration/engine_state.py"},
    "mlflow": {"orchestration/tracking.py"},
    "cv2": {"datasets"},
    "torch": {"model", "evaluation", "orchestration"},
    "tyro": {"jobs"},
}
FILES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))


def imports(source: str) -> set[str]:
    """Dotted names that a file imports: modules, and `package.module` for `from package import module`."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide which room they reach into"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def breaches(path: str, source: str) -> list[str]:
    """What a file imports although its room may not."""
    room = path.split("/")[0]
    wrong = []
    for name in sorted(imports(source)):
        top = name.split(".")[0]
        if top in ROOMS and not any(name == may or name.startswith(f"{may}.") for may in MAY_IMPORT[room]):
            wrong.append(f"{path} imports {name}")
        if top in ONLY_IN and not ONLY_IN[top] & {room, path}:
            wrong.append(f"{path} imports {name}, which belongs in {', '.join(sorted(ONLY_IN[top]))}")
    return wrong


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_arrows_point_one_way(path: Path) -> None:
    assert breaches(path.relative_to(ROOT).as_posix(), path.read_text()) == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("model/encoder.py", "import ray"),
        ("model/encoder.py", "from datasets import contours"),
        ("evaluation/tables.py", "from model.encoder import ContourEncoder"),
        ("datasets/shards.py", "from orchestration.session import start"),
        ("orchestration/embed.py", "import mlflow.pytorch"),
        ("jobs/demo.py", "import cv2"),
    ],
)
def test_a_planted_breach_is_found(path: str, source: str) -> None:
    assert len(breaches(path, source)) == 1


def test_every_file_says_what_it_is_for() -> None:
    assert [str(path) for path in FILES if not ast.get_docstring(ast.parse(path.read_text()))] == []


def test_files_and_functions_stay_small() -> None:
    for path in FILES:
        source = path.read_text()
        assert source.count("\n") <= 300, f"{path} has two reasons to exist"
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno - node.lineno < 60, f"{path}: {node.name} does too much"


def test_datasets_is_ours_on_the_driver_and_in_a_task(local_ray) -> None:
    import datasets

    @local_ray.remote
    def where() -> tuple[str, bool]:
        import datasets
        import datasets.schema

        return datasets.__doc__, hasattr(datasets, "load_dataset")

    assert Path(datasets.__file__).resolve() == ROOT / "datasets" / "__init__.py"
    assert local_ray.get(where.remote()) == (datasets.__doc__, False)


RANK = """
import sys
import orchestration.{work}
sys.modules.setdefault("mlflow", None)  # as orchestration/rank.py does
import orchestration.worker
print(*sorted(name for name in ("mlflow", "matplotlib") if sys.modules.get(name)))
"""


@pytest.mark.parametrize("work", ["pretrain_work", "finetune_work"])
def test_a_rank_waits_for_no_import_that_it_does_not_need(work: str) -> None:
    asked = subprocess.run([sys.executable, "-c", RANK.format(work=work)], capture_output=True, text=True, check=True)
    assert asked.stdout.splitlines()[-1] == ""  # DeepSpeed may have spoken before
