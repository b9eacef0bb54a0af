"""Facts of the collections: counts of the splits, protocols, and layouts that fit their own examples."""

import pytest

from datasets.catalog import CATALOG
from datasets.schema import CollectionSpec, Split


@pytest.mark.parametrize("spec", CATALOG.values(), ids=lambda spec: spec.name)
def test_an_entry_fits_its_own_example(spec: CollectionSpec) -> None:
    assert CATALOG[spec.name] is spec
    for layout in spec.layouts:
        folder, _, file = layout.example.rpartition("/")
        assert set(layout.match(folder).groupdict()) == {"subject", "condition", "view"}
        assert folder.count("/") + 1 == layout.depth
        assert file


def test_casia_b_has_its_official_split() -> None:
    split = CATALOG["CASIA-B"].split
    assert (len(split.train), len(split.test)) == (74, 50)
    assert [split.of(subject) for subject in ("001", "074", "075", "124", "125")] == [
        *("train", "train", "test", "test"),
        "none",
    ]


def test_casia_b_has_its_official_probes() -> None:
    sets = {one.name: one for one in CATALOG["CASIA-B"].protocol.probe_sets}
    assert {name: sorted(one.probe) for name, one in sets.items()} == {
        "NM": ["nm-05", "nm-06"],
        "BG": ["bg-01", "bg-02"],
        "CL": ["cl-01", "cl-02"],
    }
    assert all(one.gallery == {"nm-01", "nm-02", "nm-03", "nm-04"} for one in sets.values())


def test_gaitlu_is_for_training_alone() -> None:
    spec = CATALOG["GaitLU-1M"]
    assert (len(spec.split.train), len(spec.split.test), spec.protocol) == (100, 0, None)


def test_a_subject_cannot_be_in_both_splits() -> None:
    with pytest.raises(AssertionError, match="007"):
        Split(train=frozenset({"007", "008"}), test=frozenset({"007"}))
