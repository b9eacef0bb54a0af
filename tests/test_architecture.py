"""The arrows between rooms and between their wings, where each library may be imported, and that `datasets` is ours."""

import ast
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from orchestration.cluster.session import ROOT

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
    "deepspeed": {"orchestration/rank/engine.py", "orchestration/rank/optimizer_state.py"},
    "mlflow": {"orchestration/run/tracking.py", "orchestration/run/tracking_store.py"},
    "cv2": {"datasets"},
    "PIL": {f"datasets/formats/pictures/{name}.py" for name in ("pixels", "png", "jpeg", "tiff", "webp")},
    "jinja2": {"datasets"},
    "torch": {"model", "evaluation", "orchestration"},
    "torch.distributed": {"orchestration"},
    "benchmarks": set(),
    "tests": set(),
    "tyro": {"jobs"},
}
# Wings (folders, and files beside them) of each room, from the ground up: each may import those of earlier lines alone.
WINGS = {
    "datasets": (
        ("schema",),
        ("entries",),
        ("zip_archive",),
        ("zip_place",),
        ("storage", "random_streams", "contours", "formats", "catalog"),
        ("preprocessing",),
        ("specs", "synthetic"),
        ("store",),
        ("ingest", "loading", "reports"),
    ),
    "model": (
        ("device", "recompute"),
        ("packing", "tokens"),
        ("parts",),
        ("sizes",),
        ("fused",),
        ("compiled",),
        ("encoder", "p3d", "transfer"),
        ("network",),
        ("objectives", "embedding", "export"),
        ("release",),
    ),
    "evaluation": (
        ("bootstrap", "figures", "metrics", "text_table", "baselines", "distances"),
        ("retrieval", "classification"),
        ("reports", "scaling"),
    ),
    "orchestration": (
        ("run", "cluster", "pages"),
        ("rank", "embedding", "ingest"),
        ("training", "scoring", "release"),
        ("scaling",),
    ),
}
# Private parts of Ray, and the only files that import from them.
INSIDE_RAY = {
    "_internal": {"orchestration/training/ray_internals.py", "orchestration/cluster/bookkeeping.py"},
    "_private": {"orchestration/cluster/local_ray.py", "orchestration/cluster/code_package.py"},
}
MOST_FILES = 15  # Python files of a folder, its __init__.py aside
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
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            found |= {argument.value for argument in node.args[:1] if isinstance(argument, ast.Constant)}
    return found


def breaches(path: str, source: str) -> list[str]:
    """What a file imports although its room may not."""
    room = path.split("/")[0]
    wrong = []
    for name in sorted(imports(source)):
        top = name.split(".")[0]
        if top in ROOMS and not any(name == may or name.startswith(f"{may}.") for may in MAY_IMPORT[room]):
            wrong.append(f"{path} imports {name}")
        for library, allowed in ONLY_IN.items():
            if f"{name}.".startswith(f"{library}.") and not allowed & {room, path}:
                wrong.append(f"{path} imports {name}, which belongs in {', '.join(sorted(allowed)) or 'no room'}")
    return wrong


def upward(path: str, source: str) -> list[str]:
    """What a file imports from a wing of its room that does not lie below its own."""
    room, wing = wing_of(path.removesuffix(".py").replace("/", "."))
    if room not in WINGS:
        return []
    if not wing:  # the package of the room: it is imported before any of its wings
        return [f"{path} imports {name}" for name in sorted(imports(source)) if wing_of(name)[0] == room]
    levels = {name: level for level, names in enumerate(WINGS[room]) for name in names}
    assert wing in levels, f"{path}: give the wing {wing!r} a place in WINGS"
    found = {name: wing_of(name) for name in sorted(imports(source))}
    return [
        f"{path} imports {name}, which does not lie below {wing}"
        for name, (other, theirs) in found.items()
        if other == room and theirs not in ("", wing) and levels.get(theirs, len(levels)) >= levels[wing]
    ]


def wing_of(module: str) -> tuple[str, str]:
    """Room and wing of a dotted name; the wing is empty for the room itself."""
    room, _, rest = module.partition(".")
    return room, rest.partition(".")[0].removeprefix("__init__")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_arrows_point_one_way(path: Path) -> None:
    name = path.relative_to(ROOT).as_posix()
    assert breaches(name, path.read_text()) + upward(name, path.read_text()) == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("model/encoder.py", "import ray"),
        ("model/encoder.py", "from datasets import contours"),
        ("evaluation/reports/tables.py", "from model.encoder import ContourEncoder"),
        ("datasets/store/blocks.py", "from orchestration.cluster.session import start"),
        ("orchestration/embedding/embed.py", "import mlflow.pytorch"),
        ("jobs/demo.py", "import cv2"),
        ("evaluation/reports/tables.py", "import jinja2"),
        ("model/encoder.py", "import importlib\nimportlib.import_module('ray')"),
        ("model/encoder.py", "__import__('mlflow.pytorch')"),
        ("model/encoder.py", "import torch.distributed as dist"),
        ("model/encoder.py", "from torch import distributed"),
        ("evaluation/bootstrap.py", "from benchmarks import step"),
    ],
)
def test_a_planted_breach_is_found(path: str, source: str) -> None:
    assert len(breaches(path, source)) == 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("datasets/contours/codec.py", "from datasets.store.reader import Store"),
        ("datasets/loading/corpus.py", "from datasets.ingest import layouts"),
        ("datasets/storage.py", "from datasets.catalog.registry import CATALOG"),
        ("model/p3d/encoder.py", "from model.network import GaitNetwork"),
        ("evaluation/retrieval/ranks.py", "from evaluation.reports import cmc"),
        ("orchestration/rank/loop.py", "import orchestration.training.monitor"),
        ("orchestration/run/settings.py", "from orchestration.cluster.session import ROOT"),
        ("orchestration/__init__.py", "import orchestration.scaling"),
    ],
)
def test_a_planted_arrow_upwards_is_found(path: str, source: str) -> None:
    assert len(upward(path, source)) == 1
    assert upward(path, f"{source}  # twice\nfrom datasets.schema import errors") == upward(path, source)


def inside_ray(source: str) -> set[str]:
    """The private parts of Ray that a file imports from, which another release may change without notice."""
    return {part for name in imports(source) for part in name.split(".") if part in INSIDE_RAY}


def test_the_private_parts_of_ray_are_imported_where_their_behaviour_is_tested() -> None:
    found = {path.relative_to(ROOT).as_posix(): inside_ray(path.read_text()) for path in FILES}
    for part, files in INSIDE_RAY.items():
        assert {file for file, parts in found.items() if part in parts} == files


def test_a_planted_import_of_a_private_part_is_found() -> None:
    planted = "def late():\n    from ray.train.v2._internal.callbacks import DatasetsCallback"
    assert inside_ray(planted) == {"_internal"}
    assert inside_ray("import ray._private.node\nimport ray.train") == {"_private"}


def test_no_folder_is_a_heap() -> None:
    counts = Counter(path.parent for path in FILES if path.name != "__init__.py")
    assert {str(folder): count for folder, count in counts.items() if count > MOST_FILES} == {}


def test_every_file_says_what_it_is_for() -> None:
    assert [str(path) for path in FILES if not ast.get_docstring(ast.parse(path.read_text()))] == []


def test_only_jobs_print() -> None:
    """All else logs: what a user must know goes to stderr, with time and level, and what a job shows to stdout."""
    printed = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in FILES
        if path.parent != ROOT / "jobs"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("print", "pprint")
    ]
    assert printed == []


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
import torch
import {module}
import orchestration.training.restarts  # with the settings of Ray Train, which reach every rank
from orchestration.rank.entry import import_loop
import_loop(gpu=False)
from orchestration.rank.eager_adamw import EagerAdamW
optimizer = EagerAdamW([torch.nn.Parameter(torch.ones(1))])
optimizer.zero_grad()
optimizer.step()
optimizer.load_state_dict(optimizer.state_dict())
print(*sorted(name for name in ("mlflow", "matplotlib", "torch._dynamo") if sys.modules.get(name)))
"""


@pytest.mark.parametrize("module", ["rank.pretrain", "rank.finetune", "scaling.cell_worker"])
def test_a_rank_waits_for_no_import_that_it_does_not_need(module: str) -> None:
    asked = subprocess.run(
        [sys.executable, "-c", RANK.format(module=f"orchestration.{module}")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert asked.stdout.splitlines()[-1] == ""  # DeepSpeed may have spoken before


def test_the_status_of_a_run_needs_no_torch() -> None:
    """Its actor starts while training waits for it."""
    asked = "import sys, orchestration.rank.status; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", asked], capture_output=True, check=True).stdout == b"False\n"
