"""Every hazard of released gait data, planted one by one: its sequence has the expected outcome, no other changes."""

import shutil
from collections import Counter
from dataclasses import replace
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pytest

from datasets.catalog import registry
from datasets.contours import codec
from datasets.contours.codec import contours_of
from datasets.ingest import layouts
from datasets.ingest.sequence_to_row import ingest_sequence
from datasets.schema.rows import REJECT_SCHEMA, SEQUENCE_SCHEMA
from datasets.storage import open_place
from datasets.synthetic.casts import CASTS
from datasets.synthetic.trees import write_tree
from tests.hazards.table import HAZARDS, Hazard

Row = dict[str, object]


def identified(hazard: Hazard) -> object:
    return pytest.param(hazard, id=f"{hazard.name}-{hazard.collection}-{hazard.layout}")


def layout_of(hazard: Hazard) -> tuple:
    spec = registry.find(hazard.collection)
    return spec, next(layout for layout in spec.layouts if layout.name == hazard.layout)


def ingested(root: Path, hazard: Hazard) -> tuple[dict[str, Row], list[Row]]:
    """Rows by sequence id, and rejects, of a tree, as Arrow gives them back."""
    spec, layout = layout_of(hazard)
    there = layouts.find_root(open_place(root), spec)
    assert there.layout == layout
    found = [ingest_sequence(there, ref) for ref in layouts.list_sequences(there)]
    rows = pa.Table.from_pylist([one.row for one in found if one.row is not None], schema=SEQUENCE_SCHEMA)
    rejects = pa.Table.from_pylist([reject for one in found for reject in one.rejects], schema=REJECT_SCHEMA)
    assert len(set(rows["sequence_id"].to_pylist())) == len(rows)
    return {row["sequence_id"]: row for row in rows.to_pylist()}, rejects.to_pylist()


@pytest.fixture(scope="module")
def sound_tree(tmp_path_factory):
    """A tree of six walks for a hazard, with its rows and rejects; made once for each layout."""
    made: dict[tuple[str, str], tuple[Path, dict[str, Row], list[Row]]] = {}

    def tree(hazard: Hazard) -> tuple[Path, dict[str, Row], list[Row]]:
        key = hazard.collection, hazard.layout
        if key not in made:
            root = tmp_path_factory.mktemp("sound")
            walks = [replace(walk, absent=0) for walk in islice(CASTS[hazard.collection](), 6)]
            write_tree(root, layout_of(hazard)[1], walks, num_frames=12)
            made[key] = (root, *ingested(root, hazard))
        return made[key]

    return tree


@pytest.mark.parametrize("hazard", [identified(hazard) for hazard in HAZARDS])
def test_a_hazard_has_its_outcome_and_changes_no_other_sequence(hazard: Hazard, sound_tree, tmp_path: Path) -> None:
    sound, before, rejected_before = sound_tree(hazard)
    assert rejected_before == []
    root = tmp_path / "tree"
    shutil.copytree(sound, root)
    victim = list(before)[1]
    hazard.plant(root / before[victim]["source"])
    after, rejects = ingested(root, hazard)
    assert not list(tmp_path.rglob("owned")), "a pickle ran its code"
    name, split = hazard.added
    if name:
        assert after.pop(name)["split"] == split
    assert {key: row for key, row in after.items() if key != victim} == {k: r for k, r in before.items() if k != victim}
    theirs = [reject for reject in rejects if reject["source"] == before[victim]["source"]]
    strays = [reject["reason"] for reject in rejects if reject not in theirs]
    assert strays == [hazard.stray] * bool(hazard.stray)
    assert Counter(reject["reason"] for reject in theirs) == Counter(hazard.reasons)
    if hazard.outcome in ("rejected", "absent"):
        assert victim not in after
        assert [reject["frame"] for reject in theirs] == [None] * (hazard.outcome == "rejected")
    else:
        assert all(reject["frame"] for reject in theirs)
        assert after[victim]["dropped_frames"] == len(theirs)
        compare(hazard, masks(before[victim]), masks(after[victim]))


def masks(row: Row) -> dict[int, np.ndarray]:
    """The silhouettes of a row by frame number."""
    return dict(zip(row["frame_numbers"], codec.decode(contours_of(row)), strict=True))


def compare(hazard: Hazard, before: dict[int, np.ndarray], after: dict[int, np.ndarray]) -> None:
    if hazard.outcome == "shortened":
        assert 0 < len(after) < len(before)
        assert not hazard.reasons or len(before) - len(after) == len(hazard.reasons)
    else:
        assert list(after) == list(before)
    for number, mask in after.items():
        if hazard.outcome == "similar":
            seen = cv2.resize(mask, before[number].shape, interpolation=cv2.INTER_NEAREST)
            assert (seen & before[number]).sum() > 0.95 * (seen | before[number]).sum()
        else:
            np.testing.assert_array_equal(mask, before[number])
