"""What is said of a collection in JSON: read from a user's file, kept in a manifest, and every mistake named."""

import json
import re
from pathlib import Path

import pytest

from datasets.catalog.registry import CATALOG
from datasets.schema.errors import UsageError
from datasets.schema.protocol import ProbeSet
from datasets.specs import custom
from datasets.specs.resolve import describe, from_manifest, resolve, resolve_all, to_manifest
from datasets.specs.spec_file import from_json, to_json
from datasets.storage import open_place
from datasets.store.reader import Manifest, Store
from orchestration.cluster.session import ROOT
from orchestration.scoring import scored_collections
from tests.fixtures.probes import role

SETS = '"probe_sets": [{"name": "NM", "probe": ["a"]}]'


@pytest.fixture
def documented(tmp_path: Path) -> str:
    """The example of the documentation as a file."""
    (example,) = re.findall(r"```json\n(.*?)```", (ROOT / "docs/own-walks.md").read_text(), re.DOTALL)
    (tmp_path / "spec.json").write_text(example)
    return str(tmp_path / "spec.json")


def through_a_manifest(name: str, declared: dict | None) -> dict:
    return json.loads(json.dumps({"collections": {name: {"declared": declared}}}))


def test_the_documented_example_says_what_the_documentation_says(documented: str) -> None:
    spec = resolve("my-walks", documented)
    assert [spec.split.of(subject) for subject in ("001", "anyone", "007", "008")] == ["train", "train", "test", "test"]
    assert spec.listed_labels("007", "normal-1", "left") == {"sex": "male", "scoliosis": "negative"}
    assert spec.listed_labels("007", "coat", "front") == {"sex": "male", "scoliosis": "negative", "clothes": "coat"}
    assert spec.listed_labels("007", "coat", "left")["scoliosis"] == "positive"
    assert spec.listed_labels("009", "coat", "left") == {}
    assert [one.name for one in spec.protocol.probe_sets] == ["NM", "CL"]
    assert role(spec.protocol.probe_sets[1], "007", "coat", "left") == "probe"
    assert spec.recorded_walk("007", "coat", "left", {}) == spec.recorded_walk("007", "coat", "front", {})
    assert (spec.published, spec.layouts) == ({"subjects": 8, "sequences": 48}, custom.layouts(aligned=False))


MISTAKES = [
    ('{"splitt": {}}', 'spec.json: splitt is not a known key: did you mean "split"?'),
    (
        '{"colour": 1}',
        "the known keys are title, citation, access, aligned, inverted, modality, split, labels, protocol, published",
    ),
    ('{"two\\nlines": 1}', "spec.json: two lines is not a known key"),
    ("[1]", "spec.json is [1]: it must be an object {...}"),
    ('{"title": 3}', "spec.json: title is 3: it must be text in quotes"),
    ('{"title": " "}', "spec.json: title is empty"),
    ('{"modality": "lidr"}', 'spec.json: modality is "lidr": did you mean "lidar"?'),
    ('{"aligned": "yes"}', 'spec.json: aligned is "yes": it must be true or false'),
    ('{"split": {"train": ["1"], "test": [2]}}', "spec.json: split.test[0] is 2: it must be text in quotes"),
    ('{"split": {"train": "001"}}', 'split.train is "001": it must be a list [...]'),
    ('{"split": {"train": ["1", "2"], "test": ["2"]}}', "split has subjects in train and in test (2): keep each in"),
    ('{"split": {"train": "*", "test": "*"}}', 'split has "*" for train and for test'),
    ('{"split": {"train": [], "TRAIN_SET": []}}', "split has both train and TRAIN_SET"),
    ('{"split": {}}', 'split names no subjects: give train and test, each a list of subjects or "*"'),
    ('{"split": {"dev": []}}', "split.dev is not a known key: the known keys are train, test"),
    (
        '{"TRAIN_SET": [], "TEST_SET": []}',
        "TRAIN_SET belongs to a partition, and this is no spec file: give the file with --partition NAME=<json>",
    ),
    ('{"labels": {"a/b/c/d": {}}}', "labels.a/b/c/d is no subject, subject/condition or subject/condition/view"),
    ('{"labels": {"a/": {}}}', "labels.a/ is no subject"),
    ('{"labels": {"a": {"age": 64}}}', "labels.a.age is 64: it must be text in quotes"),
    ('{"labels": {"a": {"age": "6"}, "a": {}}}', "the key 'a' is there twice"),
    ('{"protocol": {"kind": "pooled"}}', "spec.json: protocol.probe_sets is missing"),
    (f'{{"protocol": {{{SETS}}}}}', "protocol has no kind: one of view-pairs, pooled"),
    (f'{{"protocol": {{"kind": "view-pair", {SETS}}}}}', 'protocol.kind is "view-pair": did you mean "view-pairs"?'),
    (f'{{"protocol": {{"kind": [], {SETS}}}}}', "protocol.kind is empty"),
    (
        '{"protocol": {"kind": "pooled", "probe_sets": [{"name": "NM"}]}}',
        "protocol.probe_sets[0] needs a list of names as probe, gallery or both",
    ),
    (
        '{"protocol": {"kind": "pooled", "probe_sets": [{"name": "N", "probe": ["a"], "gallery": ["a"]}]}}',
        "protocol.probe_sets[0] has a as probe and as gallery",
    ),
    (
        '{"protocol": {"kind": "pooled", "probe_sets": [{"name": "N", "probe": ["a"], "by": "conditions"}]}}',
        'protocol.probe_sets[0].by is "conditions": did you mean "condition"?',
    ),
    (
        '{"protocol": {"kind": "pooled", "probe_sets": [{"probe": ["a"]}]}}',
        "spec.json: protocol.probe_sets[0].name is missing",
    ),
    (
        '{"protocol": {"kind": "pooled", "probe_sets": [{"name": "N", "probe": []}]}}',
        "protocol.probe_sets[0].probe is empty: give something, or leave it out",
    ),
    (
        '{"protocol": {"kind": "pooled", "probe_sets": [{"name": "a/b", "probe": ["a"]}]}}',
        "protocol.probe_sets[0].name cannot be a name: use letters",
    ),
    ('{"protocol": {"kind": "pooled", "probe_sets": []}}', "protocol.probe_sets is empty"),
    (
        f'{{"protocol": {{"kind": ["pooled", "x"], {SETS}}}}}',
        "protocol.kind[1] is \"x\": it must be 'view-pairs', 'pooled'",
    ),
    (
        '{"protocol": {"kind":"pooled", "probe_sets": [{"name":"N", "probe": ["a"]}, {"name":"N", "probe": ["b"]}]}}',
        "spec.json: protocol has two probe sets of one name: give each its own",
    ),
    (
        '{"protocol": {"kind": "condition-pairs", "probe_sets": [{"name": "N", "probe": ["a"], "by": "part"}]}}',
        'must name whole conditions for the kind "condition-pairs"',
    ),
    ('{"protocol": null}', "spec.json: protocol is null: it must be an object {...}"),
    ('{"split": null}', "spec.json: split is null: it must be an object {...}"),
    ('{"published": {"walks": 1}}', "spec.json: published.walks is \"walks\": it must be 'subjects', 'sequences' or"),
    ('{"published": {"frames": -1}}', "published.frames is -1: it must be greater than or equal to 0"),
    ('{"sampling_discount": 0}', "sampling_discount is 0: it must be greater than 0"),
    ('{"sampling_discount": NaN}', "spec.json: sampling_discount is NaN: it must be a finite number"),
    ('{"sampling_discount": 1e999}', "sampling_discount is Infinity"),
    ('{"synchronised": "take"}', 'synchronised names no walk: give a template like "{subject}/{condition}"'),
    ('{"synchronised": "{subject.__class__}"}', "synchronised names no walk"),
    ('{"synchronised": "{subject"}', "synchronised names no walk"),
    ('{"synchronised": "{subject}/{take}"}', "synchronised names take: the names are condition, subject, view"),
    ('{"title": "x",}', "spec.json cannot be read as JSON: "),
    ("[" * 100_000, "spec.json cannot be read as JSON: "),
    ("[" * 300 + "]" * 300, "spec.json"),
    ('{"title": "\\ud800"}', "Invalid JSON: "),
    ("\udcff", "spec.json cannot be read (it is not UTF-8 text): check the path given with --spec my-walks=<json>"),
]


@pytest.mark.parametrize(("text", "message"), MISTAKES, ids=lambda text: text[:40])
def test_a_mistake_in_a_spec_file_is_one_line_with_file_key_and_fix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("spec.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(UsageError) as caught:
        resolve("my-walks", "spec.json")
    said = str(caught.value)
    assert message in said
    assert "spec.json" in said and "\n" not in said and len(said) < 300


def test_a_spec_file_may_begin_with_a_byte_order_mark(tmp_path: Path, documented: str) -> None:
    (tmp_path / "notepad.json").write_bytes(b"\xef\xbb\xbf" + Path(documented).read_bytes())
    assert resolve("my-walks", str(tmp_path / "notepad.json")) == resolve("my-walks", documented)


def test_a_spec_file_needs_its_file_its_root_and_a_name_of_its_own(tmp_path: Path, documented: str) -> None:
    with pytest.raises(
        UsageError,
        match=r"nothing\.json cannot be read \(No such file or directory\): check .* --spec my-walks=<json>",
    ):
        resolve("my-walks", str(tmp_path / "nothing.json"))
    with pytest.raises(UsageError, match=r"cannot be read \(Is a directory\)"):
        resolve("my-walks", str(tmp_path))
    with pytest.raises(UsageError, match="the catalog describes CASIA-B; give --partition CASIA-B=<json>"):
        resolve("CASIA-B", documented)
    with pytest.raises(UsageError, match=r"--spec your-walks=.* has no collection: give --root your-walks=<folder>"):
        resolve_all(["my-walks"], {"your-walks": documented}, {})
    with pytest.raises(UsageError, match="too similar to the collection"):
        resolve_all(["my-walks", "MyWalks"], {}, {})
    found = resolve_all(["my-walks", "CASIA-B"], {"my-walks": documented}, {})
    assert found == {"my-walks": resolve("my-walks", documented), "CASIA-B": CATALOG["CASIA-B"]}


@pytest.mark.parametrize("name", sorted(CATALOG))
def test_a_spec_comes_back_from_json(name: str) -> None:
    spec = CATALOG[name]
    data = json.loads(json.dumps(to_json(spec)))
    assert from_json(data) == spec
    assert to_manifest(spec) is None
    assert from_manifest(through_a_manifest(name, None), name) is spec
    bare = custom.default_spec("mine")
    mine = type(bare)(**{**vars(bare), "split": spec.split, "protocol": spec.protocol, "published": spec.published})
    assert from_manifest(through_a_manifest("mine", to_manifest(mine)), "mine") == mine


def test_a_store_declares_what_the_user_said_and_keeps_to_it(documented: str) -> None:
    spec = resolve("my-walks", documented)
    manifest = through_a_manifest("my-walks", to_manifest(spec))
    assert from_manifest(manifest, "my-walks") == spec
    assert resolve("my-walks", manifest=manifest) == spec  # a later ingest without the file
    assert resolve("my-walks") == custom.default_spec("my-walks")
    with pytest.raises(UsageError, match="did you mean my-walks"):
        resolve("my_walks", manifest=manifest)


def test_a_declaration_is_written_the_same_however_the_file_was_ordered(tmp_path: Path, documented: str) -> None:
    def turned(value: object) -> object:
        """The same JSON in another order."""
        if isinstance(value, dict):
            return {key: turned(inner) for key, inner in reversed(value.items())}
        return value[::-1] if isinstance(value, list) and all(isinstance(one, str) for one in value) else value

    other = tmp_path / "turned.json"
    other.write_text(json.dumps(turned(json.loads(Path(documented).read_text()))))
    written = [json.dumps(to_manifest(resolve("my-walks", str(path)))) for path in (documented, other)]
    assert written[0] == written[1]


def test_ingest_can_say_how_a_collection_is_read(documented: str) -> None:
    bare, said = custom.default_spec("Giat3D"), resolve("my-walks", documented)
    assert describe(bare, bare.layouts[0]) == [
        "Giat3D is not in the catalog (where Gait3D is): read as <subject>/<condition>/<view>, pictures, normalised",
        "Giat3D: every subject in the split 'train'; a spec file can say otherwise",
    ]
    assert describe(said, said.layouts[1]) == [
        "my-walks is not in the catalog: read as <subject>/<condition>/<view>, arrays, taken as aligned",
        "my-walks: all others in the split 'train'",
    ]
    assert describe(CATALOG["CASIA-B"], CATALOG["CASIA-B"].layouts[0]) == []


def test_evaluation_asks_for_the_protocol_of_ones_own_walks(
    documented: str, caplog, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    entries = {"mine": {"declared": to_json(custom.default_spec("mine")), "splits": {"test": {}}}}
    store = Store(open_place(tmp_path), Manifest(schema_version=1, collections=entries, shards=[], rejects=[]))
    with pytest.raises(UsageError, match=r"^mine has no protocol to be scored by: .* with --spec mine=<json>"):
        scored_collections.scored(store, "test", None)
    entries["my-walks"] = {"declared": to_manifest(resolve("my-walks", documented)), "splits": {"test": {}}}
    assert [spec.name for spec in scored_collections.scored(store, "test", None)] == ["my-walks"]
    (line,) = caplog.messages
    assert line.startswith("mine has no protocol to be scored by")
    entries["mine"]["splits"] = entries["my-walks"]["splits"] = {"train": {}}
    with pytest.raises(UsageError, match=r"nothing to score .* let a spec file say who is tested and how"):
        scored_collections.scored(store, "test", None)


def test_a_named_sequence_may_hold_the_joiner() -> None:
    one = ProbeSet(name="x", probe=frozenset({"1-scene-1-left-near"}), gallery=None, by="joined")
    walks = [("1", "scene-1", "left-near"), ("1-scene", "1", "left-near"), ("1", "scene-1", "left")]
    assert [role(one, *walk) for walk in walks] == ["probe", "probe", "gallery"]
