"""Casts and paths that are derived from an entry: for the collections of the catalog, whose own ones are known."""

from dataclasses import replace
from pathlib import Path

import pytest

from datasets.catalog.registry import CATALOG
from datasets.ingest import layouts
from datasets.ingest.sequence_to_row import ingest_sequence
from datasets.schema.collection import CollectionSpec, FolderPath, Layout
from datasets.specs import custom
from datasets.storage import open_place
from datasets.synthetic import trees
from datasets.synthetic.film import Walk
from datasets.synthetic.generic_cast import cast_from
from datasets.synthetic.generic_format import example_of, format_of
from datasets.synthetic.trees import write_tree

# GREW names its subjects by another path to train on, in the gallery and among the probes: it needs a cast of its own.
NAMES = sorted(set(CATALOG) - {"GREW"})


def names_of(walk: Walk) -> tuple[str, str, str]:
    return walk.subject, walk.condition, walk.view


@pytest.mark.parametrize("name", NAMES)
def test_a_cast_has_subjects_of_both_lists_and_a_gallery_for_every_probe(name: str) -> None:
    spec = CATALOG[name]
    walks = list(cast_from(spec))
    assert len({names_of(walk) for walk in walks}) == len(walks) and {walk.collection for walk in walks} == {name}
    assert len({walk.subject for walk in walks if walk.subject in spec.split.train}) >= 5
    tested = [walk for walk in walks if walk.subject in spec.split.test]
    assert len({walk.subject for walk in tested}) >= min(5, len(spec.split.test))
    for _, one in spec.protocol.scored() if spec.protocol else ():
        sides = ({walk.person for walk in tested if of(*names_of(walk))} for of in (one.is_probe, one.is_gallery))
        assert len(set.intersection(*sides)) >= 5, one.name


@pytest.mark.parametrize("name", NAMES)
def test_what_is_written_after_an_example_is_read_as_what_it_is(name: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(trees, "FORMATS", {})
    walks = list(cast_from(CATALOG[name]))[::9]
    for layout in CATALOG[name].layouts:
        spec = replace(CATALOG[name], layouts=(layout,))
        write_tree(tmp_path / layout.name, layout, walks, num_frames=3)
        root = layouts.find_root(open_place(tmp_path / layout.name), spec, layout.modality)
        read = [ingest_sequence(root, ref) for ref in layouts.list_sequences(root)]
        rows = [one.row for one in read if one.row is not None]
        found = {(row["subject"], row["condition"], row["view"]): row["num_frames"] for row in rows}
        assert found == {names_of(walk): 1 if layout.modality == "lidar" else 3 for walk in walks}, layout.name


def test_anonymous_sequences_are_of_somebody_each() -> None:
    walks = list(cast_from(CATALOG["GaitLU-1M"]))
    assert len({walk.person for walk in walks}) == len(walks)


def test_labels_of_an_entry_are_among_the_walks() -> None:
    assert {walk.condition for walk in cast_from(CATALOG["Scoliosis1K"])} == {"positive", "neutral"}
    assert {walk.subject[0] for walk in cast_from(CATALOG["D-Gait"])} == {"D", "N"}
    assert {walk.azimuth for walk in cast_from(CATALOG["CASIA-B"])} == {90, 91}


def test_a_custom_collection_has_walks_too(tmp_path: Path) -> None:
    spec = custom.default_spec("mine")
    walks = list(cast_from(spec))
    assert {spec.split.of(walk.subject) for walk in walks} == {"train"}
    assert {walk.condition for walk in walks} == {"normal", "normal2"}
    write_tree(tmp_path, spec.layouts[0], walks[:5], num_frames=3)
    found = layouts.find_root(open_place(tmp_path), spec)
    refs = {(ref.subject, ref.condition, ref.view) for ref in layouts.list_sequences(found)}
    assert refs == {names_of(walk) for walk in walks[:5]}


def test_templates_are_read_backwards() -> None:
    path = FolderPath(
        pattern=r"(?P<day>\d)/(?P<label_scene>[a-z]+){x}/p(?P<subject>\d{2})-(?P<view>[LR])",
        condition="{scene}.{day}",
    )
    layout = Layout(
        name="odd",
        kind="images",
        paths=(path,),
        inside="masks",
        file=r"m(?P<frame>\d{3})_7\.png",
        example="1/yard{x}/p07-L/masks/m014_7.png",
        aligned=False,
    )
    form = format_of(layout)
    assert form.folder == "{day}/{label_scene}{{x}}/p{subject}-{view}"
    assert (form.file, form.first) == ("masks/m{frame:03d}_7.png", 14)
    groups = example_of(layout).groups_for("12", "hall.3", "R")
    assert groups == {"subject": "12", "label_scene": "hall", "day": "3", "view": "R"}
    assert form.folder.format_map(groups) == "3/hall{x}/p12-R"
    assert example_of(layout).groups_for("12", "hall", "R") is None
    base = CATALOG["CASIA-B"]
    spec: CollectionSpec = replace(base, layouts=(layout,), split=replace(base.split, train=frozenset({"01", "02"})))
    assert {walk.subject for walk in cast_from(spec)} == {"01", "02"}  # those to test on have three digits
