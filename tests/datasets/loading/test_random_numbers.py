"""Each decision about a clip has a stream of its own: a new decision, setting or number of ranks moves no other one."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from datasets.catalog.registry import CATALOG
from datasets.loading import augment
from datasets.loading.clips import ClipSettings
from datasets.loading.corpus import Corpus, write_map
from datasets.loading.labelled import LabelledLoader, RoundRobinSampler
from datasets.loading.pairs import PairLoader
from datasets.loading.random_numbers import ClipRng
from datasets.loading.sampler import GlobalSampler
from datasets.store.reader import Store
from datasets.store.selection import Selection, training_tables

Drawn = dict[tuple[str, int, str], np.ndarray]  # by purpose, branch and decision
ALL_ON = dict.fromkeys(("affine", "perspective", "flip", "coat", "bag", "dilate", "blur", "erase"), 1.0)
HOW = {"affine/corners", "perspective/edges", *(f"{name}/how" for name in ("coat", "bag", "dilate", "blur", "erase"))}
OF_CLIPS = {"start", "frames", *ALL_ON, *HOW}  # of one branch


@pytest.fixture(scope="module")
def sequences(store: Path, tmp_path_factory) -> Corpus:
    folder = tmp_path_factory.mktemp("map")
    write_map(training_tables(Store.open(store), Selection()), CATALOG, folder)
    return Corpus(folder)


@pytest.fixture
def drawn(monkeypatch) -> Drawn:
    """All that is drawn from here on."""
    found: Drawn = {}
    uniform = ClipRng.uniform

    def recorded(rng: ClipRng, decision: str, width: int | None = None) -> np.ndarray:
        numbers = uniform(rng, decision, width)
        found[rng.purpose, rng.branch, decision] = numbers
        return numbers

    monkeypatch.setattr(ClipRng, "uniform", recorded)
    return found


def pair_loader(sequences: Corpus, settings: ClipSettings, rank: int = 0, ranks: int = 1) -> PairLoader:
    sampler = GlobalSampler(sequences.sizes(), {}, 16, 3)
    return PairLoader(sequences, sampler, settings, 16, 3, rank, ranks, "walk")


def taken(drawn: Drawn) -> Drawn:
    before = dict(drawn)
    drawn.clear()
    return before


def same(one: Drawn, other: Drawn) -> set[tuple[str, int, str]]:
    return {name for name in one.keys() & other.keys() if np.array_equal(one[name], other[name])}


def test_any_part_of_a_step_is_drawn_without_the_rest() -> None:
    whole = ClipRng("pairs", seed=3, step=5, first=0, count=24, branch=1)
    for first, count in ((0, 24), (0, 1), (23, 1), (5, 7), (8, 8), (13, 11)):
        part = ClipRng("pairs", seed=3, step=5, first=first, count=count, branch=1)
        for width in (1, 3, 4, 12, 21):
            numbers = whole.uniform(f"of {width}", width)
            np.testing.assert_array_equal(part.uniform(f"of {width}", width), numbers[first : first + count])
        np.testing.assert_array_equal(part.uniform("one"), whole.uniform("one")[first : first + count])


def test_purpose_seed_step_branch_and_name_draw_other_numbers() -> None:
    asked = [("pairs", 3, 5, 0, 8, 0), ("bank", 3, 5, 0, 8, 0), ("pairs", 4, 5, 0, 8, 0), ("pairs", 3, 6, 0, 8, 0)]
    asked += [("pairs", 3, 5, 8, 8, 0), ("pairs", 3, 5, 0, 8, 1)]
    numbers = [ClipRng(*one).uniform("a", 3) for one in asked] + [ClipRng(*asked[0]).uniform("b", 3)]
    assert len(np.unique(numbers)) == 7 * 24


@pytest.mark.parametrize("ranks", [2, 4, 8, 16])
def test_a_rank_draws_its_share_of_every_decision(sequences: Corpus, drawn: Drawn, ranks: int) -> None:
    settings = ClipSettings(frames=4, **ALL_ON)
    pair_loader(sequences, settings).at(2)
    whole, share = taken(drawn), 16 // ranks
    expected = {("pairs", branch, name) for branch in (0, 1) for name in OF_CLIPS} | {("pairs", 1, "partner")}
    assert set(whole) == expected
    for rank in range(ranks):
        pair_loader(sequences, settings, rank, ranks).at(2)
        for name, numbers in taken(drawn).items():
            np.testing.assert_array_equal(numbers, whole[name][rank * share : (rank + 1) * share], err_msg=str(name))


@dataclass(frozen=True, kw_only=True)
class MoreSettings(ClipSettings):
    thin: float = 1.0


def test_a_new_decision_moves_no_other_one(sequences: Corpus, drawn: Drawn, monkeypatch) -> None:
    before_clips, before = pair_loader(sequences, ClipSettings(frames=4)).at(2), taken(drawn)
    new = ("thin", 5, lambda clip, numbers: None)
    monkeypatch.setattr(augment, "_PIXEL_AUGMENTATIONS", (new, *augment._PIXEL_AUGMENTATIONS))
    after_clips, after = pair_loader(sequences, MoreSettings(frames=4)).at(2), taken(drawn)
    assert same(before, after) == set(before)
    assert {name for _, _, name in set(after) - set(before)} == {"thin", "thin/how"}
    for name in ("query", "query_times", "key", "key_times", "walks"):
        np.testing.assert_array_equal(getattr(before_clips, name), getattr(after_clips, name))


@pytest.mark.parametrize(
    ("other", "moved"),
    [
        ({"skip": 6}, {"frames"}),
        ({"frames": 8}, {"frames"}),
        *(({name: 0.5}, set()) for name in ALL_ON),
        ({"affine": 0.0, "perspective": 0.0, "flip": 0.0, "coat": 0.0, "bag": 0.0}, set()),
        ({"reach": 20}, set()),
    ],
)
def test_a_setting_moves_no_decision_but_its_own(
    sequences: Corpus, drawn: Drawn, other: dict[str, float], moved: set[str]
) -> None:
    settings = {"frames": 4, **ALL_ON}
    pair_loader(sequences, ClipSettings(**settings)).at(2)
    before = taken(drawn)
    pair_loader(sequences, ClipSettings(**{**settings, **other})).at(2)
    after = taken(drawn)
    assert {name for _, _, name in set(before) & set(after) - same(before, after)} == moved
    assert set(before) >= set(after)


def test_decisions_and_their_numbers_never_change(sequences: Corpus, drawn: Drawn) -> None:
    pair_loader(sequences, ClipSettings(**ALL_ON)).at(2)
    digest = hashlib.sha256()
    for name, numbers in sorted(drawn.items()):
        digest.update(repr(name).encode() + numbers.tobytes())
    # A change here means that earlier runs cannot be resumed: raise ORDER_VERSION.
    assert digest.hexdigest()[:16] == "1e8e76503b66c818"


@pytest.mark.parametrize("ranks", [2, 3, 6])
def test_a_rank_has_its_share_of_labelled_clips(sequences: Corpus, drawn: Drawn, ranks: int) -> None:
    labels = np.zeros((len(sequences), 1), np.int64)
    sampler = RoundRobinSampler([np.arange(len(sequences))], batch=12, seed=1)
    settings = ClipSettings(frames=4, **ALL_ON)

    def loader(rank: int, ranks: int) -> LabelledLoader:
        return LabelledLoader(sequences, labels, sampler, settings, 12, 1, rank, ranks)

    loader(0, 1).at(3)
    whole, share = taken(drawn), 12 // ranks
    assert set(whole) == {("labelled", 0, name) for name in OF_CLIPS}
    for rank in range(ranks):
        loader(rank, ranks).at(3)
        for name, numbers in taken(drawn).items():
            np.testing.assert_array_equal(numbers, whole[name][rank * share : (rank + 1) * share], err_msg=str(name))
