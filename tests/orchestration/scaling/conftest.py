"""A small study, whose cells train for seconds."""

from pathlib import Path

import pytest

from datasets.loading.clips import ClipSettings
from orchestration.run.settings import Cluster, DataSettings, Schedule
from orchestration.scaling.plan import MeasureSettings, StudyPlan


@pytest.fixture(scope="module")
def plan(store: Path, tmp_path_factory) -> StudyPlan:
    return StudyPlan(
        plan="test",
        shards=str(store),
        out=str(tmp_path_factory.mktemp("studies") / "study"),
        sizes=("xxs",),
        steps=(4, 8),
        channels=16,
        measure=MeasureSettings(keys=12, frames=4),
        data=DataSettings(collections=("CASIA-B",), holdout=("CASIA-B/003", "CASIA-B/004")),
        clips=ClipSettings(frames=4),
        schedule=Schedule(steps=0, batch=8, warmup=1, cooldown=0.5, log_every=1, guard_every=0),
        cluster=Cluster(workers=1, zero_stage=0, device="cpu", precision="fp32"),
    )
