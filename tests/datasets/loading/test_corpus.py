"""The memory-mapped corpus: every sequence as in the store, and the sequences of one recorded walk."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from datasets.catalog.registry import CATALOG
from datasets.contours import codec, raster
from datasets.contours.codec import contours_of
from datasets.loading import corpus
from datasets.loading import corpus as corpus_map
from datasets.schema.errors import UsageError
from datasets.schema.rows import COLUMNS, SEQUENCE_SCHEMA
from datasets.specs import custom
from datasets.specs.spec_file import from_json, to_json
from datasets.store.reader import Store
from datasets.store.selection import Selection, training_rows, training_tables
from datasets.synthetic.casts import CASTS

SPECS = {name: CATALOG[name] for name in ("CASIA-B", "OU-MVLP")}
SPECS["mine"] = from_json({"name": "mine", "synchronised": "{take}"})
MASKS = {"CASIA-B": (5, 64), "OU-MVLP": (3, 128), "mine": (1, 4)}  # frames, grid


def row(collection: str, walk: str, labels: dict[str, str], rng: np.random.Generator) -> dict:
    """A sequence of noise, with an empty frame, and others whose chain codes end within a byte."""
    frames, grid = MASKS[collection]
    masks = (rng.uniform(size=(frames, grid, grid)) < rng.uniform()).astype(np.uint8)
    masks[1:2] = 0
    coded = codec.encode(masks)
    subject, condition, view = walk.split("/")
    return {
        **{"sequence_id": f"{collection}/{walk}", "collection": collection, "labels": labels, "grid": grid},
        **{"subject": subject, "condition": condition, "view": view, "chain_codes": coded.chain.tobytes()},
        **{"frame_numbers": sorted(rng.choice(99, frames, replace=False)), "contour_counts": coded.counts},
        **{"contour_starts": coded.starts, "contour_lengths": coded.lengths},
    }


@pytest.fixture(scope="module")
def rows() -> list[dict]:
    rng = np.random.default_rng(0)
    there = {"000": "there", "090": "there", "180": "back"}
    mine = {"1/a/left": {"take": "7"}, "1/b/right": {"take": "7"}, "1/c/right": {}, "2/a/left": {"take": "7"}}
    takes = [f"{take}/{view}" for take in ("nm-02", "nm-01") for view in ("090", "000", "018")]
    return [
        *(row("OU-MVLP", f"00001/00/{view}", {"way": way}, rng) for view, way in there.items()),
        *(row("CASIA-B", f"001/{take}", {}, rng) for take in takes),
        *(row("mine", walk, labels, rng) for walk, labels in mine.items()),
    ]


@pytest.fixture(scope="module")
def mapped(rows: list[dict], tmp_path_factory) -> corpus.Corpus:
    schema = pa.schema([SEQUENCE_SCHEMA.field(name) for name in COLUMNS])
    tables = [pa.Table.from_pylist(some, schema=schema) for some in (rows[:5], [], rows[5:6], rows[6:])]
    tables[-1] = pa.concat_tables([tables[2], tables[-1]]).slice(1)  # a slice, in two pieces
    folder = tmp_path_factory.mktemp("map")
    corpus_map.write_map(iter(tables), SPECS, folder)
    return corpus.Corpus(folder)


def test_every_sequence_is_as_in_the_store(rows: list[dict], mapped: corpus.Corpus) -> None:
    assert mapped.sizes() == {"CASIA-B": 6, "OU-MVLP": 3, "mine": 4}
    by_id = {one["sequence_id"]: one for one in rows}
    ids = [mapped.sequence_id(number) for number in range(len(mapped))]
    collections = [one.split("/")[0] for one in ids]
    assert sorted(ids) == sorted(by_id) and collections == sorted(collections)
    for number, one in enumerate(ids):
        expected = codec.decode(contours_of(by_id[one]))
        frames = mapped.first_frames[number] + np.arange(mapped.num_frames[number])
        assert mapped.frame_numbers[frames].tolist() == by_id[one]["frame_numbers"]
        for order in (frames, frames[::-1]):
            masks = raster.masks(mapped.coded.choose(order, int(mapped.grids[number]))).transpose(1, 0, 2)
            np.testing.assert_array_equal(masks, expected[order - frames[0]])


@pytest.mark.parametrize(("numbers", "grid"), [((5, 0, 3), 64), ((7, 6, 8), 128)])
def test_frames_of_several_sequences_are_decoded_together(
    mapped: corpus.Corpus, numbers: tuple[int, ...], grid: int
) -> None:
    frames = np.concatenate([mapped.first_frames[number] + [2, 0, 0] for number in numbers])
    together = raster.masks(mapped.coded.choose(frames, grid))
    for number in range(len(frames)):
        alone = raster.masks(mapped.coded.choose(frames[number : number + 1], grid))
        np.testing.assert_array_equal(together[:, number], alone[:, 0])
    mirrored = raster.masks(mapped.coded.choose(frames, grid), np.arange(9) % 2 == 0)
    np.testing.assert_array_equal(mirrored[:, ::2], together[:, ::2, ::-1])
    np.testing.assert_array_equal(mirrored[:, 1::2], together[:, 1::2])


def test_a_walk_holds_the_sequences_of_synchronised_cameras(mapped: corpus.Corpus) -> None:
    walks: dict[int, set[str]] = {}
    for number in range(len(mapped)):
        walks.setdefault(int(mapped.walks[number]), set()).add(mapped.sequence_id(number))
    assert sorted(map(sorted, walks.values())) == [
        *([f"CASIA-B/001/{take}/{view}" for view in ("000", "018", "090")] for take in ("nm-01", "nm-02")),
        ["OU-MVLP/00001/00/000", "OU-MVLP/00001/00/090"],
        ["OU-MVLP/00001/00/180"],  # on the way back
        ["mine/1/a/left", "mine/1/b/right"],
        ["mine/1/c/right"],  # has no take
        ["mine/2/a/left"],
    ]


def test_partners_are_uniform_over_the_others_of_a_walk(mapped: corpus.Corpus) -> None:
    numbers = np.random.default_rng(0).random(3000)
    for number in range(len(mapped)):
        partners = mapped.partners(np.full(3000, number), numbers)
        others = set(np.flatnonzero(mapped.walks == mapped.walks[number]).tolist()) - {number}
        assert set(partners.tolist()) == (others or {number})
        assert all(abs((partners == other).mean() - 1 / len(others)) < 0.05 for other in others)


def test_synchronised_cameras_are_declared_and_survive_json() -> None:
    assert {name for name in CASTS if CATALOG[name].synchronised} == {"CASIA-B", "OU-MVLP"}  # of the twelve
    assert from_json(to_json(SPECS["mine"])) == SPECS["mine"]
    assert "synchronised" not in to_json(custom.default_spec("mine"))


def casia_b(*holdout: str) -> Selection:
    return Selection(collections=("CASIA-B",), holdout=holdout)


def test_held_out_subjects_are_left_out_and_must_exist(store: Path) -> None:
    rows = training_rows(Store.open(store), casia_b("CASIA-B/002"), ["sequence_id"])
    subjects = {one.split("/")[1] for one in rows["sequence_id"].to_pylist()}
    assert subjects == {"001", "003", "004"}
    tables = training_tables(Store.open(store), casia_b("CASIA-B/002", "CASIA-B/003"))
    assert {one.split("/")[1] for table in tables for one in table["sequence_id"].to_pylist()} == {"001", "004"}
    with pytest.raises(UsageError, match="held-out subject 'CASIA-B/02' has no sequence"):
        training_rows(Store.open(store), casia_b("CASIA-B/02"), ["sequence_id"])
