"""Every named run of the project, on one page. A recipe is a function of the store and the run's folder."""

from collections.abc import Callable

from datasets.clips import ClipSettings
from model.network import NetworkSettings
from model.objective import ContrastSettings
from orchestration.runs import Cluster, DataSettings, PretrainRun, Schedule

Recipe = Callable[[str, str], PretrainRun]


def tiny(shards: str, out: str) -> PretrainRun:
    """A few minutes on two cores: the smallest encoder on short clips, to see the whole path work."""
    return PretrainRun(
        recipe="tiny",
        shards=shards,
        out=out,
        clips=ClipSettings(frames=8),
        network=NetworkSettings(size="xxs", channels=64),
        contrast=ContrastSettings(momentum=0.95),  # a teacher that keeps up with so short a run
        schedule=Schedule(steps=120, batch=64, warmup=10, checkpoint_every=60),
        cluster=Cluster(precision="fp32"),  # not every CPU multiplies bf16 fast
    )


def casia_b(shards: str, out: str) -> PretrainRun:
    """The smallest encoder on the TRAIN subjects of CASIA-B, 063-074 held back for validation: about half an hour."""
    return PretrainRun(
        recipe="casia-b",
        shards=shards,
        out=out,
        data=DataSettings(
            collections=("CASIA-B",), holdout=tuple(f"CASIA-B/{subject:03d}" for subject in range(63, 75))
        ),
        schedule=Schedule(steps=1000, batch=64),
    )


def xxs(shards: str, out: str) -> PretrainRun:
    """The smallest encoder on every collection of the store."""
    return PretrainRun(recipe="xxs", shards=shards, out=out, schedule=Schedule(steps=20_000, batch=256, warmup=500))


def xs(shards: str, out: str) -> PretrainRun:
    """The second smallest encoder on every collection of the store."""
    return PretrainRun(
        recipe="xs",
        shards=shards,
        out=out,
        network=NetworkSettings(size="xs"),
        schedule=Schedule(steps=20_000, batch=256, warmup=500),
    )


RECIPES: dict[str, Recipe] = {"tiny": tiny, "casia-b": casia_b, "xxs": xxs, "xs": xs}
