"""python -m jobs.demo [--out demo]

The whole pipeline on synthetic walkers: all collections on disk in the layouts of their owners, ingest, pretraining,
evaluation, and a miniature scaling study, tracked in MLflow. Each command is printed before it runs.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from datasets.catalog.registry import CATALOG
from datasets.synthetic import scenes
from datasets.synthetic.casts import cast_of
from datasets.synthetic.film import Walk
from datasets.synthetic.trees import write_tree
from jobs import cli, evaluate, ingest, pretrain, scaling

TRAIN = [f"{number:03d}" for number in range(1, 41)]  # of CASIA-B's TRAIN subjects
TRAIN_CONDITIONS = ["nm-01", "bg-01", "cl-01"]
TEST = [f"{number:03d}" for number in range(75, 87)]  # of its TEST subjects
TEST_CONDITIONS = [f"nm-{n:02d}" for n in range(1, 7)] + [f"{c}-{n:02d}" for c in ("bg", "cl") for n in (1, 2)]
VIEWS = ["018", "054", "090", "126"]
UNLABELLED = 1536  # sequences like GaitLU-1M's, each of a different person
FRAMES = 20  # per sequence


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """The whole pipeline on synthetic walkers, in a few minutes on two cores."""

    out: str = "demo"
    """Folder for everything that the demo writes."""


def main(argv: list[str] | None = None) -> None:
    """Write the walkers, then run each job as from the command line."""
    out = Path(cli.parse(Arguments, argv, "demo").out)
    store, run = str(out / "shards"), str(out / "run")
    tracked = ["--tracking", f"sqlite:///{(out / 'mlflow.db').resolve()}"]
    started = time.monotonic()
    roots = _write_walkers(out / "collections")
    _job("ingest", ingest.main, [*roots, "--out", store, "--block-sequences", "128"])
    # Collections are drawn by the cube root of their size: two steps of three would go to the ten small ones, which
    # have a handful of subjects each and do not fill a batch. So training keeps to the two that are large enough.
    trained_on = ["--data.collections", "CASIA-B", "GaitLU-1M"]
    _job("pretrain", pretrain.main, ["tiny-walks", "--shards", store, "--out", run, *trained_on, *tracked])
    _job("evaluate", evaluate.main, ["--run", run, "--shards", store, *tracked])
    _job("scaling", scaling.main, ["miniature", "--shards", store, "--out", str(out / "study"), *tracked])
    print(f"done in {(time.monotonic() - started) / 60:.1f} minutes; everything is in {out}")


def _write_walkers(folder: Path) -> list[str]:
    """Write all collections as released, below a folder; returns them as arguments of ingest."""
    print(f"synthetic walkers in {folder}: {len(CATALOG)} collections as their owners release them", flush=True)
    started, roots = time.monotonic(), []
    larger = {"CASIA-B": _casia_b, "GaitLU-1M": _gaitlu_1m}  # which the encoder is trained on
    for name, spec in sorted(CATALOG.items()):
        walks = larger[name]() if name in larger else cast_of(spec)
        write_tree(folder / name, spec.layouts[0], walks, num_frames=FRAMES)
        roots += ["--root", f"{name}={folder / name}"]
    print(f"({time.monotonic() - started:.0f} s)", flush=True)
    return roots


def _casia_b() -> list[Walk]:
    """Enough subjects to train on, and twelve others for the whole protocol."""
    names = [*product(TRAIN, TRAIN_CONDITIONS, VIEWS), *product(TEST, TEST_CONDITIONS, VIEWS)]
    return [scenes.casia_b(*name) for name in names]


def _gaitlu_1m() -> list[Walk]:
    return [scenes.gaitlu_1m(number) for number in range(UNLABELLED)]


def _job(name: str, job: Callable[[list[str]], None], argv: list[str]) -> None:
    print(f"\n$ python -m jobs.{name} {' '.join(argv)}", flush=True)
    started = time.monotonic()
    job(argv)
    print(f"({name}: {time.monotonic() - started:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
