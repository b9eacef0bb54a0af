"""All named scaling studies, on one page. A plan is a function of the store and the study's folder."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from jobs import recipes
from orchestration.run.settings import Cluster, DataSettings, PretrainRun
from orchestration.scaling.plan import MeasureSettings, StudyPlan

Plan = Callable[[str, str], StudyPlan]


def _of_recipe(run: PretrainRun, plan: str, **grid: object) -> StudyPlan:
    """A study with the settings of a recipe, except for those in `grid`."""
    given: dict[str, Any] = {
        "data": run.data,
        "clips": run.clips,
        "objective": run.objective,
        "channels": run.network.channels,
    }
    given |= {"schedule": replace(run.schedule, steps=0), "cluster": run.cluster}
    return StudyPlan(**{**given, "plan": plan, "shards": run.shards, "out": run.out, **grid})


def miniature(shards: str, out: str) -> StudyPlan:
    """Two sizes and three lengths on the demo's synthetic walkers, 041-056 held out: a minute on two cores."""
    run = recipes.tiny_walks(shards, out)
    return _of_recipe(
        run,
        "miniature",
        sizes=("d1", "xxs"),
        steps=(24, 72, 216),
        channels=32,
        objective=replace(run.objective, momentum=0.8),  # the shortest cool-down has five steps
        measure=MeasureSettings(keys=192, frames=12),
        data=DataSettings(
            collections=("CASIA-B",),
            holdout=tuple(f"CASIA-B/{subject:03d}" for subject in range(41, 57)),
            positives="walk",
        ),
        clips=replace(run.clips, frames=4),
        schedule=replace(run.schedule, steps=0, batch=16, warmup=12, log_every=12, guard_every=0),
        cluster=Cluster(workers=1),
    )


def casia_b(shards: str, out: str) -> StudyPlan:
    """Walks of CASIA-B as positives, subjects 063-074 held out: two to three hours on two cores."""
    run = recipes.casia_b_walks(shards, out)
    return _of_recipe(
        run,
        "casia-b",
        sizes=("d1", "xxs", "xs", "d4", "s"),
        unique=(None, 800),
        steps=(60, 120, 240, 480),
        most_flop=1.3e14,
        seeds=(0, 1, 2),
        single=("xs", "d4", "s"),
        objective=replace(run.objective, momentum=0.9),  # a teacher with 0.99 would lag behind in so few steps
        schedule=replace(run.schedule, steps=0, warmup=40, guard_every=0),
        cluster=Cluster(workers=1),
    )


def casia_b_clips(shards: str, out: str) -> StudyPlan:
    """casia-b with two clips of one sequence as positives."""
    plan, run = casia_b(shards, out), recipes.casia_b(shards, out)
    return replace(plan, plan="casia-b-clips", data=run.data, clips=run.clips)


PLANS: dict[str, Plan] = {"miniature": miniature, "casia-b": casia_b, "casia-b-clips": casia_b_clips}
