"""On which GPUs to embed. No test here has one: Ray is told that it has."""

from pathlib import Path

import pytest
import torch

from datasets.schema.errors import UsageError
from jobs import embed as embed_job
from jobs.recipes import RECIPES
from orchestration.cluster import session
from orchestration.embedding import embed as embed_module
from orchestration.embedding.embed import Embedder, EmbedRun
from orchestration.embedding.gpus import resolve_gpus
from orchestration.scoring.evaluate import EvaluateRun
from orchestration.scoring.identify import IdentifyRun

RUN = RECIPES["tiny"]("shards", "run")


def test_a_local_ray_uses_the_gpus_that_it_has_and_no_others(local_ray, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "GPU" not in local_ray.cluster_resources() and resolve_gpus("auto") == 0 == resolve_gpus(0)
    with pytest.raises(UsageError, match="--gpus 2: this Ray has 0; give --gpus 0, or set RAY_ADDRESS"):
        resolve_gpus(2)
    monkeypatch.setattr(session, "count_gpus", lambda: 4)
    assert [resolve_gpus(one) for one in ("auto", 3, 0)] == [4, 3, 0]


def test_an_empty_cluster_is_asked_for_a_number_of_gpus(local_ray, monkeypatch: pytest.MonkeyPatch, caplog) -> None:
    monkeypatch.setattr(session, "on_cluster", lambda: True)
    caplog.set_level("INFO")
    assert resolve_gpus("auto") == 0 and resolve_gpus(8) == 8
    assert "the cluster has 0 of 8 GPUs yet: it is asked to start the others" in caplog.text


@pytest.mark.parametrize("settings", [EmbedRun, EvaluateRun, IdentifyRun])
def test_a_negative_number_of_gpus_is_refused(settings: type) -> None:
    places = {"gallery": "", "probe": ""} if settings is IdentifyRun else {"shards": ""}
    if settings is EmbedRun:
        places["out"] = ""
    assert settings(run="", **places).gpus == "auto"
    with pytest.raises(UsageError, match="--gpus -1 must not be negative"):
        settings(run="", gpus=-1, **places)


def test_the_number_is_read_from_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[EmbedRun] = []

    def keep(settings: EmbedRun, _store: object) -> None:
        given.append(settings)
        raise UsageError("enough")

    monkeypatch.setattr(embed_job, "embed_store", keep)
    monkeypatch.setattr(embed_job.Store, "open", lambda shards: shards)
    for gpus in ("2", "auto"):
        with pytest.raises(SystemExit):
            embed_job.main(["--run", "run", "--shards", "shards", "--out", "out", "--gpus", gpus])
    assert [one.gpus for one in given] == [2, "auto"] and given[0].precision == "auto"


@pytest.mark.parametrize("gpu", [False, True])
def test_an_actor_uses_a_gpu_that_ray_gave_it_and_not_one_that_it_sees(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, gpu: bool
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(embed_module, "read_any", lambda _place: RUN)
    monkeypatch.setattr(embed_module, "networks_of", lambda *_: {})
    settings = EmbedRun(run=str(tmp_path), shards=str(tmp_path), out=str(tmp_path))
    assert Embedder(settings, str(tmp_path), None, gpu).device.type == ("cuda" if gpu else "cpu")
