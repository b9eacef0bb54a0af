"""A thirteenth collection is one entry: added to a copy of the program, it goes from the disk to its scores."""

import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from datasets.ingest import layouts
from datasets.schema.collection import CollectionSpec
from datasets.storage import open_place
from jobs import demo
from orchestration.cluster.session import ROOT

ENTRY = '''"""Promenade: a collection that nobody has released."""

from datasets.catalog.official_lists import numbered
from datasets.schema.collection import CollectionSpec, FolderPath, Layout, Split
from datasets.schema.protocol import ProbeSet, Protocol

PROMENADE = CollectionSpec(
    name="Promenade",
    title="Promenade, walks along a beach",
    citation="nobody",
    access="nowhere",
    layouts=(
        Layout(
            name="released",
            kind="images",
            paths=(
                FolderPath(
                    pattern=r"day(?P<day>\\d)/(?P<label_weather>sun|rain)/P(?P<subject>\\d{3})/(?P<view>cam\\d)",
                    condition="{weather}-{day}",
                ),
            ),
            file=r"mask_(?P<frame>\\d{4})\\.png",
            example="day1/sun/P001/cam0/mask_0001.png",
            aligned=False,
        ),
    ),
    split=Split(train=frozenset(numbered(1, 40, 3)), test=frozenset(numbered(41, 60, 3))),
    protocol=Protocol(
        probe_sets=(ProbeSet(name="RAIN", probe=frozenset({"rain-2"}), gallery=frozenset({"sun-1", "sun-2"})),)
    ),
    label_values={"weather": {"sun": "sun", "rain": "rain"}},
)
'''

WAY = """
from pathlib import Path

from datasets.catalog.registry import find
from datasets.synthetic.casts import cast_of
from datasets.synthetic.trees import write_tree
from jobs import evaluate, ingest, pretrain

spec, tracked = find("Promenade"), ["--tracking", "sqlite:///mlflow.db"]
write_tree(Path("tree"), spec.layouts[0], cast_of(spec), num_frames=8)
ingest.main(["--root", "Promenade=tree", "--out", "shards"])
small = ["--schedule.steps", "3", "--schedule.batch", "8", "--schedule.warmup", "1", "--cluster.workers", "1"]
pretrain.main(["tiny", "--shards", "shards", "--out", "run", *small, "--clips.frames", "4", *tracked])
evaluate.main(["--run", "run", "--shards", "shards", "--pictures", *tracked])
"""


def entry() -> CollectionSpec:
    names: dict[str, object] = {}
    exec(ENTRY, names)
    spec = names["PROMENADE"]
    assert isinstance(spec, CollectionSpec)
    return spec


def add_entry(program: Path) -> None:
    """As the docstring of datasets/catalog/registry.py says: a file, its import, and its name in the list."""
    (program / "datasets/catalog/promenade.py").write_text(ENTRY)
    registry = program / "datasets/catalog/registry.py"
    text = registry.read_text()
    for before, after in (
        (
            "from datasets.catalog.ragar",
            "from datasets.catalog.promenade import PROMENADE\nfrom datasets.catalog.ragar",
        ),
        ("RAGAR, SCOLIOSIS1K", "PROMENADE, RAGAR, SCOLIOSIS1K"),
    ):
        assert text.count(before) == 1
        text = text.replace(before, after)
    registry.write_text(text)


def test_one_entry_is_all_that_a_collection_takes(tmp_path: Path) -> None:
    program = tmp_path / "program"
    for room in ("datasets", "model", "evaluation", "orchestration", "jobs"):
        shutil.copytree(ROOT / room, program / room, ignore=shutil.ignore_patterns("__pycache__"))
    add_entry(program)
    (program / "way.py").write_text(WAY)
    done = subprocess.run([sys.executable, "-m", "way"], cwd=program, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    table = pd.read_csv(program / "run/evaluation/test/results.csv")
    scores = table[(table.collection == "Promenade") & (table.probe_set == "RAIN")].set_index("method")
    assert {"pretrained", "random initialisation", "GEI"} <= set(scores.index)
    assert scores.excluding_identical.between(0, 100).all() and (scores.num_gallery_subjects == 6).all()


def test_the_demo_has_walkers_for_a_new_collection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = entry()
    monkeypatch.setattr(demo, "CATALOG", {"Promenade": spec})
    walks = demo._write_walkers(tmp_path)
    root = layouts.find_root(open_place(tmp_path / "Promenade"), spec)
    found = {(ref.subject, ref.condition, ref.view) for ref in layouts.list_sequences(root) if ref.problem is None}
    assert len(found) == walks
    assert {condition for _, condition, _ in found} == {"sun-1", "sun-2", "rain-1", "rain-2"}
    assert {spec.split.of(subject) for subject, _, _ in found} == {"train", "test"}
    assert {view for _, _, view in found} == {"cam0", "cam1"}
