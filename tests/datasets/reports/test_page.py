"""The report of an ingest: its numbers, in words, and as a page that loads and runs nothing."""

import json
import pickle
import re
from collections.abc import Iterable
from html.parser import HTMLParser
from itertools import product
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pytest

from datasets.catalog import registry
from datasets.ingest import layouts, sequence_to_row
from datasets.loading.clips import ClipSettings
from datasets.reports import contact_sheet
from datasets.reports import page as report_page
from datasets.reports import text as report
from datasets.schema.collection import CollectionSpec
from datasets.schema.rows import REJECT_SCHEMA, SEQUENCE_SCHEMA
from datasets.storage import open_place
from datasets.store import summary
from datasets.store.summary import Summary
from datasets.synthetic.scenes import casia_b, gaitlu_1m
from datasets.synthetic.trees import write_tree

Tables = tuple[pa.Table, pa.Table]


def tables(root: Path, spec: CollectionSpec) -> Tables:
    """A folder as ingest would leave it: rows and rejects."""
    found = layouts.find_root(open_place(root), spec)
    made = [sequence_to_row.ingest_sequence(found, ref) for ref in layouts.list_sequences(found)]
    rows = [one.row for one in made if one.row is not None]
    rejects = [reject for one in made for reject in one.rejects]
    return pa.Table.from_pylist(rows, SEQUENCE_SCHEMA), pa.Table.from_pylist(rejects, REJECT_SCHEMA)


def entry(spec: CollectionSpec, pieces: Iterable[Tables]) -> dict:
    """The collection's entry in a manifest, as it comes back from the file."""
    counted = Summary(spec.published, spec.anonymous)
    for kept, lost in pieces:
        counted.add(kept, lost)
    about = {"root": "/data", "title": spec.title, "citation": spec.citation, "access": spec.access}
    return json.loads(json.dumps(about | counted.result()))


def manifest(**entries: dict) -> dict:
    shards = [{"path": "x.parquet", "rows": 1, "bytes": 1_000}]
    return {"schema_version": 1, "collections": entries, "shards": shards, "rejects": []}


def rows_of(sequences: Iterable[tuple[str, str, int]]) -> Tables:
    """Rows with no picture: subject, view and number of frames; and no rejects."""
    rows = [
        {"sequence_id": f"{subject}/nm/{view}", "split": "train", "subject": subject, "condition": "nm", "view": view}
        | {"modality": "silhouette", "labels": {}, "num_frames": frames, "dropped_frames": 0}
        for subject, view, frames in sequences
    ]
    return pa.Table.from_pylist(rows, SEQUENCE_SCHEMA), REJECT_SCHEMA.empty_table()


class Seen(HTMLParser):
    """What a browser would make of a page: its tags, their attributes, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.add(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def lab(tmp_path_factory) -> Tables:
    """Two people of either split in CASIA-B, with two sequences that cannot be read and some black frames."""
    root = tmp_path_factory.mktemp("lab")
    conditions, views = ["nm-01", "bg-01", "cl-01"], ["000", "090"]
    walks = [casia_b(*walk) for walk in product(["001", "002", "075", "076"], conditions, views)]
    write_tree(root, registry.CASIA_B.layouts[0], walks, num_frames=12, seed=3)
    for png in [*(root / "002/nm-01/000").iterdir(), *(root / "075/cl-01/090").iterdir()]:
        png.write_bytes(b"")
    for number in (4, 5):
        cv2.imwrite(str(root / f"001/nm-01/090/001-nm-01-090-{number:03d}.png"), np.zeros((240, 320), np.uint8))
    return tables(root, registry.CASIA_B)


def test_the_numbers_are_those_of_the_rows(lab: Tables) -> None:
    kept, lost = lab
    found = entry(registry.CASIA_B, [lab])
    assert (found["sequences"], found["subjects"], found["rejected_sequences"]) == (22, 4, 2)
    assert {split: (part["sequences"], part["subjects"]) for split, part in found["splits"].items()} == {
        "train": (11, 2),
        "test": (11, 2),
    }
    frames = found["frames"]
    assert frames == sum(kept["num_frames"].to_pylist()) == sum(part["frames"] for part in found["splits"].values())
    assert frames + found["dropped_frames"] == 22 * 12
    assert found["dropped_frames"] == sum(found["dropped_frame_reasons"].values()) == lost.num_rows - 2
    assert found["published"]["subjects"] == {"count": 124, "difference": -120, "share": 4 / 124}
    assert found["conditions"] == {"distinct": 3, "most_frequent": {"bg-01": 8, "cl-01": 7, "nm-01": 7}}
    assert found["labels"]["angle"] == found["views"]["most_frequent"] == {"000": 11, "090": 11}


def test_a_store_read_file_by_file_has_the_same_numbers(lab: Tables, monkeypatch) -> None:
    kept, lost = lab
    whole = entry(registry.CASIA_B, [lab])
    monkeypatch.setattr(summary, "_UNMERGED", 3)
    pieces = []
    for subject in ("076", "002", "001", "075"):  # in whatever order
        of_subject = [bool(re.match(f"CASIA-B/{subject}/", name)) for name in lost["sequence_id"].to_pylist()]
        mine = kept.filter(pa.array([name == subject for name in kept["subject"].to_pylist()]))
        pieces += [(mine.slice(0, 2), lost.filter(pa.array(of_subject))), (mine.slice(2), lost.slice(0, 0))]
    assert json.dumps(entry(registry.CASIA_B, pieces)) == json.dumps(whole)
    many = entry(registry.CASIA_B, [rows_of([(f"{n:03d}", f"{n}", n)]) for n in range(1, 41)])
    assert (many["subjects"], many["views"]["distinct"], many["frames"]) == (40, 40, 820)


def test_examples_are_the_first_sequences_of_a_reason(lab: Tables) -> None:
    found = entry(registry.CASIA_B, [lab])
    assert found["reject_reasons"] == {"no usable frame": 2}
    first = found["reject_examples"]["no usable frame"][0]
    expected = ("CASIA-B/002/nm-01/000", "002/nm-01/000", None)
    assert (first["sequence_id"], first["source"], first["frame"]) == expected
    assert first["detail"] == "12 empty file"
    dropped = found["dropped_frame_examples"]["nearly empty frame"]
    names = sorted(set(lab[1].filter(pa.compute.is_valid(lab[1]["frame"]))["sequence_id"].to_pylist()))
    assert [one["sequence_id"] for one in dropped] == names[: summary.EXAMPLES]


def test_lengths_are_exact_and_binned() -> None:
    lengths = [1, 19, 20, 23, 24, 100, 5000]
    found = entry(registry.CASIA_B, [rows_of((f"{n:03d}", "000", n) for n in lengths)])["lengths"]
    assert (found["min"], found["median"], found["max"], found["shorter_than_window"]) == (1, 23, 5000, 2)
    expected = {"1": 1, "17-19": 1, "20-23": 2, "24-27": 1, "95-112": 1, "1280-": 1}
    assert found["histogram"] == expected
    even = entry(registry.CASIA_B, [rows_of(("001", f"{n:03d}", n) for n in (10, 21))])["lengths"]
    assert even["median"] == 15.5


def test_a_collection_of_single_frames() -> None:
    found = entry(registry.CASIA_B, [rows_of(("001", f"{n:03d}", 1) for n in range(3))])
    one = manifest(**{"CASIA-B": found})
    said = "1 frame each; 3 (100%) shorter than the 20 of a training window"
    assert said in report.describe(one) and said in Seen(report_page.page(one, {})).text


def test_the_window_is_that_of_training() -> None:
    clips = ClipSettings()
    assert clips.frames + clips.skip == summary.WINDOW
    assert summary.WINDOW in summary.LENGTH_STARTS


def test_folders_that_are_no_people_are_not_counted_as_people(tmp_path: Path) -> None:
    write_tree(
        tmp_path,
        registry.find("GaitLU-1M").layouts[0],
        [gaitlu_1m(number) for number in range(3)],
        num_frames=4,
        seed=1,
    )
    gaitlu = entry(registry.find("GaitLU-1M"), [tables(tmp_path, registry.GAITLU_1M)])
    assert (gaitlu["sequences"], gaitlu["subjects"], gaitlu["anonymous_sequences"]) == (3, None, 3)
    assert gaitlu["splits"]["train"]["subjects"] is None
    grew = entry(registry.GREW, [rows_of((s, "x", 30) for s in ("00001train", "00001", "probe", "distractor"))])
    assert (grew["subjects"], grew["anonymous_sequences"]) == (2, 2)
    scoliosis = entry(registry.SCOLIOSIS1K, [rows_of([("00000", "000_180", 300), ("00001", "000_180", 300)])])
    assert scoliosis["published"]["subjects"] == {"count": 1_050, "difference": None, "share": None}
    said = report.describe(manifest(GREW=grew, Scoliosis1K=scoliosis))
    assert f"{report.MISSING} of 1,050 subjects, 600 of 447,900 frames (0.1%)" in said
    assert "2 sequences of anonymous people" in said


def test_a_count_that_nobody_published_is_missing(lab: Tables) -> None:
    found = entry(registry.CASIA_B, [lab])
    assert found["published"]["frames"] == {"count": None, "difference": None, "share": None}
    text = Seen(report_page.page(manifest(CASIA_B=found), {})).text
    assert f"{found['frames']:,}not published" in text
    assert f" {found['frames']:,} frames (train" in report.describe(manifest(CASIA_B=found))


@pytest.mark.parametrize(
    ("share", "said"),
    [(0, "0%"), (0.0001, "<0.1%"), (0.5944, "59.4%"), (0.99999, ">99.9%"), (1, "100%"), (2.82, "282.0%")],
)
def test_a_share_is_whole_only_where_it_is(share: float, said: str) -> None:
    assert report.percent(share) == said


def test_words_for_the_terminal(lab: Tables) -> None:
    said = report.describe(manifest(**{"CASIA-B": entry(registry.CASIA_B, [lab])})).splitlines()
    assert said[0].startswith("CASIA-B: 22 of 13,640 sequences (0.2%), 4 of 124 subjects (3.2%), ")
    assert said[0].endswith(" frames (train 11, test 11)")
    assert "  label covariate  3: bg (8), cl (7), nm (7)" in said
    assert "  2 sequences rejected: 2 no usable frame, as 002/nm-01/000 (12 empty file)" in said
    assert said[-2].startswith("cite CASIA-B: S. Yu")


def test_a_collection_of_which_nothing_was_kept(tmp_path: Path) -> None:
    walks = [casia_b("001", condition, "000") for condition in ("nm-01", "nm-02")]
    write_tree(tmp_path, registry.CASIA_B.layouts[0], walks, num_frames=2, seed=1)
    for png in tmp_path.rglob("*.png"):
        png.write_bytes(b"")
    kept, lost = tables(tmp_path, registry.CASIA_B)
    found = entry(registry.CASIA_B, [(kept, lost)])
    assert (found["sequences"], found["frames"], found["splits"], found["rejected_sequences"]) == (0, 0, {}, 2)
    assert (found["subjects"], found["lengths"]["median"], found["lengths"]["histogram"]) == (0, None, {})
    assert contact_sheet.contact_sheet(kept) is None
    only = manifest(**{"CASIA-B": found})
    assert "(no sequence kept)" in report.describe(only)
    seen = Seen(report_page.page(only, {"CASIA-B": None}))
    assert "No walk to draw." in seen.text and "no usable frame" in seen.text
    assert "img" not in seen.tags and "svg" not in seen.tags


def test_the_page_shows_the_numbers_and_needs_nothing_else(lab: Tables) -> None:
    found = entry(registry.CASIA_B, [lab])
    html = report_page.page(manifest(**{"CASIA-B": found}), {"CASIA-B": contact_sheet.contact_sheet(lab[0])})
    seen = Seen(html)
    for said in ("of 13,640 · 0.2%", "120 subjects fewer", "bg-01: 8", "angle (2)", "002/nm-01/000", "ICPR 2006"):
        assert said in seen.text
    assert not {"script", "link", "iframe", "object", "embed", "form"} & seen.tags
    loads = [value for name, value in seen.attributes if name in ("src", "href", "srcset", "data", "action")]
    assert all(value.startswith(("data:image/png;base64,", "#")) for value in loads)
    assert "url(" not in html and "@import" not in html and "http" not in re.sub("http-equiv", "", html)


HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>&amp;\x1b[2J\u202e"


def test_a_folder_of_any_name_is_text(tmp_path: Path) -> None:
    mask = np.zeros((2, 64, 64), np.uint8)
    mask[:, 10:50, 25:40] = 255
    for folder in ("00000/positive/000_180", "00001/<script>alert(1)</000_180"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "0.pkl").write_bytes(pickle.dumps(mask))
    found = entry(registry.SCOLIOSIS1K, [tables(tmp_path, registry.SCOLIOSIS1K)])
    assert found["rejected_sequences"] == 1
    seen = Seen(report_page.page(manifest(Scoliosis1K=found), {}))
    assert "script" not in seen.tags
    assert "00001/<script>alert(1)</000_180" in seen.text


def test_hostile_text_is_shown_and_not_obeyed(lab: Tables) -> None:
    """Every text of the manifest, names and values, but for the words that the program itself looks up."""
    own = entry(registry.CASIA_B, [lab])
    for kind in ("reject", "dropped_frame"):
        for one in [one for ones in own[f"{kind}_examples"].values() for one in ones]:
            one |= {"source": HOSTILE, "detail": HOSTILE, "sequence_id": HOSTILE}
        for part in ("reasons", "examples"):
            own[f"{kind}_{part}"] = {reason + HOSTILE: value for reason, value in own[f"{kind}_{part}"].items()}
    own |= dict.fromkeys(("root", "title", "citation", "access"), HOSTILE)
    own |= {name: {"distinct": 1, "most_frequent": {HOSTILE: 1}} for name in ("conditions", "views")}
    own |= {"labels": {HOSTILE: {HOSTILE: 1}}}
    own["splits"] = {HOSTILE: own["splits"]["train"]}
    hostile = manifest(**{HOSTILE: own})
    plain = Seen(report_page.page(manifest(plain=entry(registry.CASIA_B, [lab])), {"plain": b"PNG"}))
    html = report_page.page(hostile, {HOSTILE: b"PNG"})
    seen = Seen(html)
    assert seen.tags == plain.tags
    assert {name for name, _ in seen.attributes} == {name for name, _ in plain.attributes}
    assert seen.text.count("<script>alert(1)</script>") >= 20
    for text in (html, report.describe(hostile)):
        assert "\x1b" not in text and "\u202e" not in text


def test_twelve_collections_stay_below_three_megabytes(lab: Tables) -> None:
    found, sheet = entry(registry.CASIA_B, [lab]), contact_sheet.contact_sheet(lab[0])
    names = [f"{number}" for number in range(12)]
    assert len(report_page.page(manifest(**dict.fromkeys(names, found)), dict.fromkeys(names, sheet))) < 3_000_000
