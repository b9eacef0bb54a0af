"""Probes of a task's labels in a study: what is planted is found, what is missing is said."""

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from datasets.loading.clips import ClipSettings
from datasets.loading.heldout_bank import Bank
from datasets.schema.errors import UsageError
from datasets.store.reader import Store
from model.network import GaitNetwork, NetworkSettings
from orchestration.run.settings import Cluster, DataSettings, Schedule
from orchestration.scaling.examined import Examined, HeldOut
from orchestration.scaling.plan import Cell, MeasureSettings, StudyPlan
from orchestration.scaling.probes import check_probes, labelled_rows, probe_errors
from tests.fixtures.planted import EACH


def plan_of(shards: Path, *probes: str, rows: int = 400) -> StudyPlan:
    return StudyPlan(
        plan="test",
        shards=str(shards),
        out="study",
        sizes=("xxs",),
        cluster=Cluster(device="cpu", precision="fp32"),
        steps=(4,),
        channels=16,
        measure=MeasureSettings(frames=8, probes=probes, probe_rows=rows),
        data=DataSettings(collections=("D-Gait",), holdout=("D-Gait/nobody",)),
        clips=ClipSettings(frames=4),
        schedule=Schedule(steps=0, warmup=1),
    )


def examined(plan: StudyPlan) -> Examined:
    torch.manual_seed(0)
    run = plan.run_of(Cell(size="xxs", unique=None, seed=0, steps=4))
    network = GaitNetwork(NetworkSettings(size="xxs", channels=16)).eval()
    with torch.inference_mode():
        held_out = HeldOut({}, {}, Bank(**{field.name: np.empty(0) for field in fields(Bank)}))
        return Examined(plan, Store.open(plan.shards), run, network, torch.device("cpu"), held_out)


def test_planted_posture_is_read_off_random_weights(planted: Path) -> None:
    with torch.inference_mode():
        found = probe_errors(examined(plan_of(planted, "scoliosis", "depression")))
    assert set(found) == {"error/Scoliosis1K/probe/scoliosis", "error/D-Gait/probe/depression"}
    scoliosis = found["error/Scoliosis1K/probe/scoliosis"]
    assert scoliosis.value < 40  # of 50 by chance; the walkers lean
    assert len(scoliosis.subjects) == 2 * EACH and all(one.startswith("Scoliosis1K/") for one in scoliosis.subjects)
    assert np.average(scoliosis.values, weights=scoliosis.weights) == pytest.approx(scoliosis.value)


def test_no_more_rows_than_asked_from_everywhere_in_the_split(planted: Path) -> None:
    plan, there = plan_of(planted, "scoliosis", rows=10), Store.open(planted)
    ((train, test),) = labelled_rows(plan, there, "scoliosis").values()
    assert (train.num_rows, test.num_rows, check_probes(plan, there)) == (10, 10, 20)
    everyone = labelled_rows(plan_of(planted), there, "scoliosis")["Scoliosis1K"][0]["sequence_id"].to_pylist()
    assert {everyone[0], everyone[-1]} <= set(train["sequence_id"].to_pylist())


def test_a_store_without_the_labels_is_refused(store: Path) -> None:
    with pytest.raises(UsageError, match=r"--measure.probes scoliosis: no collection of .* has labels of scoliosis"):
        check_probes(plan_of(store, "scoliosis"), Store.open(store))
    with pytest.raises(UsageError, match="measured zero-shot"):
        replace(plan_of(store).measure, probes=("identification",))
