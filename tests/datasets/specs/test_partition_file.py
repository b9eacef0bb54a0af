"""Other partitions: official ones given as files, published alternatives, and what of them a store does not have."""

import json
from pathlib import Path

import pyarrow as pa
import pytest

from datasets.catalog.registry import CATALOG
from datasets.schema.collection import CollectionSpec
from datasets.schema.errors import UsageError
from datasets.schema.rows import SEQUENCE_SCHEMA
from datasets.specs import custom
from datasets.specs.consistency import check_stored_rows, unmatched
from datasets.specs.resolve import describe, from_manifest, resolve, to_manifest
from tests.fixtures.probes import role

CATALOG_SETS = {"Gait3D": ("PROBE_SET", "probe"), "CCGR": ("GALLERY_SET", "gallery")}


def write(path: Path, **keys: list[str] | str) -> str:
    path.write_text(json.dumps(keys))
    return str(path)


def stored(spec: CollectionSpec, *walks: str, **labels: str) -> pa.Table:
    """Rows of a store: `subject/condition/view` each, split as the spec splits them, all with these labels."""
    rows = []
    for walk in walks:
        subject, condition, view = walk.split("/")
        row = {"subject": subject, "condition": condition, "view": view, "labels": labels}
        rows.append({**row, "split": spec.split.of(subject)})
    return pa.Table.from_pylist(rows, schema=SEQUENCE_SCHEMA)


def declared_again(spec: CollectionSpec) -> CollectionSpec:
    entry = json.loads(json.dumps({"declared": to_manifest(spec)}))
    return from_manifest({"collections": {spec.name: entry}}, spec.name)


@pytest.mark.parametrize("name", sorted(CATALOG))
def test_the_official_file_gives_the_official_split(tmp_path: Path, name: str) -> None:
    official = CATALOG[name]
    keys = {"TRAIN_SET": sorted(official.split.train), "TEST_SET": sorted(official.split.test)}
    if name in CATALOG_SETS:
        key, part = CATALOG_SETS[name]
        keys[key] = [one.replace("/", "-") for one in getattr(official.protocol.probe_sets[0], part)]
    spec = resolve(name, partition=write(tmp_path / "official.json", **keys))
    assert spec.split == official.split
    assert (spec.partition, spec.layouts) == ("official.json", official.layouts)
    assert declared_again(spec) == spec
    if name not in CATALOG_SETS:
        assert spec.protocol == official.protocol
        return
    (before, *others), (after, *kept) = official.protocol.probe_sets, spec.protocol.probe_sets
    assert kept == others
    assert (after.name, spec.protocol.kinds) == (before.name, official.protocol.kinds)
    walks = [one.split("/") for one in sorted(getattr(before, CATALOG_SETS[name][1]))[:50]]
    walks += [[subject, condition, "other"] for subject, condition, _ in walks]
    assert {role(before, *walk) for walk in walks} == {"probe", "gallery"}
    assert [role(after, *walk) for walk in walks] == [role(before, *walk) for walk in walks]


def test_a_published_alternative_is_called_by_its_name() -> None:
    official = CATALOG["Scoliosis1K"]
    spec = resolve("Scoliosis1K", partition="118")
    assert spec.split == official.other_splits["118"] != official.split
    assert declared_again(spec) == spec
    assert describe(spec, spec.layouts[0]) == ["Scoliosis1K: split by the partition 118"]
    with pytest.raises(
        UsageError, match="no published partition '119', and there is no such file: give one of 114, 118"
    ):
        resolve("Scoliosis1K", partition="119")
    with pytest.raises(
        UsageError,
        match=r"118 cannot be read \(No such file or directory\): check the path given with --partition CASIA-B=<json>",
    ):
        resolve("CASIA-B", partition="118")


def test_ones_own_walks_may_come_with_a_partition(tmp_path: Path) -> None:
    path = write(tmp_path / "p.json", TRAIN_SET=["a"], TEST_SET=["b"], PROBE_SET=["b-x-1-v"], GALLERY_SET=["b-y-v"])
    spec = resolve("mine", partition=path)
    assert [spec.split.of(one) for one in "abc"] == ["train", "test", "none"]
    (one,) = spec.protocol.probe_sets
    assert (spec.protocol.kinds, one.name) == (("pooled",), "partition")
    roles = [role(one, "b", condition, "v") for condition in ("x-1", "y", "z")]
    assert roles == ["probe", "gallery", "neither"]
    assert declared_again(spec) == spec
    manifest = {"collections": {"mine": {"declared": to_manifest(spec)}}}
    assert resolve("mine", manifest=manifest) == spec
    assert resolve("mine", partition=path, manifest=manifest) == spec


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"TRAIN_SETS": [], "TEST_SET": []}, 'TRAIN_SETS is not a known key: did you mean "TRAIN_SET"?'),
        ({"PROBE_SET": ["a-b-c"]}, "names no subjects"),
        ({"TRAIN_SET": ["1"], "TEST_SET": ["1"]}, "p.json has subjects in train and in test (1)"),
        ({"TRAIN_SET": ["1"], "PROBE_SET": []}, "PROBE_SET is empty: give something, or leave it out"),
        (
            {"TRAIN_SET": ["1"], "PROBE_SET": ["a"], "GALLERY_SET": ["a"]},
            "in PROBE_SET and in GALLERY_SET (a)",
        ),
    ],
)
def test_mistakes_in_a_partition(tmp_path: Path, keys: dict, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        resolve("Gait3D", partition=write(tmp_path / "p.json", **keys))
    assert message in str(caught.value) and str(tmp_path) in str(caught.value)


def test_names_without_a_sequence_and_subjects_without_a_split_are_reported(tmp_path: Path) -> None:
    path = write(tmp_path / "p.json", TRAIN_SET=["a", "lost"], TEST_SET=["b"], PROBE_SET=["b-x-v", "a-x-v", "b-q-v"])
    spec = resolve("mine", partition=path)
    assert unmatched(spec, stored(spec, "a/x/v", "b/x/v", "b/y/v", "c/x/v", "d/x/v")) == [
        "mine: subjects of the train list without a sequence: 1 (lost)",
        "mine: subjects that are in neither train nor test, and not used: 2 (c, d)",
        "mine: probe of partition without a sequence in the test split: 2 (a-x-v, b-q-v)",
    ]
    assert unmatched(spec, stored(spec, "a/x/v"))[-1] == (
        "mine: has a protocol, and no sequence in the test split to score by it"
    )
    assert unmatched(custom.default_spec("mine"), stored(custom.default_spec("mine"), "a/x/v")) == []


@pytest.mark.parametrize(
    ("name", "walk", "expected"),
    [
        ("CASIA-B", "075/nm-05/090", ["probe of NM ", "1 (nm-06)"]),
        ("SUSTech1K", "0001/02-bg-cl/000", ["probe of Overall", "3 (01, 03, 04)"]),
        ("Gait3D", "0002/camid33_videoid2/seq0", ["probe of all", "999 ("]),
    ],
)
def test_names_of_every_kind_are_looked_for(name: str, walk: str, expected: list[str]) -> None:
    spec = CATALOG[name]
    lines = [line for line in unmatched(spec, stored(spec, walk)) if expected[0] in line]
    assert len(lines) == 1 and expected[1] in lines[0]


def test_labels_of_nobody_are_reported(tmp_path: Path) -> None:
    path = write(tmp_path / "s.json", labels={"a": {"sex": "f"}, "a/x": {}, "a/x/v": {}, "b": {}, "a/y": {}})
    spec = resolve("mine", path)
    assert unmatched(spec, stored(spec, "a/x/v")) == ["mine: labels without a sequence: 2 (a/y, b)"]


def test_rows_stay_as_they_were_recorded(tmp_path: Path) -> None:
    bare = custom.default_spec("mine")
    rows = stored(bare, "a/x/v", "b/x/v")
    check_stored_rows(bare, rows, None)
    more = resolve("mine", write(tmp_path / "more.json", title="more", split={"train": "*", "test": ["new"]}))
    check_stored_rows(more, rows, bare)
    other = resolve("mine", partition=write(tmp_path / "other.json", TRAIN_SET=["a"], TEST_SET=["b"]))
    with pytest.raises(UsageError, match="subject b is in the store as 'train', not as 'test': give what mine was"):
        check_stored_rows(other, rows, bare)
    labelled = resolve("mine", write(tmp_path / "labelled.json", labels={"b": {"sex": "f"}}))
    with pytest.raises(UsageError, match="b/x/v is in the store with other labels than these"):
        check_stored_rows(labelled, rows, bare)
    check_stored_rows(labelled, stored(bare, "b/x/v", sex="f"), labelled)
    aligned = resolve("mine", write(tmp_path / "aligned.json", aligned=True))
    with pytest.raises(UsageError, match="another value of `aligned`"):
        check_stored_rows(aligned, rows, bare)
    scoliosis = resolve("Scoliosis1K", partition="118")
    moved = next(iter(scoliosis.split.test - CATALOG["Scoliosis1K"].split.test))
    with pytest.raises(UsageError, match=f"subject {moved} is in the store as 'train'"):
        check_stored_rows(scoliosis, stored(CATALOG["Scoliosis1K"], f"{moved}/positive/000_180"), None)
