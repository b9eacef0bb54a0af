"""Tables of embeddings on a real local Ray: content, resumption, refusals."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from datasets.loading.clips import ClipSettings
from datasets.schema.errors import UsageError
from datasets.storage import open_place
from datasets.store.reader import Store
from jobs import embed as embed_job
from model.embedding import embed
from model.network import NetworkSettings
from model.objectives.part_contrast import PartContrast
from orchestration.embedding import embed as embed_module
from orchestration.embedding import table as embeddings
from orchestration.embedding.embed import EmbedRun, embed_store
from orchestration.embedding.sequences import decode_walk, embed_rows
from orchestration.run import checkpoint, folder
from orchestration.run.folder import read_run
from orchestration.run.precision import Bf16Support
from orchestration.run.settings import DataSettings, PretrainRun


@pytest.fixture(scope="module")
def run(store: Path, tmp_path_factory) -> Path:
    """A run's folder with a checkpoint of weights that were never trained."""
    out = tmp_path_factory.mktemp("run") / "run"
    settings = PretrainRun(
        recipe="test",
        shards=str(store),
        out=str(out),
        data=DataSettings(holdout=("CASIA-B/004",)),
        clips=ClipSettings(frames=8),
        network=NetworkSettings(channels=8),
    )
    torch.manual_seed(3)
    folder.claim_folder(settings)
    checkpoint.save(open_place(str(out)), settings, 1, settings.objective.build(settings.network).state_dict(), {})
    return out


@pytest.fixture(scope="module")
def asked(run: Path, store: Path, local_ray, tmp_path_factory) -> EmbedRun:
    """A finished table of the test split, GEI beside the encoder."""
    out = tmp_path_factory.mktemp("tables") / "table"
    settings = EmbedRun(run=str(run), shards=str(store), out=str(out), methods=("GEI", "pretrained"), precision="fp32")
    embed_store(settings, Store.open(store))
    return settings


def whole_module_of(run: Path) -> PartContrast:
    settings = read_run(open_place(str(run)))
    module = settings.objective.build(settings.network)
    checkpoint.load_weights(checkpoint.newest_intact(open_place(str(run))), module)
    return module


def parts_in(table: str) -> dict[str, int]:
    """The files of a table, and when each was written."""
    return {str(one): one.stat().st_mtime_ns for one in Path(table).rglob("*.parquet")}


def test_each_sequence_is_embedded_whole_beside_its_names(asked: EmbedRun, run: Path, store: Path) -> None:
    table = embeddings.read_table(open_place(asked.out))
    rows = Store.open(store).rows(split="test")
    for name in embeddings.NAMES:
        assert table.names[name].to_pylist() == rows[name].to_pylist(), name
    found = table.embeddings("pretrained")
    assert found.shape == (rows.num_rows, 8, 31)
    for number in (0, 7, rows.num_rows - 1):
        walk = decode_walk(rows.slice(number, 1).to_pylist()[0])
        alone = embed(whole_module_of(run).teacher, [walk], 8, torch.device("cpu"))[0]
        np.testing.assert_allclose(found[number], alone, atol=1e-5)
    assert table.embeddings("GEI").shape == (rows.num_rows, 64 * 44, 1)
    with pytest.raises(UsageError, match="no embeddings of 'random initialisation': it has GEI, pretrained"):
        table.embeddings("random initialisation")


def test_a_batch_of_rows_is_embedded_as_alone(run: Path, store: Path) -> None:
    rows, network, cpu = Store.open(store).rows().slice(0, 70), whole_module_of(run).teacher, torch.device("cpu")
    walks = [decode_walk(row, 12) for row in rows.to_pylist()]
    alone = [embed(network, walks[start : start + 32], 8, cpu) for start in (0, 32, 64)]
    found = embed_rows(network, rows, 8, cpu, "fp32", max_frames=12)
    np.testing.assert_array_equal(found, np.concatenate(alone))
    rounded = embed_rows(network, rows, 8, cpu, "bf16", max_frames=12)
    assert 0 < np.abs(rounded - found).max() < 0.05


def test_only_missing_parts_are_embedded_again(asked: EmbedRun, monkeypatch, caplog) -> None:
    """In the precision that the table was begun in, though this machine would now take another."""
    monkeypatch.setattr(embed_module, "bf16_support", lambda gpu: Bf16Support("another processor", "AMX"))
    before = parts_in(asked.out)
    assert len(before) > 1
    lost = sorted(before)[0]
    wanted = pq.read_table(lost)
    Path(lost).unlink()
    (Path(asked.out) / "collection=CASIA-B/split=test/of-another-store-000000.parquet").write_bytes(b"left over")
    said = json.loads((Path(asked.out) / "table.json").read_text())
    del said["sequences"], said["parts"]
    (Path(asked.out) / "table.json").write_text(json.dumps(said))
    with pytest.raises(UsageError, match="is not finished: run the same"):
        embeddings.read_table(open_place(asked.out))
    embed_store(replace(asked, precision="auto"), Store.open(asked.shards))
    assert "precision fp32: as it was begun" in caplog.text
    after = parts_in(asked.out)
    assert set(after) == set(before)
    assert [one for one in before if after[one] != before[one]] == [lost]
    assert pq.read_table(lost).equals(wanted)


@pytest.mark.parametrize(("instructions", "expected"), [("AMX", "bf16"), (None, "fp32")])
def test_a_new_table_is_in_the_precision_that_fits_the_machine(
    asked: EmbedRun, tmp_path: Path, monkeypatch, instructions: str | None, expected: str
) -> None:
    monkeypatch.setattr(embed_module, "bf16_support", lambda gpu: Bf16Support("a processor", instructions))
    new = replace(asked, out=str(tmp_path / "new"), methods=("pretrained",), precision="auto")
    found = embed_store(new, Store.open(asked.shards)).embeddings("pretrained")
    assert embeddings.recorded_precision(open_place(new.out)) == expected
    exact = embeddings.read_table(open_place(asked.out)).embeddings("pretrained")
    difference = np.abs(np.asarray(found) - np.asarray(exact)).max()
    assert difference < 1e-5 if expected == "fp32" else 1e-5 < difference < 0.05
    with pytest.raises(
        UsageError, match=f"holds embeddings with precision {expected}, not {'fp32' if instructions else 'bf16'}"
    ):
        embed_store(replace(new, precision="fp32" if instructions else "bf16"), Store.open(asked.shards))


def test_a_table_of_other_settings_is_refused(asked: EmbedRun, run: Path) -> None:
    with pytest.raises(UsageError, match=r"holds embeddings with form float32, not int8: give another place"):
        embed_store(replace(asked, form="int8"), Store.open(asked.shards))
    with pytest.raises(UsageError, match="exists and is no table of embeddings"):
        embed_store(replace(asked, out=str(run)), Store.open(asked.shards))
    with pytest.raises(UsageError, match=r"has no silhouette sequences of GaitLU-1M in its test split"):
        embed_store(replace(asked, collections=("GaitLU-1M",), out=asked.out + "2"), Store.open(asked.shards))


def test_int8_embeddings_take_a_quarter_and_are_close(asked: EmbedRun, tmp_path: Path) -> None:
    settings = replace(asked, out=str(tmp_path / "small"), form="int8", methods=("pretrained",))
    small = embed_store(settings, Store.open(asked.shards))
    exact, rounded = (
        embeddings.read_table(open_place(asked.out)).embeddings("pretrained"),
        small.embeddings("pretrained"),
    )
    assert rounded.nbytes < 0.26 * exact.nbytes + 2 * exact.shape[0] * exact.shape[2]
    every = np.arange(len(exact))
    assert np.abs(rounded[every] - exact).max() < np.abs(exact).max() / 250


def test_the_holdout_split_holds_the_held_out_subjects(asked: EmbedRun, store: Path, tmp_path: Path, capsys) -> None:
    argv = ["--run", asked.run, "--shards", str(store), "--out", str(tmp_path / "held"), "--split", "holdout"]
    embed_job.main(argv)
    assert "10 sequences (pretrained; float32)" in capsys.readouterr().out
    assert set(embeddings.read_table(open_place(str(tmp_path / "held"))).names["subject"].to_pylist()) == {"004"}
    with pytest.raises(SystemExit) as end:
        embed_job.main([*argv[:5], str(tmp_path / "other"), *argv[6:], "--collections", "GaitLU-1M"])
    assert end.value.code == 2
    assert "held out no subject of GaitLU-1M" in capsys.readouterr().err
