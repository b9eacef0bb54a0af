"""All pictures of a collection: which are drawn, what they are called, and what a sheet says of its choice."""

from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from datasets.schema.protocol import ProbeSet, Protocol
from evaluation.reports import pictures
from evaluation.reports.pictures import draw
from evaluation.reports.retrieval_sheet import Group
from evaluation.retrieval import nearest as nearest_file
from evaluation.retrieval.protocols import evaluate_protocol
from evaluation.retrieval.sequences import Sequences

SETS = (
    ProbeSet(name="NM", probe=frozenset({"nm"}), gallery=frozenset("g")),
    ProbeSet(name="a/b c", probe=frozenset({"cl"}), gallery=frozenset("g"), kinds=("pooled",)),
    ProbeSet(name="nobody", probe=frozenset({"none"}), gallery=frozenset("g"), kinds=("pooled",)),
)
PROTOCOL = Protocol(probe_sets=SETS, kinds=("view-pairs", "pooled"))


def sequences(noise: float) -> Sequences:
    rng = np.random.default_rng(0)
    walks = [(str(n), condition, view) for n in range(9) for condition in ("g", "nm", "cl") for view in ("000", "090")]
    people = rng.normal(size=(9, 4, 2))
    embeddings = np.stack([people[int(n)] + noise * rng.normal(size=(4, 2)) for n, *_ in walks])
    return Sequences.of(embeddings.astype(np.float32), *zip(*walks, strict=True))


def masks_of(number: int) -> np.ndarray:
    masks = np.zeros((5, 64, 44), dtype=np.uint8)
    masks[:, number:, 10:30] = 1
    return masks


BY_METHOD = {"GEI": sequences(1.5), "pretrained": sequences(1.0)}
RESULTS = {method: evaluate_protocol(some, PROTOCOL, "euc") for method, some in BY_METHOD.items()}


def test_every_picture_that_applies_is_drawn_under_its_name(tmp_path: Path) -> None:
    paths = draw("My Park", PROTOCOL, BY_METHOD, RESULTS, "euc", masks_of, tmp_path)
    own = ("view-pairs-{}", "sheet-NM-{}", "sheet-a-b-c-{}", "map-{}")
    names = ["cmc", *(name.format(method) for method in BY_METHOD for name in own)]
    assert [path.name for path in paths] == [f"My-Park-{name}.png" for name in names]
    assert sorted(paths) == sorted(tmp_path.iterdir())
    for path in paths:
        assert matplotlib.image.imread(path).std() > 0.01, f"{path.name} is blank"


def test_only_the_methods_that_are_asked_for_have_their_own(tmp_path: Path) -> None:
    (tmp_path / "again").mkdir()
    first, second = (
        draw("Park", PROTOCOL, {"pretrained": BY_METHOD["pretrained"]}, RESULTS, "euc", masks_of, folder, seed=1)
        for folder in (tmp_path, tmp_path / "again")
    )
    assert [path.name for path in first][:2] == ["Park-cmc.png", "Park-view-pairs-pretrained.png"]
    assert not any("GEI" in path.name for path in first)
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(matplotlib.image.imread(one), matplotlib.image.imread(other))
    with pytest.raises(ValueError, match=r"results of \['GEI'\]"):
        draw("Park", PROTOCOL, BY_METHOD, {"GEI": RESULTS["GEI"]}, "euc", masks_of, tmp_path)


def test_a_sheet_says_which_share_its_halves_stand_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sheets: list[tuple[str, list[Group]]] = []
    monkeypatch.setattr(pictures, "retrieval_sheet", lambda title, groups, *rest: sheets.append((title, groups)))
    draw("Park", PROTOCOL, {"GEI": BY_METHOD["GEI"]}, RESULTS, "euc", masks_of, tmp_path)
    title, (right, wrong) = sheets[1]
    assert title == "Park, GEI: a/b c against the whole gallery"
    rank1 = next(one for one in RESULTS["GEI"] if one.probe_set == "a/b c").outcomes.rank(1)
    assert right.heading.startswith(f"Right at rank 1: {rank1:.1f}% of 18 probes, {len(right.rows)} of them")
    assert wrong.heading.startswith(f"Wrong at rank 1: {100 - rank1:.1f}% of 18 probes, {len(wrong.rows)} of them")
    assert len(right.rows) + len(wrong.rows) == pictures.PROBES
    assert all(row.right[0] for row in right.rows) and not any(row.right[0] for row in wrong.rows)
    monkeypatch.setattr(nearest_file, "_WORK", 0)
    draw("Park", PROTOCOL, {"GEI": BY_METHOD["GEI"]}, RESULTS, "euc", masks_of, tmp_path)
    assert "of 8 probes (a random sample of 18)" in sheets[3][1][0].heading


def test_names_that_become_equal_stay_apart(tmp_path: Path) -> None:
    results = {"a b": RESULTS["GEI"], "a/b": RESULTS["GEI"]}
    by_method = dict.fromkeys(results, BY_METHOD["GEI"])
    names = [path.name for path in draw("Park", PROTOCOL, by_method, results, "euc", masks_of, tmp_path)]
    assert len(set(names)) == len(names) == 9
    assert {"Park-map-a-b.png", "Park-map-a-b-2.png"} < set(names)
