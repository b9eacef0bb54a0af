"""A released encoder: it embeds as the run it came from, needs nothing else, and says what it is."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from datasets.schema.errors import UsageError
from datasets.storage import open_place
from model.embedding import embed
from model.network import NetworkSettings
from model.objectives.part_contrast import ContrastSettings, PartContrast
from model.release import load_release, write_release
from orchestration.release.release import ReleaseRun, release
from orchestration.run import checkpoint
from orchestration.run.folder import claim_folder, read_run
from orchestration.run.settings import DataSettings, PretrainRun, Schedule


def walk(frames: int = 20) -> tuple[np.ndarray, np.ndarray]:
    masks = np.zeros((frames, 64, 44), np.uint8)
    for number in range(frames):
        masks[number, 4:60, 10 + number % 7 : 30] = 1
    return masks, np.arange(frames, dtype=np.float32)


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """The folder of a run with one checkpoint and results, as pretraining and evaluation leave it."""
    run = PretrainRun(
        recipe="small",
        shards=str(tmp_path / "shards"),
        out=str(tmp_path / "run"),
        network=NetworkSettings(channels=8),
        data=DataSettings(collections=("CASIA-B",), holdout=("CASIA-B/063",)),
        schedule=Schedule(steps=10, batch=16, warmup=1),
    )
    claim_folder(run)
    torch.manual_seed(3)
    checkpoint.save(open_place(run.out), run, 10, run.objective.build(run.network).state_dict(), {})
    results = tmp_path / "run/evaluation/holdout/results.csv"
    results.parent.mkdir(parents=True)
    results.write_text(
        "method,collection,kind,probe_set,excluding_identical,identical_only,num_gallery_subjects\n"
        "pretrained,CASIA-B,view-pairs,NM,49.7,,12\n"
        "pretrained,CCGR,condition-pairs,easy,30,80.5,7\n"
        "pretrained,Gait3D,pooled,test,20.25,,1000\n"
        "pretrained,CCPG,pooled-other-views,CL,10,,100\n"
    )
    (tmp_path / "shards").mkdir()
    entry = {"splits": {"train": {"sequences": 8107, "frames": 670532}}, "citation": "S. Yu and others"}
    manifest = {"schema_version": 1, "collections": {"CASIA-B": entry}, "shards": [], "rejects": []}
    (tmp_path / "shards/manifest.json").write_text(json.dumps(manifest))
    return tmp_path / "run"


def test_a_release_embeds_as_the_teacher_of_its_run(trained: Path, tmp_path: Path) -> None:
    release(ReleaseRun(run=str(trained), out=str(tmp_path / "out")))
    run = read_run(open_place(trained))
    module = run.objective.build(run.network)
    checkpoint.load_weights(checkpoint.newest_intact(open_place(trained)), module)
    encoder = load_release(tmp_path / "out")
    expected = embed(module.teacher, [walk(), walk(40)], run.clips.frames, torch.device("cpu"))
    np.testing.assert_array_equal(encoder.embed([walk(), walk(40)]), expected)
    assert expected.shape == (2, 8, 31)
    frames, numbers = (torch.from_numpy(part[None]) for part in walk(run.clips.frames))
    program = torch.export.load(tmp_path / "out/encoder.pt2").module()
    np.testing.assert_allclose(program(frames, numbers), encoder.embed([walk(run.clips.frames)]), rtol=0, atol=1e-5)


def test_the_card_says_what_is_known_and_no_path_of_the_machine(trained: Path, tmp_path: Path) -> None:
    out = release(ReleaseRun(run=str(trained), out=str(tmp_path / "out")))
    card = (out / "README.md").read_text()
    assert "- CASIA-B, train split: 8,107 sequences, 670,532 frames. Cite: S. Yu and others" in card
    assert "held back for validation: CASIA-B/063" in card
    start = card.index("| split |")
    assert card[start : card.index("\n\n", start)].splitlines()[2:] == [
        "| holdout | CASIA-B | different views | NM | pretrained | 49.70 | 12 |",
        "| holdout | CASIA-B | identical views | NM | pretrained | \u2013 | 12 |",
        "| holdout | CCGR | different conditions | easy | pretrained | 30.00 | 7 |",
        "| holdout | CCGR | identical conditions | easy | pretrained | 80.50 | 7 |",
        "| holdout | Gait3D | pooled | test | pretrained | 20.25 | 1000 |",
        "| holdout | CCPG | pooled other views | CL | pretrained | 10.00 | 100 |",
    ]
    assert "uint8 0 or 1 [B, 16, 64, 44]" in card
    assert 'torch.export.load("encoder.pt2").module()' in card
    for file in ("README.md", "run.json", "settings.json"):
        assert str(tmp_path) not in (out / file).read_text()
    (tmp_path / "shards/manifest.json").unlink()
    card = (release(ReleaseRun(run=str(trained), out=str(out))) / "README.md").read_text()
    assert "CASIA-B, train split: counts not known" in card


def test_what_is_no_release_is_one_line(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no encoder"):
        load_release(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="exists and is not the folder of a release"):
        release(ReleaseRun(run=str(trained), out=str(trained)))
    out = release(ReleaseRun(run=str(trained), out=str(tmp_path / "out")))
    write_release(tmp_path / "other", PartContrast(NetworkSettings(channels=4), ContrastSettings()).teacher,
                  NetworkSettings(channels=4), 16)  # fmt: skip
    (out / "encoder.safetensors").write_bytes((tmp_path / "other/encoder.safetensors").read_bytes())
    with pytest.raises(UsageError, match="cannot be read by this program"):
        load_release(out)
    (out / "settings.json").write_text(json.dumps({"format": 99}))
    with pytest.raises(UsageError, match="of format 99, not 1"):
        load_release(out)
