"""All named training runs, on one page. A recipe is a function of the store and the run's folder."""

from collections.abc import Callable
from dataclasses import replace

from datasets.loading.clips import ClipSettings
from model.network import NetworkSettings
from model.objectives.classification import HeadSettings
from model.objectives.part_contrast import ContrastSettings
from model.objectives.part_regression import RegressionSettings
from model.sizes import LADDER
from orchestration.run.finetune_settings import FinetuneRun, LabelledData
from orchestration.run.settings import DataSettings, Keep, PretrainRun, Schedule

Recipe = Callable[[str, str], PretrainRun]
TaskRecipe = Callable[[str, str, str], FinetuneRun]  # of the pretrained run, the store, and the run's folder

NEVER = 10**9  # a step that no run reaches: the student gives the keys throughout, the teacher is only evaluated


def tiny(shards: str, out: str) -> PretrainRun:
    """A few minutes on two cores: the smallest encoder on short clips, to try out the pipeline."""
    return PretrainRun(
        recipe="tiny",
        shards=shards,
        out=out,
        clips=ClipSettings(frames=8),
        network=NetworkSettings(size="xxs", channels=64),
        objective=ContrastSettings(momentum=0.95),  # so that the teacher keeps up in so short a run
        schedule=Schedule(steps=120, batch=64, warmup=10),
        keep=Keep(every=60),
    )


def casia_b(shards: str, out: str) -> PretrainRun:
    """The smallest encoder on the TRAIN subjects of CASIA-B, 063-074 held out: half an hour (docs/learning.md)."""
    return PretrainRun(
        recipe="casia-b",
        shards=shards,
        out=out,
        data=DataSettings(
            collections=("CASIA-B",), holdout=tuple(f"CASIA-B/{subject:03d}" for subject in range(63, 75))
        ),
        clips=ClipSettings(frames=8, coat=0.3, bag=0.3),
        objective=ContrastSettings(temperature=0.1, smoothing=0.0, joint=1.0, teacher_from=NEVER),
        schedule=Schedule(steps=1600, batch=64, lr=3e-3),
    )


def casia_b_walks(shards: str, out: str) -> PretrainRun:
    """casia-b with two cameras' views of one walk as positives: a quarter of an hour on two cores.

    The cameras provide the change of view, so affine and perspective maps only slow it down; coats and bags stay.
    """
    run = casia_b(shards, out)
    return replace(
        run,
        recipe="casia-b-walks",
        data=replace(run.data, positives="walk"),
        clips=replace(run.clips, affine=0, perspective=0, dilate=0, blur=0),
    )


def tiny_walks(shards: str, out: str) -> PretrainRun:
    """tiny with two cameras' views of one walk as positives, as in casia-b-walks: a few minutes on two cores."""
    run, walks = tiny(shards, out), casia_b_walks(shards, out)
    return replace(
        run,
        recipe="tiny-walks",
        data=DataSettings(positives="walk"),
        clips=walks.clips,
        objective=replace(walks.objective, momentum=run.objective.momentum),
        schedule=replace(run.schedule, lr=walks.schedule.lr),
    )


def tiny_regression(shards: str, out: str) -> PretrainRun:
    """tiny without negatives: each part predicts the teacher's projection of it."""
    return replace(tiny(shards, out), recipe="tiny-regression", objective=RegressionSettings(momentum=0.95))


def _on_everything(size: str, channels: int = 256) -> Recipe:
    """An encoder of a size on all collections of the store; the settings found for xxs serve the whole ladder."""

    def recipe(shards: str, out: str) -> PretrainRun:
        return PretrainRun(
            recipe=size,
            shards=shards,
            out=out,
            network=NetworkSettings(size=size, channels=channels),
            schedule=Schedule(steps=20_000, batch=256, warmup=500),
        )

    recipe.__doc__ = f"The size {size} on all collections of the store."
    return recipe


RECIPES: dict[str, Recipe] = {
    "tiny": tiny,
    "tiny-walks": tiny_walks,
    "tiny-regression": tiny_regression,
    "casia-b": casia_b,
    "casia-b-walks": casia_b_walks,
    **{size: _on_everything(size) for size in LADDER},
    **{size: _on_everything(size, channels=512) for size in ("p3d-0.03b", "p3d-0.13b")},  # as published
}

MIRRORED = ClipSettings(affine=0, perspective=0, dilate=0, blur=0)  # the labels depend on the shape of the body


def identification(run: str, shards: str, out: str) -> FinetuneRun:
    """Who walks: triplet loss and cross entropy per part, on batches of P people with K sequences each."""
    return FinetuneRun(
        recipe="identification",
        task="identification",
        run=run,
        shards=shards,
        out=out,
        data=LabelledData(sampling="people"),
        clips=ClipSettings(affine=0, flip=0.2, dilate=0, blur=0),
        head=HeadSettings(each_part=True, triplet=1.0),
        schedule=Schedule(steps=2000, batch=64, warmup=100),
    )


def scoliosis(run: str, shards: str, out: str) -> FinetuneRun:
    """Whether the spine is curved: negative, neutral or positive, in balanced batches."""
    return FinetuneRun(
        recipe="scoliosis",
        task="scoliosis",
        run=run,
        shards=shards,
        out=out,
        clips=MIRRORED,
        head=HeadSettings(momentum=0.98),
        schedule=Schedule(steps=500, batch=48),
    )


def depression(run: str, shards: str, out: str) -> FinetuneRun:
    """Whether somebody is at risk of depression: normal or depressed, in balanced batches."""
    return replace(scoliosis(run, shards, out), recipe="depression", task="depression")


def attributes(run: str, shards: str, out: str) -> FinetuneRun:
    """Appearance: a question for each label attribute_1, attribute_2, ..."""
    plain = LabelledData(sampling="plain")
    return replace(scoliosis(run, shards, out), recipe="attributes", task="attributes", data=plain)


FINETUNING: dict[str, TaskRecipe] = {
    "identification": identification,
    "scoliosis": scoliosis,
    "depression": depression,
    "attributes": attributes,
}
